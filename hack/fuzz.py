#!/usr/bin/env python3
"""fuzz.py [--seconds N | --check] [TARGET...]: runs the fuzz targets of fuzz/, one after the other, N seconds each.

libFuzzer (the libfuzzer-sys crate) under AddressSanitizer; the stable compiler has all that it takes, and only the switches
are called unstable. What is found is kept below target/fuzz: inputs that reach something new in corpus/TARGET, where the next
run begins with them, and those that fail in failures/. The last line is `fuzz: N passed, N failed`. --check only compiles the targets, and not to the end.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATE = ROOT / "fuzz"
WORK = ROOT / "target/fuzz"

# Where the compiler puts counters for libFuzzer, and that it tells what comparisons are about. An environment variable,
# so that .cargo/config.toml's flags for static binaries do not count: the sanitizer's library needs a dynamic one.
FLAGS = [
    "--cfg=fuzzing",
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
]
# Nothing that is parsed here takes a second; memory is a multiple of the input's, and 512 MiB most of what libFuzzer has.
LIMITS = ["-timeout=5", "-rss_limit_mb=1024", "-malloc_limit_mb=64", "-print_final_stats=1"]


def host():
    return subprocess.run(["rustc", "--print", "host-tuple"], capture_output=True, text=True, check=True).stdout.strip()


def cargo(command, flags, directory):
    env = os.environ | {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": " ".join(flags), "CARGO_TARGET_DIR": str(directory)}
    arguments = ["--locked", "--quiet", "--manifest-path", CRATE / "Cargo.toml", "--target", host()]
    return subprocess.run(["cargo", *command, *arguments], env=env).returncode


def build():
    libseccomp = f"-Lnative=/usr/lib/{host().split('-')[0]}-linux-gnu"
    if cargo(["build", "--release"], [*FLAGS, libseccomp], WORK):
        sys.exit("fuzz: the targets cannot be built")
    return WORK / host() / "release"


def strings(value):
    """All names and texts in a JSON document."""
    match value:
        case dict():
            for name, member in value.items():
                yield name
                yield from strings(member)
        case list():
            for member in value:
                yield from strings(member)
        case str():
            yield value


def dictionary(target):
    """The words of the corpus, as a libFuzzer dictionary: whole field names are not found by flipping bits."""
    words = set()
    for path in sorted((CRATE / "corpus" / target).iterdir()):
        try:
            words.update(strings(json.loads(path.read_bytes())))
        except ValueError:
            continue
    if not words:
        return []
    path = WORK / f"{target}.dict"
    quoted = (word for word in sorted(words) if 0 < len(word) <= 64 and word.isascii() and word.isprintable())
    path.write_text("".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"\n' for word in quoted))
    return [f"-dict={path}"]


def run(program, target, seconds):
    """Whether nothing was found."""
    found = WORK / "corpus" / target
    failures = WORK / "failures"
    for directory in (found, failures):
        directory.mkdir(parents=True, exist_ok=True)
    command = ["nice", "-n", "10", program, f"-max_total_time={seconds}", *dictionary(target), *LIMITS]
    command += [f"-artifact_prefix={failures}/{target}-", found, CRATE / "corpus" / target]
    begin = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    took = time.monotonic() - begin
    numbers = dict(line.split(": ", 1) for line in ended.stderr.splitlines() if line.startswith("stat::"))
    units = numbers.get("stat::number_of_executed_units", "?").strip()
    print(f"{'ok  ' if ended.returncode == 0 else 'FAIL'} {target}: {units} inputs in {took:.0f} s", flush=True)
    if ended.returncode:
        print(ended.stderr[-6000:], flush=True)
    return ended.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("targets", nargs="*")
    given = parser.parse_args()
    known = sorted(path.stem for path in (CRATE / "targets").glob("*.rs"))
    unknown = set(given.targets) - set(known)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))} (there are {', '.join(known)})")
    if given.check:
        return cargo(["check"], ["--cfg=fuzzing"], ROOT / "target/fuzz-check")
    WORK.mkdir(parents=True, exist_ok=True)
    programs = build()
    results = [run(programs / target, target, given.seconds) for target in given.targets or known]
    print(f"fuzz: {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
