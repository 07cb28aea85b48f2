#!/usr/bin/env python3
"""What `make test-lab` runs in the guest: the library's tests, the black-box suite and the shim's cases under a
containerd, one result a line.

    guest.py WHAT        WHAT is JSON: {"library": [binary, patterns] or null,
                         "blackbox": [runtimes, pattern] or null,
                         "shim": [shim, [containerd, ctr], pattern] or null,
                         "rootless": runtime or null,
                         "parity": runtimes or null, "patience": N}

A result is a line `@ ["library", "RUNTIME" or "shim, DRIVER", name, "pass"|"FAIL"|"skip", why, seconds]`, and what the
parity table is made of a line `@ {"driver": ..., "collected": ...}`; what else is printed is for
whoever looks for the cause of a failure.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(f"{HERE}/../..")
V2 = "/sys/fs/cgroup"


def tell(*result):
    print("@ " + json.dumps(result), flush=True)


def put(path, text):
    with open(path, "w") as file:
        file.write(text)


def prepare():
    """The guest is thrown away: nothing keeps us from turning on at the root what systemd leaves off, and from giving
    it swap and huge pages."""
    if os.geteuid() != 0:
        return
    swap = "/var/tmp/swap"
    subprocess.run(f"fallocate -l 128M {swap} && chmod 600 {swap} && mkswap -q {swap} && swapon {swap}", shell=True)
    put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8")
    if os.path.exists(f"{V2}/cgroup.controllers"):
        for controller in open(f"{V2}/cgroup.controllers").read().split():
            put(f"{V2}/cgroup.subtree_control", f"+{controller}")


def own_copy(path):
    """Executables run from the guest's own disk: a page that was dropped could not be read back from every share."""
    os.makedirs(f"{os.environ['HOME']}/bin", exist_ok=True)
    return shutil.copy(path, f"{os.environ['HOME']}/bin/{os.path.basename(path)}")


def library(binary, patterns):
    """libtest's words as results. A test that printed `skipped: ` counts as skipped."""
    command = [own_copy(binary), "--show-output", "--test-threads=2", *patterns]
    # Where tests look for the runtime's own files is compiled in; the repository is shared at the same place.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    begin, results, said, section = time.monotonic(), {}, {}, None
    for line in process.stdout:
        line = line.rstrip("\n")
        test = re.match(r"test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", line)
        begins = re.match(r"---- (\S+) stdout ----", line)
        if test:
            results[test[1]] = test[2]
            print(line, flush=True)
        elif begins:
            section = said.setdefault(begins[1], [])
        elif re.match(r"(successes|failures|test result):", line):
            section = None
        elif section is not None:
            section.append(line)
        elif line and not line.startswith(("running ", "    ", "successes:", "failures:")):
            print(line, flush=True)
    status = process.wait()
    seconds = (time.monotonic() - begin) / max(len(results), 1)
    for name, result in results.items():
        words = "\n".join(said.get(name, [])).strip()
        skipped = re.search(r"^skipped: (.*)", words, re.M)
        if result == "FAILED":
            tell("library", name, "FAIL", words or "it says nothing", seconds)
        elif result == "ignored" or skipped:
            tell("library", name, "skip", skipped[1] if skipped else "ignored", seconds)
        else:
            tell("library", name, "pass", "", seconds)
    if not results or (status != 0 and "FAILED" not in results.values()):
        tell("library", "the test program itself", "FAIL", f"exited with {status} after {len(results)} tests", seconds)


def blackbox(runtimes, pattern):
    """On a private host there is no systemd: what needs one is run once more, on the machine itself. A user, who can have
    no private host, runs his cases there, too."""
    root = os.geteuid() == 0
    mine = [own_copy(path) if "/" in path else path for path in runtimes]
    rows = suite(mine, pattern, *([] if root else ["--this-host"]))
    if root and os.path.exists("/run/systemd/system"):
        again = suite(mine, rf"^(?=systemd\.|.*with_systemd)(?=.*(?:{pattern}))", "--this-host")
        rows |= {key: row for key, row in again.items() if row[0] != "skip"}
    for (runtime, case), row in rows.items():
        tell(runtime, case, *row)
    if not rows:
        tell("blackbox", "the suite itself", "FAIL", "it had no case", 0)


def suite(runtimes, pattern, *flags):
    """{(runtime, case): (result, why, seconds)}"""
    results = f"{os.environ['HOME']}/results"
    run = f"{REPOSITORY}/tests/oci-validation/blackbox/run.py"
    command = [sys.executable, run, "--progress", *flags, "--results", results, "--case", pattern, ",".join(runtimes)]
    status = subprocess.run(command, stderr=subprocess.STDOUT).returncode
    rows = [json.loads(line) for line in open(results)] if os.path.exists(results) else []
    if status != 0 and all(row[2] != "FAIL" for row in rows):
        tell("blackbox", "the suite itself", "FAIL", f"exited with {status} after {len(rows)} cases", 0)
    return {(runtime, case): row for runtime, case, *row in rows}


def shim(binary, programs, pattern):
    """The shim under containerd's programs, with each cgroup driver."""
    own, engine = [os.path.dirname(own_copy(path)) for path in (binary, *programs)][:2]
    for driver, flags in {"cgroupfs": [], "systemd": ["--systemd"]}.items():
        run = f"{REPOSITORY}/tests/engines/containerd/run.py"
        log = f"{os.environ['HOME']}/containerd.log"
        command = [sys.executable, "-B", run, *flags, "--containerd", engine, "--case", pattern, "--keep-log", log, own]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        rows = []
        for line in process.stdout:
            print(line, end="", flush=True)
            if row := re.match(r"(ok  |FAIL|skip) ([\w.]+)(?: \((\S+) s\))?(?:: (.*))?$", line):
                rows.append([row[2], row[1].strip().replace("ok", "pass"), row[4] or "", float(row[3] or 0)])
            elif rows and rows[-1][1] == "FAIL" and not line.startswith("containerd"):
                rows[-1][2] += "\n" + line.rstrip()
        for row in rows:
            tell(f"shim, {driver}", *row)
        if process.wait() != 0 and all(row[1] != "FAIL" for row in rows) or not rows:
            last = "".join(open(log).readlines()[-20:]) if os.path.exists(log) else ""
            tell("shim", f"the suite itself, {driver}", "FAIL", f"exited after {len(rows)} cases\n{last}", 0)


def rootless(runtime):
    """What a user, and root for him, sees of containers without root."""
    copy = own_copy(runtime)
    if os.geteuid() == 0:
        copy = shutil.copy(copy, "/usr/local/bin/creel")  # where the user can reach it
    command = [sys.executable, "-B", f"{HERE}/rootless.py", copy]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace")
    count = 0
    for line in process.stdout:
        count += 1
        print(line, end="", flush=True)
        tell("creel", *json.loads(line))
    if process.wait() != 0 or not count:
        tell("creel", "the rootless cases themselves", "FAIL", f"exited with {process.returncode} after {count}", 0)


def parity(runtimes):
    """What each driver writes; the systemd driver needs the machine's own systemd."""
    mine = ",".join([own_copy(runtimes[0]), *runtimes[1:]])
    tests = f"{REPOSITORY}/tests/oci-validation"
    for driver in ("cgroupfs", "systemd"):
        results = f"{os.environ['HOME']}/{driver}"
        wrapper, flags = ([f"{tests}/private_host.py"], []) if driver == "cgroupfs" else ([], ["--systemd"])
        collect = [sys.executable, "-B", f"{tests}/cgroup-parity/collect.py", *flags, results, mine]
        subprocess.run([*wrapper, *collect], check=True)
        print("@ " + json.dumps({"driver": driver, "collected": json.load(open(results))}), flush=True)


def main():
    what = json.loads(sys.argv[1])
    os.environ.setdefault("HOME", "/root")
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has runc
    os.environ["BLACKBOX_PATIENCE"] = str(what["patience"])
    prepare()
    if what["library"]:
        library(*what["library"])
    if what["blackbox"]:
        blackbox(*what["blackbox"])
    if what.get("shim"):
        shim(*what["shim"])
    if what.get("rootless"):
        rootless(what["rootless"])
    if what.get("parity"):
        parity(what["parity"])
    print("@ end", flush=True)


if __name__ == "__main__":
    main()
