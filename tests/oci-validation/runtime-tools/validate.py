#!/usr/bin/env python3
"""Runs the validation programs of opencontainers/runtime-tools against one or more OCI runtimes. README.md says more.

    validate.py [--verbose] [--jobs N] [--program NAME]... RUNTIME[,PEER...]

The first runtime decides the exit code: its failures must be exactly those of expected-failures.txt.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(f"{HERE}/../../..")
CACHE = f"{REPOSITORY}/target/oci-validation"
MODULE = "github.com/opencontainers/runtime-tools"
TIMEOUT = 30  # seconds for one program


def build():
    """Builds the programs, the helper they copy into the containers, and the root filesystem that they unpack."""
    os.makedirs(f"{CACHE}/bin", exist_ok=True)
    go = ["go", "build", "-ldflags=-s -w", "-o", f"{CACHE}/bin/", f"{MODULE}/validation/...", f"{MODULE}/cmd/runtimetest"]
    subprocess.run(go, cwd=HERE, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    archive = f"{CACHE}/rootfs-{machine}.tar.gz"
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "ROOTFS_ONLY": "1"}
        subprocess.run([f"{REPOSITORY}/hack/bundle.sh", directory], env=environment, check=True)
        owner = ["--owner=0", "--group=0", "--numeric-owner"]
        subprocess.run(["tar", "-czf", archive, *owner, "-C", f"{directory}/rootfs", "."], check=True)
    return sorted(set(os.listdir(f"{CACHE}/bin")) - {"runtimetest"}), archive


# crun before 1.14.2 refuses every ociVersion above 1.0; the programs say 1.3.0. This stands in for such a crun.
OLD_CRUN = r"""#!/bin/sh
previous= bundle=.
for argument; do
    [ "$previous" != --bundle ] || bundle=$argument
    previous=$argument
done
[ "$1" != create ] || sed -i 's/"ociVersion": *"[^"]*"/"ociVersion": "1.0.2"/' "$bundle/config.json"
exec "$CRUN" "$@"
"""


def stand_in(runtime):
    """The runtime, or what makes an old crun comparable."""
    version = subprocess.run([runtime, "--version"], capture_output=True, text=True).stdout
    match = re.match(r"crun version (\d+)\.(\d+)(?:\.(\d+))?", version)
    if not match or tuple(int(number or 0) for number in match.groups()) >= (1, 14, 2):
        return runtime
    path = f"{CACHE}/crun"
    with open(path, "w") as file:
        file.write(OLD_CRUN.replace("$CRUN", runtime))
    os.chmod(path, 0o755)
    return path


def verdict(code, output):
    """(passed, why) from the exit code and the TAP lines on standard output."""
    if code is None:
        return False, f"no end after {TIMEOUT} s"
    plans = [int(plan) for plan in re.findall(r"^1\.\.(\d+)", output, re.M)]
    tests = [line for line in output.splitlines() if re.match(r"(not )?ok\b", line)]
    bad = [line for line in tests if line.startswith("not ok") and not re.search(r"# (SKIP|TODO)\b", line)]
    if bad:
        return False, f"{len(bad)} of {len(tests)} not ok: {bad[0]}"
    if code != 0:
        return False, f"exit code {code}"
    if not output:  # the two process_*_fail programs speak only when the runtime accepted what it must refuse
        return True, ""
    if not plans:
        return False, "no plan"
    if sum(plans) != len(tests):
        return False, f"plan of {sum(plans)}, but {len(tests)} tests"
    if not tests:
        complaint = re.search(r'"error": "(.*?)(\\n|")', output)
        return (False, complaint.group(1)) if complaint else (True, "")
    return True, ""


def run(program, runtime, archive):
    """Runs one program in a private host and a working directory of its own; gives (passed, why, all that it said)."""
    with tempfile.TemporaryDirectory(prefix="creel-validation-") as directory:
        for file in (archive, f"{CACHE}/bin/runtimetest"):
            os.link(file, f"{directory}/{os.path.basename(file)}")
        os.chmod(directory, 0o711)  # the root of a user namespace must get to the bundle
        os.mkdir(f"{directory}/tmp", 0o711)
        process = subprocess.Popen(
            [f"{HERE}/../private_host.py", f"{CACHE}/bin/{program}"],
            cwd=directory,
            env={**os.environ, "RUNTIME": runtime, "TMPDIR": f"{directory}/tmp"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            output, errors = process.communicate(timeout=TIMEOUT)
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.terminate()
            output, errors = process.communicate()
            code = None
    passed, why = verdict(code, output)
    return passed, why, output + errors


def attempt(program, runtime, archive, tries):
    """Like `run`; a race gets more than one try, since losing it says nothing about the runtime."""
    for _ in range(tries):
        result = run(program, runtime, archive)
        if result[0]:
            break
    return result


def expected_failures(runtime):
    """{program: (reason, whether it may pass too)} from expected-failures.txt for a runtime's name."""
    expected = {}
    for line in open(f"{HERE}/expected-failures.txt"):
        if line.strip() and not line.startswith("#"):
            program, names, reason = re.fullmatch(r"(\w+)(?: \(([^)]*)\))?: (.*)\n", line).groups()
            for name in (names or runtime).split(", "):
                if name.rstrip("?") == runtime:
                    expected[program] = (reason, name.endswith("?"))
    return expected


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbose", action="store_true", help="print what each failing program said")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--program", action="append", help="only this one")
    parser.add_argument("runtimes", help="paths or names, separated by commas")
    options = parser.parse_args()
    options.runtimes = options.runtimes.split(",")
    missing = [name for name in options.runtimes if not shutil.which(name)]
    if missing:
        print("not installed: " + ", ".join(missing))
    if options.runtimes[0] in missing or os.geteuid() != 0:
        sys.exit("validate.py: needs root and the first runtime")
    options.runtimes = [shutil.which(name) for name in options.runtimes if name not in missing]
    return options


def main():
    options = arguments()
    programs, archive = build()
    options.runtimes = [stand_in(runtime) for runtime in options.runtimes]
    if options.program:
        programs = [program for program in programs if program in options.program]
    width = max(map(len, programs))
    names = [os.path.basename(runtime) for runtime in options.runtimes]
    print(f"{'program':{width}}  " + "  ".join(f"{name:6}" for name in names))
    jobs = [(program, runtime) for program in programs for runtime in options.runtimes]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {}
        for program, runtime in jobs:
            _, race = expected_failures(os.path.basename(runtime)).get(program, ("", False))
            futures[program, runtime] = pool.submit(attempt, program, runtime, archive, 3 if race else 1)
        results = {}
        for program in programs:
            for runtime in options.runtimes:
                results[program, runtime] = futures[program, runtime].result()
            row = [results[program, runtime] for runtime in options.runtimes]
            why = "; ".join(f"{name}: {result[1]}" for name, result in zip(names, row) if not result[0])
            print(f"{program:{width}}  " + "  ".join("pass  " if r[0] else "FAIL  " for r in row) + "  " + why, flush=True)
            for name, result in zip(names, row):
                if options.verbose and not result[0]:
                    print(f"--- {program} on {name}\n{result[2]}---")
    totals = [sum(results[program, runtime][0] for program in programs) for runtime in options.runtimes]
    print(f"{f'passed of {len(programs)}':{width}}  " + "  ".join(f"{total:<6}" for total in totals))
    judged = {program: results[program, options.runtimes[0]] for program in programs}
    return judge(judged, expected_failures(names[0]))


def judge(results, expected):
    """Compares with expected-failures.txt; the last line is for those who add up."""
    wrong = 0
    for program, (passed, why, said) in results.items():
        reason, may_pass = expected.get(program, ("", False))
        if passed and reason and not may_pass:
            print(f"UNEXPECTED PASS: {program}: take it out of expected-failures.txt ({reason})")
            wrong += 1
        elif not passed and not reason:
            print(f"UNEXPECTED FAILURE: {program}: {why}\n{said}")
            wrong += 1
    good = sum(passed for passed, _, _ in results.values())
    print(f"{len(results) - good} failed, {len(expected)} are expected to (expected-failures.txt)")
    print(f"runtime-tools: {good} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
