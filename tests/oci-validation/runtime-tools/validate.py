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
    if not plans:
        return False, "no plan"
    if sum(plans) != len(tests):
        return False, f"plan of {sum(plans)}, but {len(tests)} tests"
    if not tests:
        complaint = re.search(r"^ +error: .*|^  ---\n(.*)", output, re.M)
        return (False, complaint.group(0).strip()) if complaint else (True, "")
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


def expected_failures():
    """The programs of expected-failures.txt with their reasons."""
    lines = [line.strip() for line in open(f"{HERE}/expected-failures.txt")]
    return dict(re.split(r":\s*", line, maxsplit=1) for line in lines if line and not line.startswith("#"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbose", action="store_true", help="print what each failing program said")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
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
    if options.program:
        programs = [program for program in programs if program in options.program]
    width = max(map(len, programs))
    names = [os.path.basename(runtime) for runtime in options.runtimes]
    print(f"{'program':{width}}  " + "  ".join(f"{name:6}" for name in names))
    jobs = [(program, runtime) for program in programs for runtime in options.runtimes]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {job: pool.submit(run, *job, archive) for job in jobs}
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
    return judge(programs, {program: results[program, options.runtimes[0]] for program in programs})


def judge(programs, results):
    """Compares with expected-failures.txt and prints the summary that .ci/run adds up."""
    expected = expected_failures()
    wrong = 0
    for program in programs:
        passed, why, said = results[program]
        if passed and program in expected:
            print(f"UNEXPECTED PASS: {program}: take it out of expected-failures.txt ({expected[program]})")
            wrong += 1
        elif not passed and program not in expected:
            print(f"UNEXPECTED FAILURE: {program}: {why}\n{said}")
            wrong += 1
    print(f"runtime-tools: {len(programs) - wrong} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
