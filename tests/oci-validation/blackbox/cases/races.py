"""Many callers of one id, pids that are used again, states that cannot be read, starts of what is gone, full pipes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time

from suite import PATIENCE, Left, Skipped, case

RACERS = max(20, int(100 / PATIENCE))


def sleeps(t):
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()


# --- one id, many callers


@case(runc="1.1.5: a loser of the race may remove the winner's state")
def of_a_hundred_creates_one_wins(t):
    sleeps(t)
    results = [t.finish(racer, code=(0, 1)) for racer in [t.start_rt("create", t.id) for _ in range(RACERS)]]
    t.equal(sum(result.code == 0 for result in results), 1, "winners")
    for result in results:
        if result.code:
            t.contains(result.said, "already exists")
            t.equal(len(result.said.splitlines()), 1, "lines")
    t.equal(t.state()["status"], "created")
    t.rt("start", t.id)
    t.ends()


KNOWN = (
    "already exists",
    "does not exist",
    "another command is at work",
    "init is gone",
    "has stopped",
    "stopped container",
    "already running",
    "in the creating state",
    "cannot exec in a creating container",
    "was killed",
    "died while it was set up",
    "no such process",
    "is not stopped",
    "not running",
)


@case(runc="they meet half made states", crun="they meet half made states")
def a_hundred_racing_commands(t):
    """Each succeeds or says in one line what it met; what they leave, one delete removes."""
    sleeps(t)
    commands = [["create", t.id], ["delete", "--force", t.id], ["exec", t.id, "true"], ["state", t.id], ["start", t.id]]
    commands += [["kill", t.id, "KILL"], ["list"]]
    order = [commands[number % len(commands)] for number in range(RACERS)]
    for _ in range(3):
        random.shuffle(order)
        for racer in [t.start_rt(*arguments) for arguments in order]:
            # 137: an exec whose container is killed.
            result = t.finish(racer, code=(0, 1, 137, 255))
            if result.code in (1, 255):
                t.true(any(words in result.err for words in KNOWN), f"`{racer.line}` says {result.err!r}")
        t.rt("delete", "--force", t.id)
        t.none_left()


# --- no signal to a stranger


@contextlib.contextmanager
def stranger(pid):
    """A process that has this pid, which another one had."""
    for _ in range(50):
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(pid - 1))
        except OSError as error:
            raise Skipped(f"the next pid cannot be chosen: {error}") from None
        process = subprocess.Popen(["sleep", "1000"])
        if process.pid == pid:
            break
        process.kill()
        process.wait()
    else:
        raise Skipped(f"pid {pid} could not be had")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@case()
def a_pid_that_is_used_again_gets_no_signal(t):
    pid = t.sleeper()
    os.kill(pid, signal.SIGKILL)
    t.until(lambda: not os.path.exists(f"/proc/{pid}"), "init's end")
    time.sleep(0.05)  # more than the clock tick that start times are counted in
    with stranger(pid) as process:
        t.equal(t.state()["status"], "stopped")
        for arguments in (["kill", t.id, "KILL"], ["exec", t.id, "true"], ["start", t.id], ["pause", t.id]):
            t.true(t.rt(*arguments, code=None).code != 0, f"{arguments[0]} of a stopped container succeeded")
        t.rt("delete", "--force", t.id)
        t.equal(process.poll(), None, "the stranger was killed")
    t.none_left()


# --- delete --force is idempotent


def broken(kind):
    """Ways in which a state.json can be of no use."""
    return {
        "absent": lambda path, text: os.remove(path),
        "empty": lambda path, text: open(path, "w").close(),
        "truncated": lambda path, text: open(path, "w").write(text[: text.index('"config"') + 40]),
        "garbage": lambda path, text: open(path, "wb").write(os.urandom(4096)),
        "another shape": lambda path, text: open(path, "w").write('[{"init": 1}]'),
    }[kind]


def deletes_twice(t):
    t.rt("list")
    t.rt("delete", "--force", t.id)
    t.rt("delete", "--force", t.id)
    t.rt("state", t.id, code=1)
    t.rt("delete", t.id, code=1)


@case(runc="keeps what it cannot read", crun="keeps what it cannot read")
def delete_force_twice_whatever_the_state_is_like(t):
    for kind in ("absent", "empty", "truncated", "garbage", "another shape"):
        t.process["args"] = ["true"]
        t.save()
        t.rt("run", "--keep", t.id)
        broken(kind)(f"{t.root}/{t.id}/state.json", open(f"{t.root}/{t.id}/state.json").read())
        deletes_twice(t)
        remove_its_cgroups(t)
        t.none_left()


def remove_its_cgroups(t):
    """Those whose place was on record only in what was destroyed: empty, as nobody runs in them."""
    for group in sorted(Left.now(t.root).groups - t.before.groups, reverse=True):
        os.rmdir(group)


@case(runc="leaves the process", crun="leaves the process")
def delete_force_ends_what_a_truncated_state_still_names(t):
    """The state names init and its cgroup before all else."""
    pid = t.sleeper()
    path = f"{t.root}/{t.id}/state.json"
    broken("truncated")(path, open(path).read())
    t.contains(t.rt("state", t.id, code=1).said, "state.json")
    deletes_twice(t)
    t.true(not os.path.exists(f"/proc/{pid}"), "the process lives on")
    t.none_left()


# --- start never hangs


@case()
def start_of_what_was_killed_says_so(t):
    sleeps(t)
    t.rt("create", t.id)
    os.kill(t.state()["pid"], signal.SIGKILL)
    # At once, and once it is gone.
    for _ in range(2):
        t.rt("start", t.id, code=1)
        t.wait("stopped")
    t.rt("delete", t.id)
    t.none_left()


@case()
def start_beside_the_kill_of_init(t):
    sleeps(t)
    for round in range(max(5, int(40 / PATIENCE))):
        t.rt("create", t.id)
        pid = t.state()["pid"]
        starting = t.start_rt("start", t.id)
        time.sleep(round % 10 * 0.0005)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        t.finish(starting, code=(0, 1))
        t.rt("delete", "--force", t.id)
    t.none_left()


FILL = """
import fcntl, os, resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
os.setgid({uid}); os.setuid({uid})
held = []
try:
    while len(held) < 6000:
        held.append(os.pipe())
        if fcntl.fcntl(held[-1][0], 1032) <= 4096 * 2: break  # F_GETPIPE_SZ: the limit has made it small
except OSError:
    pass
print(len(held), flush=True)
time.sleep(1000)
"""


@case()
def a_user_whose_pipes_are_used_up_can_start(t):
    """Beyond fs.pipe-user-pages-soft a user's pipes have one or two pages; the FIFOs must do with that."""
    uid = 100000
    filler = subprocess.Popen(["python3", "-c", FILL.format(uid=uid)], stdout=subprocess.PIPE, text=True)
    try:
        t.true(int(filler.stdout.readline()) > 100, "no pipes were had")
        t.before.processes[filler.pid] = "filler"
        t.linux["namespaces"].append({"type": "user"})
        t.linux["uidMappings"] = t.linux["gidMappings"] = [{"containerID": 0, "hostID": uid, "size": 65536}]
        subprocess.run(["chown", "-R", f"{uid}:{uid}", t.rootfs], check=True)
        t.create("/bin/sh", "-c", "echo begun >/begun")
        t.rt("start", t.id)
        t.wait("stopped")
        t.equal(open(f"{t.rootfs}/begun").read(), "begun\n")
        t.rt("delete", t.id)
    finally:
        filler.kill()
        filler.wait()
        filler.stdout.close()
    t.none_left()


# --- the cgroup is gone after delete


@case(runc="1.1.5 leaves the cgroup on v2")
def forks_in_the_hosts_pid_namespace_all_go(t):
    """What forks while it is being killed, in groups of its own, without a PID namespace that would take all along."""
    t.remove_namespace("pid")
    t.linux["resources"]["pids"] = {"limit": 60}
    t.sleeper(command=["sh", "-c", "i=0; while [ $i -lt 6 ]; do (while :; do (sleep 0.01) & wait; done) & i=$((i+1)); done; wait"])
    own = open(f"/proc/{t.state()['pid']}/cgroup").read()
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        directory = f"/sys/fs/cgroup/{controllers.removeprefix('name=')}{path}" if controllers else f"/sys/fs/cgroup/unified{path}"
        if path != "/" and os.path.isdir(directory) and "cpuset" not in controllers:
            os.makedirs(f"{directory}/sub/sub", exist_ok=True)
    t.rt("delete", "--force", t.id)
    t.none_left()


@case()
def states_are_replaced_whole(t):
    """A reader beside a writer sees one state or the other."""
    t.linux["resources"]["pids"] = {"limit": 100}
    t.sleeper()
    path = f"{t.root}/{t.id}/state.json"
    if t.name != "creel":
        raise Skipped("the state file is the runtime's own matter")
    reads = rounds = 0
    while reads < 20:  # a busy machine may let the reader run when most have written
        writers = [t.start_rt("update", "--pids-limit", str(50 + number), t.id) for number in range(20)]
        while any(writer.poll() is None for writer in writers):
            json.load(open(path))
            reads += 1
        for writer in writers:
            t.finish(writer)
        rounds += 1
        t.true(rounds < 50, f"only {reads} reads")
    t.equal(os.listdir(os.path.dirname(path)).count("state.json.new"), 0, "half states")
