#!/usr/bin/env python3
"""Writes docs/cgroup-parity.md: what the kernel has after each field of linux.resources, creel beside runc and crun.

    parity.py RUNTIME[,PEER...]

v1 is this host; v2, with the file-system driver and with systemd's, is a virtual machine that LAB boots, with the
peers that it has. Fails on a difference that is not explained (tests/oci-validation/cgroup-parity/explained.py).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

REPOSITORY = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/..")
TESTS = f"{REPOSITORY}/tests/oci-validation"


def in_the_lab(lab, runtime, peers, directory):
    """{driver: file}"""
    names = [runtime, *(os.path.basename(peer) for peer in peers)]
    what = {"library": None, "blackbox": None, "parity": names, "patience": 10}
    shares = [f"--share={path}:{path}:ro" for path in {REPOSITORY, os.path.dirname(runtime)}]
    command = [lab, "run", "--cgroup", "v2", *shares, "--timeout", "3000", "--"]
    process = subprocess.Popen(
        [*command, "python3", "-B", f"{REPOSITORY}/tests/lab/guest.py", json.dumps(what)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "LAB_EXTRA_PACKAGES": "python3"},
    )
    found = {}
    for line in process.stdout:
        if line.startswith("@ {"):
            result = json.loads(line[2:])
            found[result["driver"]] = f"{directory}/{result['driver']}"
            with open(found[result["driver"]], "w") as file:
                json.dump(result["collected"], file)
        else:
            print(f"v2: {line}", end="", flush=True)
    if process.wait() != 0:
        sys.exit("parity: the lab failed")
    return found


def without_driver(path):
    """Whether the runtime under test has no systemd driver: it then refuses even a container without limits, and
    nothing else was tried."""
    collected = json.load(open(path))
    first = next(iter(collected["versions"]))
    return "refused" in collected["rows"]["nothing"][first]


def main():
    runtime, *peers = (shutil.which(name) for name in sys.argv[1].split(","))
    lab = shutil.which(os.environ.get("LAB") or f"{REPOSITORY}/../shared/lab/lab")
    if not lab or os.geteuid() != 0:
        sys.exit("parity: needs root, and LAB, the tool that boots the virtual machine for v2")
    with tempfile.TemporaryDirectory(prefix="parity-") as directory:
        names = ",".join([runtime, *filter(None, peers)])
        collect = [f"{TESTS}/cgroup-parity/collect.py", f"{directory}/v1", names]
        subprocess.run([f"{TESTS}/private_host.py", *collect], check=True)
        layouts = [f"v1={directory}/v1"]
        found = in_the_lab(lab, os.path.abspath(runtime), list(filter(None, peers)), directory)
        layouts.append(f"v2={found['cgroupfs']}")
        if without_driver(found["systemd"]):
            print("left out: the systemd driver, which this runtime has not")
        else:
            layouts.append(f"v2-systemd={found['systemd']}")
        render = [f"{TESTS}/cgroup-parity/render.py", f"{REPOSITORY}/docs/cgroup-parity.md", *layouts]
        return subprocess.run([sys.executable, *render]).returncode


if __name__ == "__main__":
    sys.exit(main())
