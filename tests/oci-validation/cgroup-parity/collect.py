#!/usr/bin/env python3
"""Tries every field with every runtime and writes what the kernel then says, as JSON.

    collect.py [--systemd] FILE RUNTIME[,RUNTIME...]

Every value gets a container; all files of its cgroup directories are read while its init waits for `start`, and on v2
a second container tells which devices it may open. With --systemd it runs on the host's own systemd, else it wants to
be on a private host (../private_host.py).
"""

import argparse
import json
import os
import re
import shutil
import stat
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [f"{HERE}/../blackbox", HERE]
from cases.limits import loop_device  # noqa: E402
from fields import FIELDS, LOOP, NODES, NOISE  # noqa: E402

WORK = "/run/cgroup-parity"
V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
QUIET = re.compile("|".join(f"(?:{pattern})$" for pattern in NOISE))
MOUNTS = {}  # a line of /proc/PID/cgroup's controllers -> the mount point


def find_mounts():
    for line in open("/proc/self/mountinfo"):
        left, right = line.split(" - ")
        kind, _, options = right.split()[:3]
        point = left.split()[4]
        if kind == "cgroup2":
            MOUNTS[""] = point
        elif kind == "cgroup":
            for option in options.split(","):
                MOUNTS[option] = point


def directories(pid):
    """{name of the hierarchy's directory: the process's directory in it}"""
    found = {}
    for line in open(f"/proc/{pid}/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        point = MOUNTS.get(controllers.split(",")[0])
        if point:
            found[os.path.basename(point) if not V2 else ""] = point + path
    return found


def files_of(pid):
    """{"memory/memory.limit_in_bytes": text} of all that is no noise, and where the container is."""
    found = {}
    for hierarchy, directory in directories(pid).items():
        found[f"{hierarchy}/".lstrip("/") + "(directory)"] = re.sub(r"parity-\d+", "ID", directory)
        for name in sorted(os.listdir(directory)):
            path = f"{directory}/{name}"
            if os.path.isdir(path) or QUIET.match(name):
                continue
            try:
                text = open(path).read().strip()
            except OSError:
                continue  # cannot be read, or not now
            lines = sorted(text.splitlines()) if name == "devices.list" else text.splitlines()
            found[f"{hierarchy}/{name}".lstrip("/")] = "; ".join(lines)
    return found


def with_numbers(value, major, minor):
    """`value` with the loop device's numbers where they belong."""
    if isinstance(value, dict):
        numbers = {"major": major, "minor": minor}
        return {
            key: numbers[key] if one == LOOP else with_numbers(one, major, minor) for key, one in value.items()
        }
    if isinstance(value, list):
        return [with_numbers(one, major, minor) for one in value]
    return value.replace(LOOP, f"{major}:{minor}") if isinstance(value, str) else value


class Runtime:
    number = 0
    rootfs = f"{WORK}/bundle/rootfs"

    def __init__(self, path, systemd):
        self.name, self.systemd = os.path.basename(path), systemd
        self.command = [path, "--root", f"{WORK}/root"] + ["--systemd-cgroup"] * systemd

    def version(self):
        said = subprocess.run([self.command[0], "--version"], capture_output=True, text=True).stdout
        return re.search(r"version:? (\S+)", said)[1]

    def rt(self, *arguments):
        """Output goes to files: a container's init holds it open."""
        with open(f"{WORK}/out", "w") as out:
            done = subprocess.run(
                [*self.command, *arguments], cwd=f"{WORK}/bundle", stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        return done.returncode, open(f"{WORK}/out", errors="replace").read()

    def save(self, resources, args):
        Runtime.number += 1
        self.id = f"parity-{Runtime.number}"
        config = json.load(open(f"{HERE}/../config.json"))
        config["process"]["args"] = args
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind] += ["CAP_MKNOD", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"]
        config["linux"]["resources"].update(resources)
        config["linux"]["cgroupsPath"] = f"system.slice:parity:{self.id}" if self.systemd else f"/{self.id}"
        with open(f"{WORK}/bundle/config.json", "w") as file:
            json.dump(config, file)

    def files(self, resources):
        self.save(resources, ["true"])
        code, said = self.rt("create", self.id)
        try:
            if code != 0:
                return {"refused": re.sub(r"parity-\d+", "ID", " ".join(said.split()))}
            code, state = self.rt("state", self.id)
            return {"files": files_of(json.loads(state)["pid"])}
        finally:
            self.rt("delete", "--force", self.id)
            leftovers()

    def devices(self, resources):
        """Which nodes can be opened, as `c 1:3 rw`, or not even be made, as `c 1:3 not made`; opened are nodes of the
        rootfs, so that the first does not hang on the second. Anything but EPERM comes from behind the check."""
        tries = ["mkdir /made"]
        for node in NODES:
            kind, major, minor = node.split(":")
            name = f"{self.rootfs}/node-{node}"
            if not os.path.exists(name):
                mode = 0o666 | (stat.S_IFCHR if kind == "c" else stat.S_IFBLK)
                os.mknod(name, mode, os.makedev(int(major), int(minor)))
            tries.append(
                f"a=; (exec 3</node-{node}) 2>&1 | grep -q permitted || a=r; "
                f"(exec 3>/node-{node}) 2>&1 | grep -q permitted || a=${{a}}w; "
                f"mknod /made/n {kind} {major} {minor} 2>/dev/null || a=\"$a not made\"; "
                f"[ -z \"$a\" ] || echo {kind} {major}:{minor} $a; rm -f /made/n"
            )
        self.save(resources, ["sh", "-c", "; ".join([*tries, "rmdir /made"])])
        code, said = self.rt("run", self.id)
        leftovers()
        if code != 0:
            return "refused"
        return "; ".join(line for line in said.splitlines() if re.match(r"[bc] \d+:\d+ ", line))


def leftovers():
    """crun 1.8.1 leaves directories when it refuses."""
    for point in set(MOUNTS.values()):
        for name in os.listdir(point):
            if name.startswith("parity-") and os.path.isdir(f"{point}/{name}"):
                try:
                    os.rmdir(f"{point}/{name}")
                except OSError:
                    pass


def row(runtime, resources, base):
    found = runtime.files(resources)
    if V2 and ("devices" in resources or base):
        found.setdefault("files", {})["(devices that open)"] = runtime.devices(resources)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systemd", action="store_true", help="use the systemd driver")
    parser.add_argument("file")
    parser.add_argument("runtimes")
    options = parser.parse_args()
    os.makedirs(WORK)
    # Of its own, since device nodes cannot be opened on the /run that systemd mounts.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", WORK], check=True)
    try:
        os.mkdir(f"{WORK}/root")
        find_mounts()
        environment = {**os.environ, "ROOTFS_ONLY": "1"}
        subprocess.run([f"{HERE}/../../../hack/bundle.sh", f"{WORK}/bundle"], env=environment, check=True)
        runtimes = [Runtime(path, options.systemd) for path in map(shutil.which, options.runtimes.split(",")) if path]
        rows = {}
        with loop_device() as (_, major, minor):
            for label, resources in [("nothing", {}), *FIELDS]:
                resources = with_numbers(resources, major, minor)
                rows[label] = {one.name: row(one, resources, label == "nothing") for one in runtimes}
                rows[label] = json.loads(json.dumps(rows[label]).replace(f"{major}:{minor} ", "DEVICE "))
                words = ["refused" if "refused" in one else "set" for one in rows[label].values()]
                print(f"{label}: " + ", ".join(words), flush=True)
                if label == "nothing" and words[0] == "refused":
                    break  # it has not got this driver
        versions = {one.name: one.version() for one in runtimes}
        collected = {"kernel": os.uname().release, "versions": versions, "rows": rows}
        with open(options.file, "w") as file:
            json.dump(collected, file, indent=1)
    finally:
        subprocess.run(["umount", "--lazy", WORK])
        os.rmdir(WORK)


if __name__ == "__main__":
    main()
