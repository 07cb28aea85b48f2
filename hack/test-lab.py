#!/usr/bin/env python3
"""Runs the kernel tests and the black-box suite in virtual machines with the cgroup layouts that this host lacks, and
the shim on cgroup v2, under the containerd that is installed here.

    test-lab.py [--layouts LIST] [--cases PATTERN] [--tests LIST] [--shim PATTERN] [--peers LIST] [--quick]

Layouts: v2 (systemd, AppArmor), v2-user (the same, as a user with a systemd user manager), hybrid, v1, selinux (labels
only), newer (v2 on Debian 13: user namespaces only, since AppArmor's profiles grant them there). Everything is built here
and run there. --quick is what CI has time for. The last line is `lab: N passed, N failed, N skipped`.

LAB names the tool that boots the machines; without it everything is skipped. Emulation makes a guest some fifteen times
slower than its host: BLACKBOX_PATIENCE (10) makes time-outs longer and long loops shorter there.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

REPOSITORY = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/..")
LAYOUTS = {
    "v2": ["--cgroup", "v2"],
    "v2-user": ["--cgroup", "v2", "--user", "tester"],
    "hybrid": ["--cgroup", "hybrid"],
    "v1": ["--cgroup", "v1"],
    "selinux": ["--cgroup", "v2", "--lsm", "selinux"],
    "newer": ["--cgroup", "v2"],
}
SUITES = {"newer": "trixie"}  # Debian's releases, where it is not this host's
# A layout that is there for these cases alone.
ONLY = {"selinux": r"^labels\.", "v2-user": r"^userns_matrix\.", "newer": r"^userns_matrix\.(root_userns|joined)"}
WITHOUT_ROOT = ("v2", "v2-user", "selinux", "newer")  # have the cases of tests/lab/rootless.py
AT_ONCE = 2  # a machine takes a core
PATIENCE = float(os.environ.get("BLACKBOX_PATIENCE", 10))
TIMEOUT = 3600  # seconds for one layout
PACKAGES = "python3"  # for the guest's image; whoever asks for the same packages shares the image

# What is in a quick run: all that has to do with cgroups, on the layout that this host has not got.
QUICK_LAYOUTS = "v2,v2-user"
QUICK_TESTS = "cgroups::"
QUICK_CASES = (
    r"^(cgroups|cgroup_mounts|limits|freezing|delegation|systemd|labels|security\.(no_host_descriptor|cve_2023_25809))\."
    r"|^lifecycle\.[a-d]|^kills\.(create|delete_of_a_running_container|.*with_systemds_cgroup_driver)$"
    r"|^userns_matrix\.(root_userns|joined)__(create|paused|limits|executed|on_a|devices|the_usual|processes)"
    r"|^events\.(stats|lack|state_and_list)|^update\.(memory|all_at_once|devices)"
)
QUICK_SHIM = r"status_and_streams|running_out_of_memory|the_end_of_an_exec|shim_that_is_killed|^(resources|unified)\."

# Programs of Debian's containerd: linked with nothing but libc, and the guest is of the same release.
CONTAINERD = [path for path in map(shutil.which, ("containerd", "ctr")) if path]

printing = threading.Lock()


def say(text):
    with printing:
        print(text, flush=True)


def lab_environment(layout):
    suite = {"LAB_SUITE": SUITES[layout]} if layout in SUITES else {}
    return {**os.environ, "LAB_EXTRA_PACKAGES": PACKAGES, **suite}


def build():
    """The library's test program, the runtime and the shim, as files; and what the security cases run in containers."""
    source, made = f"{REPOSITORY}/tests/oci-validation/security/payload.c", f"{REPOSITORY}/target/security-payload"
    subprocess.run(["cc", "-static", "-O1", "-o", made, source], check=True)
    command = "cargo test --no-run --locked --message-format=json --package libcontainer --lib".split()
    built = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    tests = [m["executable"] for m in messages if m["reason"] == "compiler-artifact" and m["profile"]["test"]]
    command = "cargo build --release --locked --message-format=json --package runtime-cli --package shim".split()
    built = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    binaries = [m["executable"] for m in messages if m["reason"] == "compiler-artifact" and m["executable"]]
    (shim,) = (path for path in binaries if os.path.basename(path).startswith("containerd-shim"))
    (runtime,) = (path for path in binaries if os.path.basename(path) == "creel")
    return [path for path in tests if path][0], runtime, shim


class Layout:
    """One machine's work, and what came of it."""

    def __init__(self, name, options, tests, runtime, shim):
        self.name, self.results, self.log, self.seconds = name, [], [], 0.0
        patterns = [pattern for pattern in options.tests.split(",") if pattern]
        runtimes = [runtime, *(peer for peer in options.peers.split(",") if peer)]
        programs = [f"/engine/{os.path.basename(path)}" for path in CONTAINERD]
        what = {
            "library": None if options.tests == "none" or name in ("selinux", "newer") else [tests, patterns],
            "blackbox": [runtimes, ONLY.get(name, options.cases)] if options.cases != "none" else None,
            # The other layouts are those of other hosts, where `make engines` runs.
            "shim": [shim, programs, options.shim] if name == "v2" and options.shim != "none" else None,
            "rootless": runtime if name in WITHOUT_ROOT and options.cases != "none" else None,
            "patience": PATIENCE,
        }
        guest = [f"{REPOSITORY}/tests/lab/guest.py", json.dumps(what)]
        shares = [REPOSITORY, *binary_directories(tests, runtime, shim)]
        shares = [f"--share={path}:{path}:ro" for path in shares]
        if what["shim"]:
            shares.append(f"--share={os.path.dirname(CONTAINERD[0])}:/engine:ro")
        arguments = [*LAYOUTS[name], *shares, "--timeout", str(TIMEOUT), "--", "python3", "-B", *guest]
        self.command = [options.lab, "run", *arguments]

    def run(self):
        begin = time.monotonic()
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=lab_environment(self.name),
        )
        ended = False
        for line in process.stdout:
            line = line.rstrip("\r\n")
            if line == "@ end":
                ended = True
            elif line.startswith("@ "):
                self.results.append(json.loads(line[2:]))
            else:
                self.log.append(line)
                say(f"{self.name}: {line}")
        status = process.wait()
        self.seconds = time.monotonic() - begin
        if not ended:
            last = "\n".join(self.log[-20:])
            self.results.append(["lab", "the machine", "FAIL", f"the lab exited with {status}\n{last}", 0])

    def count(self, result):
        return sum(row[2] == result for row in self.results)


def binary_directories(*paths):
    """Those that are not in the repository, where CARGO_TARGET_DIR puts them elsewhere."""
    return sorted({os.path.dirname(p) for p in paths if not p.startswith(f"{REPOSITORY}/")})


def prepare(lab, names):
    """Builds the images, if that was not done before."""
    begin = time.monotonic()
    for environment in {SUITES.get(name): lab_environment(name) for name in names}.values():
        subprocess.run([lab, "build"], env=environment, check=True, stdout=subprocess.DEVNULL)
    say(f"images ready after {time.monotonic() - begin:.0f} s")


def run_all(layouts):
    waiting = list(layouts)
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                layout = waiting.pop(0)
            try:
                layout.run()
            except Exception as error:
                layout.results.append(["lab", "its results", "FAIL", repr(error), 0])

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def report(layouts):
    """Only what the runtime under test and the library do decides; peers are shown."""
    passed = failed = skipped = 0
    for layout in layouts:
        mine = [row for row in layout.results if re.match("(library|creel|blackbox|shim|lab)", row[0])]
        others = [row for row in layout.results if row not in mine]
        for who, name, result, why, _ in mine + others:
            if result == "FAIL":
                indented = why.replace("\n", "\n    ")
                print(f"FAIL on {layout.name}: {who} {name}: {indented}")
        reasons = {}
        for who, name, _, why, _ in (row for row in mine if row[2] == "skip"):
            reasons.setdefault("needs root" if why.endswith("needs root") else why, []).append(f"{who} {name}")
        for why, names in reasons.items():
            print(f"skip on {layout.name}: {why}: " + (", ".join(names) if len(names) < 4 else f"{len(names)} tests"))
        counts = [sum(row[2] == result for row in mine) for result in ("pass", "FAIL", "skip")]
        slowest = sorted((row for row in mine if row[0] == "creel"), key=lambda row: -row[4])[:3]
        slow = ", ".join(f"{row[1]} {row[4]:.0f} s" for row in slowest)
        print(f"{layout.name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped", end="")
        print(f" in {layout.seconds:.0f} s" + (f", of which {slow}" if slow else ""))
        passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    print(f"lab: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", default="", help="some of " + ",".join(LAYOUTS))
    parser.add_argument("--cases", default="", help="black-box cases whose name matches this pattern; none")
    parser.add_argument("--tests", default="", help="library tests whose name has one of these parts; none")
    parser.add_argument("--shim", default="", help="the shim's cases whose name matches this pattern; none")
    parser.add_argument("--peers", default="", help="runtimes of the guest to run the black-box cases too")
    parser.add_argument("--quick", action="store_true", help="what CI has time for")
    options = parser.parse_args()
    options.layouts = options.layouts or (QUICK_LAYOUTS if options.quick else ",".join(LAYOUTS))
    options.tests = options.tests or (QUICK_TESTS if options.quick else "")
    options.cases = options.cases or (QUICK_CASES if options.quick else "")
    options.shim = options.shim or (QUICK_SHIM if options.quick else "")
    names = options.layouts.split(",")
    if unknown := [name for name in names if name not in LAYOUTS]:
        sys.exit(f"test-lab: no layout is called {unknown[0]}; there are {', '.join(LAYOUTS)}")
    options.lab = shutil.which(os.environ.get("LAB") or f"{REPOSITORY}/../shared/lab/lab")
    if not options.lab or os.geteuid() != 0:
        nowhere = "LAB names no tool that boots them, and there is none in ../shared/lab beside this checkout"
        print(f"skipped: tests in virtual machines: {'they need root' if options.lab else nowhere}")
        print("lab: 0 passed, 0 failed, 1 skipped")
        return 0
    if len(CONTAINERD) < 2 and options.shim != "none":
        say("skipped: the shim's cases: containerd and ctr are not installed here")
        options.shim = "none"
    built = build()
    prepare(options.lab, names)
    layouts = [Layout(name, options, *built) for name in names]
    run_all(layouts)
    return report(layouts)


if __name__ == "__main__":
    sys.exit(main())
