#!/usr/bin/env python3
"""Pods under containerd's CRI plugin, as the kubelet makes them, with the runtime handler creel.

    run.py [--containerd VERSION] [--runtime NAME] [--case PATTERN] [--keep-log FILE] SHIM_DIRECTORY

With `--runtime io.containerd.runc.v2` the same cases run with the handler runc, which shows whether they are right.
Needs root, and Go for the client.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/..", f"{HERE}/../../oci-validation"]
import suite  # noqa: E402
import versions  # noqa: E402
from cri import CLIENT, Cri  # noqa: E402


def inside(options):
    suite.find_cases(HERE)
    engine = Cri(options)
    try:
        return suite.run_cases(engine, options, "cri")
    finally:
        suite.keep_log(engine, options)
        engine.stop()


if __name__ == "__main__":
    build = lambda: versions.build(f"{HERE}/client", os.path.dirname(CLIENT), ".")  # noqa: E731
    sys.exit(suite.on_private_host(suite.suite_parser(__doc__), inside, build, own_network=True))
