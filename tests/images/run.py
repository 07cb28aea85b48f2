#!/usr/bin/env python3
"""creel-image against a registry: what is pulled, who is asked with what, and what goes wrong.

    run.py [--case PATTERN] [--keep] PROGRAM

PROGRAM is creel-image. Needs root, docker-registry, skopeo, openssl and zstd; all on loopback, all in a temporary
directory. The last line is `images: N passed, N failed`.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import access  # noqa: E402
import archives  # noqa: E402
import faults  # noqa: E402
import pulling  # noqa: E402
import signatures  # noqa: E402
from harness import Bench, Failure  # noqa: E402
from registry import Registry  # noqa: E402

NEEDED = ("docker-registry", "skopeo", "openssl", "zstd", "unshare")


def run(case, program, work, registry, storage):
    bench = Bench(program, work, registry)
    try:
        case(bench, storage) if case in access.CASES else case(bench)
    except Failure as failure:
        return str(failure)
    except Exception:
        return traceback.format_exc()
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="", help="only the cases whose name this expression finds")
    parser.add_argument("--keep", action="store_true", help="leave the directory of a failed case")
    parser.add_argument("program")
    options = parser.parse_args()
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing or os.geteuid():
        print(f"images: skipped: {'missing: ' + ' '.join(missing) if missing else 'needs root'}; see hack/install-deps.sh")
        print("images: 0 passed, 0 failed, 1 skipped")
        return 0
    passed = failed = 0
    whole = tempfile.mkdtemp(prefix="creel-images-")
    storage = f"{whole}/storage"
    registry = Registry(whole, storage)
    try:
        for case in pulling.CASES + access.CASES + archives.CASES + signatures.CASES + faults.CASES:
            if not re.search(options.case, case.__name__):
                continue
            work = f"{whole}/{case.__name__}"
            os.makedirs(work)
            began = time.monotonic()
            why = run(case, os.path.abspath(options.program), work, registry, storage)
            passed, failed = passed + (why is None), failed + (why is not None)
            took = f"({time.monotonic() - began:.1f} s)"
            print(f"ok   {case.__name__} {took}" if why is None else f"FAIL {case.__name__} {took}: {why}", flush=True)
            if why is None or not options.keep:
                shutil.rmtree(work)
    finally:
        registry.stop()
        if failed and options.keep:
            print(f"kept: {whole}")
        else:
            shutil.rmtree(whole)
    print(f"images: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
