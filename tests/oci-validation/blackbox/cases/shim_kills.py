"""The shim, and the copies of it that do its work, killed at every one of their system calls while they create, start,
execute or delete: what is left, the shim itself if it lives, or else its `delete`, can mend.

By default a few system calls of each, as in kills.py, which says how to have more of them.
"""

import contextlib
import glob
import json
import os
import signal
import subprocess
import time

from cases.kills import NAMES, PEERS, chosen, sleeps
from suite import HERE, SHIM, TIMEOUT, Failure, Left, Skipped, case
from tracer import Traced, dying

CALL = f"{HERE}/shim_call.py"
NAMESPACE, ADDRESS = "walk", "/run/containerd-of-the-walk.sock"
THE_SHIM = 1  # the processes of a walk: 0 is the client, which nobody kills, then the shim, then what the shim clones


class ShimOf:
    """A bundle's shim, and the steps of its container's life."""

    def __init__(self, t):
        self.t, self.program = t, f"{os.path.dirname(t.runtime)}/{SHIM}"
        if not os.access(self.program, os.X_OK):
            raise Skipped(f"there is no {SHIM} beside it")
        sleeps(t)
        self.source = f"{t.directory}/source"
        os.rename(t.rootfs, self.source)
        os.mkdir(t.rootfs)
        os.makedirs("/run/containerd/s", exist_ok=True)
        self.root, self.pid = f"{t.root}/{NAMESPACE}", None
        os.makedirs(self.root, exist_ok=True)
        t.before = Left.now(t.root)

    def command(self, action):
        return [self.program, "-namespace", NAMESPACE, "-address", ADDRESS, "-id", self.t.id, "-bundle", self.t.bundle, action]

    def step(self, *step):
        return [CALL, self.t.bundle, self.t.id, *step]

    def create(self):
        return self.step("create", self.source, self.t.root)

    def do(self, command, code=0):
        ended = subprocess.run(command, cwd=self.t.bundle, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
        if code is not None and ended.returncode != code:
            said = (ended.stdout + ended.stderr).decode(errors="replace")
            raise Failure(f"{' '.join(command)} exited with {ended.returncode}: {said}")
        return ended.returncode

    def begin(self):
        self.do(self.command("start"))
        (self.pid,) = [pid for pid, line in Left.now(self.t.root).processes.items() if self.program in line]

    def end(self):
        """As containerd gives a shim up, and cleans up after it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.t.until(lambda: dying(self.pid), "the shim ends")
        self.do(self.command("delete"))
        for name in ("address", "init.pid", "options.json"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"{self.t.bundle}/{name}")
        if os.listdir(self.root):
            raise Failure(f"state of {os.listdir(self.root)} is left")
        self.t.none_left()


class Walk:
    """One step, killed again and again. `prepare` is what comes before, `mend` what the shim can do after, if it lives."""

    def __init__(self, t, prepare, step, mend):
        self.shim, self.prepare, self.command, self.mend = ShimOf(t), prepare, step, mend
        self.t, self.kills = t, 0

    def go(self):
        _, traced = self.once(None, 0)
        counts = traced.counts
        for target in range(THE_SHIM, len(counts)):
            for number in chosen(counts[target], traced.cgroups.moments(target)):
                if self.once(target, number)[0] is None:
                    break
                self.kills += 1
        print(f"     killed at {self.kills} of {counts[THE_SHIM:]} system calls", flush=True)

    def once(self, target, number):
        shim = self.shim
        shim.begin()
        self.prepare(shim)
        stamp = f"{self.t.directory}/{time.monotonic_ns()}"
        traced = Traced(self.command(shim), self.t.bundle, stamp, [shim.pid])
        call, code = traced.run(target, number)
        with open(f"{stamp}.err") as file:
            said = file.read().strip().rsplit("\n", 1)[-1]
        for file in glob.glob(f"{stamp}.*"):
            os.remove(file)
        try:
            if target is None and code != 0:
                raise Failure("it failed without being killed")
            if not dying(shim.pid):
                self.mend(shim)
            elif target != THE_SHIM:
                raise Failure("the shim has ended")
            shim.end()
        except (Failure, subprocess.TimeoutExpired) as failure:
            where = f"process {target}, system call {number} ({NAMES.get(call, call)})"
            raise Failure(f"{where}: the client exited with {code} ({said}); then: {failure}") from None
        return call, traced


def nothing(shim):
    pass


def created(shim):
    shim.do(shim.create())


def started(shim):
    created(shim)
    shim.do(shim.step("start"))


def ended(shim):
    started(shim)
    with open(f"{shim.t.bundle}/init.pid") as file:
        pid = int(file.read())
    os.kill(pid, signal.SIGKILL)
    shim.t.until(lambda: not os.path.exists(f"/proc/{pid}"), "the container's init ends")


@case(**PEERS)
def create(t):
    def mend(shim):
        # Once more by the same shim, unless it is there already.
        if shim.do(shim.step("state"), None) != 0:
            shim.do(shim.create())

    Walk(t, nothing, ShimOf.create, mend).go()


@case(**PEERS)
def start(t):
    def mend(shim):
        shim.do(shim.step("start"), None)  # unless it runs already
        state = json.loads(subprocess.check_output([t.runtime, "--root", shim.root, "state", t.id]))
        if state["status"] != "running":
            raise Failure(f"it is {state['status']}")

    Walk(t, created, lambda shim: shim.step("start"), mend).go()


@case(**PEERS)
def execute(t):
    Walk(t, started, lambda shim: shim.step("exec", "e"), lambda shim: shim.do(shim.step("exec", "f"))).go()


@case(**PEERS)
def delete(t):
    def mend(shim):
        shim.do(shim.step("delete"), None)
        if shim.do(shim.step("state"), None) == 0:
            raise Failure("it is still there")

    Walk(t, ended, lambda shim: shim.step("delete"), mend).go()
