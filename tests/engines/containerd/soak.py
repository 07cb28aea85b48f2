#!/usr/bin/env python3
"""Many execs, half of which fail, into one container, and many runs: nothing may grow, nothing may be left.

    soak.py [--execs N] [--runs N] SHIM_DIRECTORY
"""

import argparse
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from engine import Engine, Failure, check, eventually  # noqa: E402

EVERY = 100


def look(pid):
    """RSS in KiB and the number of descriptors."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        (rss,) = [int(line.split()[1]) for line in rollup if line.startswith("Rss:")]
    return rss, len(os.listdir(f"/proc/{pid}/fd"))


def inside(options):
    engine = Engine("", "io.containerd.creel.v2", os.path.abspath(options.shim_directory))
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
        eventually(lambda: not engine.left(), f"nothing left: {engine.left()}")
        print("soak: 1 passed, 0 failed")
        return 0
    except Failure as failure:
        print(f"FAIL {failure}\nsoak: 0 passed, 1 failed")
        return 1
    finally:
        engine.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--execs", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("shim_directory")
    options = parser.parse_args()
    if options.inside:
        return inside(options)
    os.makedirs("/run/containerd", exist_ok=True)
    script = 'mount -t tmpfs -o mode=711,size=2g none /run/containerd && export TMPDIR=/run/containerd && exec "$@"'
    return subprocess.call(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh",
                            sys.executable, *sys.argv, "--inside"])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
