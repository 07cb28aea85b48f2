#!/usr/bin/env python3
"""Our own black-box suite: every case runs on each runtime, one after the other, on a private host.

    run.py [--progress] [--skipped-too] [--this-host] [--case PATTERN] RUNTIME[,PEER...]

The first runtime decides the exit code. A user who is not root runs the cases that need none, in a login session with a
systemd manager: --this-host.
"""

import argparse
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import suite  # noqa: E402
import user  # noqa: E402
from private_host import make_read_only  # noqa: E402

FOLDERS = {"cases": f"{HERE}/cases", "security": f"{HERE}/../security"}


def cases(pattern):
    for package, folder in FOLDERS.items():
        for file in sorted(os.listdir(folder)):
            if file.endswith(".py") and file != "__init__.py":
                importlib.import_module(f"{package}.{file[:-3]}")
    return [c for c in suite.CASES if re.search(pattern, short(c)) and (suite.ROOT or c.anyone)]


def short(case):
    return case.name.removeprefix("cases.")


def one(case, runtime, name, skipped_too):
    """(result, why) of one case; result is pass, FAIL or skip."""
    if name in case.skip and (not skipped_too or case.skip[name].startswith("dangerous")):
        return "skip", case.skip[name]
    t = suite.T(runtime, name)
    try:
        case.function(t)
        t.clean()
        t.none_left()
        return "pass", ""
    except suite.Skipped as skipped:
        return "skip", str(skipped)
    except suite.Failure as failure:
        return "FAIL", str(failure)
    except Exception:
        return "FAIL", traceback.format_exc()
    finally:
        t.scrub()


def inside(options, results):
    """On the private host: runs the cases and writes [name, result, why, seconds] lines."""
    os.makedirs(suite.WORK)
    environment = {**os.environ, "ROOTFS_ONLY": "1"}
    subprocess.run([f"{suite.REPOSITORY}/hack/bundle.sh", f"{suite.WORK}/made"], env=environment, check=True)
    os.rename(f"{suite.WORK}/made/rootfs", f"{suite.WORK}/rootfs")
    user.prepare()
    name = os.path.basename(options.runtimes)
    runtime = options.runtimes
    if not options.this_host:
        # What a runtime under test does to the host by mistake must not outlast this host. From a file system that is
        # read-only it would run as it is, without sealing itself; hence the copy.
        shim = f"{os.path.dirname(runtime)}/{suite.SHIM}"  # for the cases of what it shares with the runtime
        runtime = shutil.copy(runtime, f"{user.BIN}/{name}")
        if os.access(shim, os.X_OK):
            shutil.copy(shim, user.BIN)
        make_read_only()
    with open(results, "w") as file:
        for case in cases(options.case):
            begin = time.monotonic()
            result, why = one(case, runtime, name, options.skipped_too)
            seconds = time.monotonic() - begin
            print(json.dumps([short(case), result, why, seconds]), file=file, flush=True)
            if options.progress:
                print(f"{result} {short(case)} ({seconds:.1f} s)" + (f": {why}" if why else ""), flush=True)


def on_private_host(runtime, options):
    with tempfile.NamedTemporaryFile("r") as results:
        command = [f"{HERE}/../private_host.py", sys.executable, os.path.abspath(__file__), "--inside", results.name]
        flags = ["--progress"] * options.progress + ["--skipped-too"] * options.skipped_too
        command += ["--case", options.case, *flags, runtime]
        subprocess.run(command, check=True)
        return {row[0]: row[1:] for row in map(json.loads, results)}


def on_this_host(runtime, options):
    with tempfile.NamedTemporaryFile("r") as results:
        try:
            inside(argparse.Namespace(**{**vars(options), "runtimes": runtime}), results.name)
        finally:
            user.forget()
            shutil.rmtree(suite.WORK, ignore_errors=True)
        return {row[0]: row[1:] for row in map(json.loads, results)}


def table(names, columns):
    width = max(map(len, columns[0]), default=0)
    print(f"{'case':{width}}  " + "  ".join(f"{name:6}" for name in names))
    for case in columns[0]:
        row = [column[case] for column in columns]
        whys = [f"{name}: {r[1].splitlines()[0]}" for name, r in zip(names, row) if r[1]]
        print(f"{case:{width}}  " + "  ".join(f"{r[0]:6}" for r in row) + "  " + "; ".join(whys))
    for result in ("pass", "FAIL", "skip"):
        counts = [sum(r[0] == result for r in column.values()) for column in columns]
        print(f"{result:{width}}  " + "  ".join(f"{count:<6}" for count in counts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="", help="only cases whose name matches this pattern")
    parser.add_argument("--inside", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--results", metavar="FILE", help="write [runtime, case, result, why, seconds] lines, in JSON")
    parser.add_argument("--this-host", action="store_true", help="on this very host, for the cases that need its systemd")
    parser.add_argument("--skipped-too", action="store_true", help="run even what a peer is known not to pass")
    parser.add_argument("--progress", action="store_true", help="print every case as it ends")
    parser.add_argument("runtimes", help="paths or names, separated by commas")
    options = parser.parse_args()
    if options.inside:
        return inside(options, options.inside)
    names = options.runtimes.split(",")
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        print("left out, not installed: " + ", ".join(missing))
    if names[0] in missing or not (suite.ROOT or options.this_host):
        sys.exit("run.py: needs root (or --this-host) and the first runtime")
    paths = [os.path.abspath(shutil.which(name)) for name in names if name not in missing]
    where = on_this_host if options.this_host else on_private_host
    columns = [where(path, options) for path in paths]
    if options.results:
        with open(options.results, "w") as file:
            for path, column in zip(paths, columns):
                for case, row in column.items():
                    print(json.dumps([os.path.basename(path), case, *row]), file=file)
    if len(paths) > 1:
        table([os.path.basename(path) for path in paths], columns)
    first = columns[0]
    for case, (result, why, _) in first.items():
        if result == "FAIL":
            print(f"FAIL {case}: {why}")
        elif result == "skip" and len(paths) == 1:
            print(f"skip {case}: {why}")
    count = lambda wanted: sum(result == wanted for result, _, _ in first.values())
    print(f"blackbox: {count('pass')} passed, {count('FAIL')} failed, {count('skip')} skipped")
    return 1 if count("FAIL") else 0


if __name__ == "__main__":
    sys.exit(main())
