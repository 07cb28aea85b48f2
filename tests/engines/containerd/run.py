#!/usr/bin/env python3
"""The shim under a real containerd.

    run.py [--containerd DIRECTORY] [--runtime NAME] [--systemd] [--case PATTERN] [--keep-log] SHIM_DIRECTORY

SHIM_DIRECTORY holds containerd-shim-creel-v2. With `--runtime io.containerd.runc.v2` the same cases run on containerd's
own shim, which shows whether they are right. `--containerd` names a directory with another containerd and ctr than
those in PATH. With `--systemd` containers' cgroups are systemd's to make. Needs root; runs in a mount namespace of its own, with a tmpfs on /run/containerd
that everything is on.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cases  # noqa: E402
import systemd  # noqa: E402
from engine import Engine, Failure, eventually  # noqa: E402


def inside(options):
    engine_class = systemd.SystemdEngine if options.systemd else Engine
    engine = engine_class(options.containerd, options.runtime, os.path.abspath(options.shim_directory))
    passed = failed = skipped = 0
    kind = "runc" if "runc" in options.runtime else "creel"
    try:
        print("containerd", ".".join(map(str, engine.version)), options.runtime, flush=True)
        for function, exceptions in cases.CASES + (systemd.CASES if options.systemd else []):
            name = function.__name__
            if not re.search(options.case, name):
                continue
            if exceptions[kind]:
                skipped += 1
                print(f"skip {name}: {exceptions[kind]}", flush=True)
                continue
            began = time.monotonic()
            try:
                function(engine)
                try:
                    eventually(lambda: not engine.left(), "nothing left", 8)
                except Failure:
                    raise Failure(f"left behind: {engine.left()}") from None
                result, why = "ok  ", ""
                passed += 1
            except Failure as failure:
                result, why = "FAIL", f": {failure}"
                failed += 1
            except Exception:
                result, why = "FAIL", f": {traceback.format_exc()}"
                failed += 1
            print(f"{result} {name} ({time.monotonic() - began:.1f} s){why}", flush=True)
            if failed and engine.daemon.poll() is not None:
                engine.start()
    finally:
        if options.keep_log:
            shutil.copy(f"{engine.work}/containerd.log", options.keep_log)
        engine.stop()
        for pid in engine.shims():
            os.kill(pid, 9)
        subprocess.run(f"grep -o '{engine.work}[^ ]*' /proc/self/mountinfo | sort -r | xargs -r umount -l", shell=True)
        shutil.rmtree(engine.work, ignore_errors=True)
    print(f"containerd: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--containerd", default="")
    parser.add_argument("--runtime", default="io.containerd.creel.v2")
    parser.add_argument("--case", default="")
    parser.add_argument("--systemd", action="store_true")
    parser.add_argument("--keep-log", default="")
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
