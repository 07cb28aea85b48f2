"""The runtime killed at every one of its system calls: what is left, the next command can mend.

Every process of a command is walked: the command itself, and those that it clones until they execute something. By
default a few system calls of each, other ones every time, some of them where it has to do with cgroups; BLACKBOX_WALK=cgroups
walks through all of these, and every tenth of the others, BLACKBOX_WALK=all through all there are.
"""

import contextlib
import json
import os
import random
import subprocess
import time

from cases.hooks import hook, script
from cases.namespaces import Holder
from cases.systemd import gone, show, with_systemd
from suite import PATIENCE, TIMEOUT, Failure, Left, case
from tracer import Traced, names

WALK = os.environ.get("BLACKBOX_WALK", "")
SAMPLES = max(2, int(6 / PATIENCE))  # of each process
PEERS = {peer: "the walk numbers processes with one thread; peers are not walked" for peer in ("runc", "crun")}
NAMES = names()


def chosen(count, of_cgroups):
    """Which system calls of a process that makes `count`: all and some more, as it may make more the next time."""
    if WALK == "all":
        return range(1, count + 50)
    stride = 10 if WALK == "cgroups" else max(1, count // SAMPLES)
    some = range(random.randint(1, stride), count + 1, stride)
    also = of_cgroups if WALK == "cgroups" else random.sample(of_cgroups, min(SAMPLES, len(of_cgroups)))
    return sorted({*some, *also})


class Walk:
    """One command, killed again and again. `prepare` makes what it works on, `mend` is what must be possible afterwards,
    and what must be left then; `init`: the container's init is walked as well, from where it waits; `stays`: the container is
    the same every time."""

    def __init__(self, t, arguments, prepare, mend, init=False, stays=False):
        self.t, self.arguments, self.prepare, self.mend, self.init = t, arguments, prepare, mend, init
        self.stays = stays
        self.failures, self.kills = [], 0

    def go(self):
        _, traced = self.once(None, 0)
        of_cgroups = [traced.cgroups.moments(target) for target in range(len(traced.counts))]
        for target, count in enumerate(traced.counts):
            for number in chosen(count, of_cgroups[target]):
                if not self.killed(target, number):
                    break
        print(f"     {' '.join(self.arguments)}: killed at {self.kills} of {traced.counts} system calls,", end=" ")
        print(f"{[*map(len, of_cgroups)]} of them where it has to do with cgroups", flush=True)
        if self.failures:
            raise Failure(f"{len(self.failures)} of {self.kills} kills:\n" + "\n".join(self.failures))

    def killed(self, target, number):
        try:
            call, _ = self.once(target, number)
        except Failure as failure:
            call = -1
            self.failed(f"process {target}, system call {number}: {failure}")
        self.kills += call is not None
        return call is not None

    def failed(self, why):
        self.failures.append(why)
        if not WALK:
            raise Failure(why)
        print(f"     {' '.join(self.arguments)}: {why}", flush=True)
        if not self.stays:
            command = [self.t.runtime, "--root", self.t.root, *self.t.globals]
            subprocess.run([*command, "delete", "--force", self.t.id], capture_output=True)
        self.t.before = Left.now(self.t.root)

    def once(self, target, number):
        """Gives the system call at which process `target` was killed, and what was seen of each process."""
        t = self.t
        self.prepare(t)
        stamp = f"{t.directory}/{time.monotonic_ns()}"
        command = [t.runtime, "--root", t.root, *t.globals, *self.arguments]
        also = [t.state()["pid"]] if self.init else []
        traced = Traced(command, t.bundle, stamp, also)
        call, code = traced.run(target, number)
        said = open(f"{stamp}.err").read().strip()
        os.remove(f"{stamp}.err")
        os.remove(f"{stamp}.out")
        try:
            if target is None and code != 0:
                raise Failure("it failed without being killed")
            self.mend(t)
        except Failure as failure:
            raise Failure(f"{NAMES.get(call, call)}: it exited with {code} ({said}); then: {failure}") from None
        return call, traced


def nothing(t):
    pass


def deleted(t):
    """Whatever there is of it, other commands cope with, and delete removes it without a trace."""
    t.rt("state", t.id, code=(0, 1))
    t.rt("list")
    t.rt("delete", "--force", t.id)
    t.none_left()


def created(t):
    t.rt("create", t.id)


def running(t):
    t.rt("run", "--detach", t.id)


def sleeps(t):
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()


@case(**PEERS)
def create(t):
    sleeps(t)
    Walk(t, ["create", t.id], nothing, deleted).go()


@case(**PEERS)
def create_with_a_user_namespace_a_filter_and_hooks(t):
    t.linux["namespaces"].append({"type": "user"})
    t.linux["uidMappings"] = t.linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    t.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}],
    }
    t.config["root"]["readonly"] = True
    path = script(t, "exit 0")
    for kind in ("prestart", "createRuntime", "createContainer", "poststop"):
        hook(t, kind, path)
    subprocess.run(["chown", "-R", "100000:100000", t.rootfs], check=True)
    sleeps(t)
    Walk(t, ["create", t.id], nothing, deleted).go()


@case(**PEERS)
def create_in_a_pid_namespace_that_is_joined(t):
    with Holder("pid") as path:
        t.namespace("pid", path)
        sleeps(t)
        t.before = Left.now(t.root)
        Walk(t, ["create", t.id], nothing, deleted).go()


@case(**PEERS)
def run(t):
    t.process["args"] = ["/bin/true"]
    t.save()
    Walk(t, ["run", t.id], nothing, deleted).go()


@case(**PEERS)
def run_detached(t):
    sleeps(t)
    Walk(t, ["run", "--detach", t.id], nothing, deleted).go()


@case(**PEERS)
def start(t):
    sleeps(t)

    def mend(t):
        t.rt("start", t.id, code=(0, 1))
        deleted(t)

    Walk(t, ["start", t.id], created, mend, init=True).go()


@contextlib.contextmanager
def one_container(t):
    """A container that stays, while commands on it are killed; nothing of them stays."""
    sleeps(t)
    running(t)
    t.rt("exec", t.id, "true")
    outside, t.before = t.before, Left.now(t.root)
    yield
    t.before = outside
    t.rt("delete", "--force", t.id)
    t.none_left()


def goes_on(t):
    """The container can be used as before, and has no more processes than before."""
    t.equal(t.state()["status"], "running")
    t.rt("exec", t.id, "true")
    t.none_left()


@case(**PEERS)
def exec_(t):
    with one_container(t):
        Walk(t, ["exec", t.id, "/bin/true"], nothing, goes_on, stays=True).go()


@case(**PEERS)
def exec_in_a_created_container(t):
    sleeps(t)
    created(t)
    outside, t.before = t.before, Left.now(t.root)

    def mend(t):
        t.equal(t.state()["status"], "created")
        t.none_left()

    Walk(t, ["exec", t.id, "/bin/true"], nothing, mend, stays=True).go()
    t.before = outside


@case(**PEERS)
def pause_and_resume(t):
    def resumed(t):
        t.rt("list")
        t.rt("resume", t.id, code=(0, 1))
        goes_on(t)

    with one_container(t):
        Walk(t, ["pause", t.id], nothing, resumed, stays=True).go()
        Walk(t, ["resume", t.id], lambda t: t.rt("pause", t.id), resumed, stays=True).go()


@case(**PEERS)
def pause_then_delete(t):
    sleeps(t)
    Walk(t, ["pause", t.id], running, deleted).go()


@case(**PEERS)
def update(t):
    t.linux["resources"]["pids"] = {"limit": 100}
    arguments = ["update", "--pids-limit", "50", "--memory", "64M", t.id]

    def mend(t):
        t.rt(*arguments)
        saved = json.load(open(f"{t.root}/{t.id}/state.json"))
        t.equal(saved["resources"]["pids"], {"limit": 50})
        t.rt("update", "--pids-limit", "100", t.id)
        goes_on(t)

    with one_container(t):
        Walk(t, arguments, nothing, mend, stays=True).go()


@case(**PEERS)
def kill(t):
    sleeps(t)
    Walk(t, ["kill", t.id, "KILL"], running, deleted).go()


@case(**PEERS)
def delete_of_a_created_container(t):
    sleeps(t)
    Walk(t, ["delete", t.id], created, deleted).go()


@case(**PEERS)
def delete_of_a_running_container(t):
    sleeps(t)
    Walk(t, ["delete", "--force", t.id], running, deleted).go()


@case(**PEERS)
def delete_with_sub_cgroups_and_hooks(t):
    hook(t, "poststop", script(t, "exit 0"))
    t.remove_namespace("pid")
    sleeps(t)

    def prepare(t):
        running(t)
        for path in {line.split(":", 2)[2].strip() for line in open(f"/proc/{t.state()['pid']}/cgroup")}:
            for hierarchy in os.listdir("/sys/fs/cgroup"):
                if os.path.isdir(f"/sys/fs/cgroup/{hierarchy}{path}") and path != "/":
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(f"/sys/fs/cgroup/{hierarchy}{path}/sub")

    Walk(t, ["delete", "--force", t.id], prepare, deleted).go()


def without_a_trace(t, unit):
    """As `deleted`, and systemd knows of nothing any more."""

    def mend(t):
        deleted(t)
        gone(t, unit)

    return mend


@case(**PEERS)
def create_with_systemds_cgroup_driver(t):
    unit = with_systemd(t, pids={"limit": 10})
    sleeps(t)
    Walk(t, ["create", t.id], nothing, without_a_trace(t, unit)).go()


@case(**PEERS)
def delete_with_systemds_cgroup_driver(t):
    unit = with_systemd(t)
    sleeps(t)
    Walk(t, ["delete", "--force", t.id], running, without_a_trace(t, unit)).go()


@case(**PEERS)
def update_with_systemds_cgroup_driver(t):
    unit = with_systemd(t, pids={"limit": 100})
    sleeps(t)
    arguments = ["update", "--pids-limit", "50", "--memory", "64M", t.id]

    def mend(t):
        t.rt(*arguments)
        t.equal(show(unit, "TasksMax"), "50")
        t.equal(show(unit, "MemoryMax"), str(64 << 20))
        t.rt("update", "--pids-limit", "100", t.id)
        goes_on(t)

    with one_container(t):
        Walk(t, arguments, nothing, mend, stays=True).go()
    gone(t, unit)
