#!/usr/bin/env python3
"""Many execs, half of which fail, into one container, and many runs: nothing may grow, nothing may be left.

    soak.py [--containerd VERSION] [--execs N] [--runs N] SHIM_DIRECTORY
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/.."]
from ctr import Engine  # noqa: E402
from suite import Failure, check, eventually, on_private_host, parser  # noqa: E402

EVERY = 100


def look(pid):
    """RSS in KiB and the number of descriptors."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        (rss,) = [int(line.split()[1]) for line in rollup if line.startswith("Rss:")]
    return rss, len(os.listdir(f"/proc/{pid}/fd"))


def inside(options):
    engine = Engine(options, "io.containerd.creel.v2")
    try:
        with engine.running("c"):
            shim = engine.shim_of("c")
            first = None
            for number in range(options.execs):
                engine.exec("c", f"e{number}", "true" if number % 2 else "no-such-thing")
                if number % EVERY == EVERY - 1:
                    first = first or look(shim)
                    print(f"{number + 1} execs: {look(shim)}", flush=True)
            last = look(shim)
            check(last[0] <= first[0] + 256 and last[1] <= first[1], f"it grew from {first} to {last}")
        for number in range(options.runs):
            check(engine.run(f"r{number}", "/bin/true").status == 0, f"run {number}")
        eventually(lambda: not engine.left(), lambda: f"left behind: {engine.left()}")
        print("soak: 1 passed, 0 failed")
        return 0
    except Failure as failure:
        print(f"FAIL {failure}\nsoak: 0 passed, 1 failed")
        return 1
    finally:
        engine.stop()


def options():
    wanted = parser(__doc__)
    wanted.add_argument("--execs", type=int, default=10_000)
    wanted.add_argument("--runs", type=int, default=1_000)
    return wanted


if __name__ == "__main__":
    sys.exit(on_private_host(options(), inside))
