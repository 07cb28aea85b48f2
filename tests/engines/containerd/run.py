#!/usr/bin/env python3
"""The shim under a real containerd.

    run.py [--containerd VERSION] [--runtime NAME] [--systemd] [--case PATTERN] [--keep-log FILE] SHIM_DIRECTORY

With `--runtime io.containerd.runc.v2` the same cases run on containerd's own shim, which shows whether they are right.
Needs root.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/.."]
import suite  # noqa: E402
from ctr import Engine  # noqa: E402
from systemd import SystemdEngine  # noqa: E402


def inside(options):
    suite.find_cases(HERE)
    engine = SystemdEngine(options) if options.systemd else Engine(options)
    try:
        return suite.run_cases(engine, options, "containerd")
    finally:
        suite.keep_log(engine, options)
        engine.stop()


if __name__ == "__main__":
    sys.exit(suite.on_private_host(suite.suite_parser(__doc__), inside))
