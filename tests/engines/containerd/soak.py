#!/usr/bin/env python3
"""Many cycles in one shim: nothing may grow, nothing may be left.

    soak.py [--containerd VERSION] [--cycles N] SHIM_DIRECTORY

A cycle runs and deletes a container of the pod with ctr, and asks the shim for an exec in another one and for an exec
with a terminal that fails.
"""

import glob
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/.."]
from ctr import Engine  # noqa: E402
from direct import Client  # noqa: E402
from suite import Failure, check, eventually, on_private_host, parser  # noqa: E402

EVERY = 100
POD = ["--annotation", "io.containerd.runc.v2.group=pod", "--null-io"]
GROWTH = 256  # KiB that the allocator may keep


def look(engine, pid):
    """What must not grow: the shim's RSS in KiB, and numbers of things."""
    time.sleep(0.5)  # the last worker is about to end
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        (rss,) = [int(line.split()[1]) for line in rollup if line.startswith("Rss:")]
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        processes = len(children.read().split())
    with open("/proc/self/mountinfo") as mounts:
        mounted = sum(engine.work in line for line in mounts)
    cgroups = sum(path.endswith("/") for path in glob.glob("/sys/fs/cgroup/*/default/*/") + glob.glob("/sys/fs/cgroup/default/*/"))
    states = len(glob.glob("/run/containerd/creel/*/*"))
    return rss, {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "processes": processes, "mounts": mounted,
                 "cgroups": cgroups, "states": states}  # fmt: skip


def soak(engine, cycles):
    screen = f"{engine.work}/screen"
    os.mkfifo(screen)
    reader = os.open(screen, os.O_RDONLY | os.O_NONBLOCK)
    # It outlives the slowest machine.
    with engine.running("c", "sleep", "1000000", flags=POD[:2]):
        shim, first = engine.shim_of("c"), None
        client = Client(*glob.glob(f"{engine.work}/state/io.containerd.runtime.v2.task/*/c"))
        for number in range(1, cycles + 1):
            check(engine.run(f"r{number}", "/bin/true", flags=POD).status == 0, f"run {number}")
            check(client.exec("c", f"e{number}", "true"), f"exec {number}")
            check(not client.exec("c", f"t{number}", "no-such-thing", terminal=screen), f"exec {number} should fail")
            if number % EVERY == 0:
                rss, counts = look(engine, shim)
                first = first or (rss, counts)
                print(f"{number} cycles: RSS {rss} KiB, {counts}", flush=True)
                check(rss <= first[0] + GROWTH and counts == first[1], f"it grew from {first}")
        client.close()
    os.close(reader)
    eventually(lambda: not engine.left(), "nothing left")


def inside(options):
    engine = Engine(options, "io.containerd.creel.v2")
    try:
        soak(engine, options.cycles)
        print("soak: 1 passed, 0 failed")
        return 0
    except Failure as failure:
        print(f"FAIL {failure}\nsoak: 0 passed, 1 failed")
        return 1
    finally:
        engine.stop()


def options():
    wanted = parser(__doc__)
    wanted.add_argument("--cycles", type=int, default=10_000)
    return wanted


if __name__ == "__main__":
    sys.exit(on_private_host(options(), inside))
