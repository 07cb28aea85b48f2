"""Containers whose cgroups systemd makes: the option SystemdCgroup, which ctr passes to containerd's own runtime only.

So the shim is installed by that one's name: which runtime it serves is decided by the name of its file."""

import glob
import json
import os
import subprocess
import tempfile
import time

import image
from engine import PATIENCE, Engine, check, equal, eventually

RUNTIME = "io.containerd.runc.v2"
SLICE, PREFIX = "system.slice", "creel-engines"
# A LinuxResources as an Any: half of the memory that the container had.
RESOURCES = b'\x0a\x01x\x12\x26{"memory":{"limit":33554432},"cpu":{}}'


class SystemdEngine(Engine):
    def __init__(self, programs, runtime, shim_directory):
        self.disguise = tempfile.TemporaryDirectory(prefix="creel-shim-")
        os.symlink(f"{shim_directory}/containerd-shim-creel-v2", f"{self.disguise.name}/containerd-shim-runc-v2")
        super().__init__(programs, RUNTIME, self.disguise.name)

    def command(self, *arguments):
        if arguments[0] == "run":
            name = arguments[arguments.index(image.NAME) + 1]
            cgroup = ("--runc-systemd-cgroup", "--cgroup", f"{SLICE}:{PREFIX}:{name}")
            arguments = ("run", *cgroup, *arguments[1:])
        return super().command(*arguments)

    def cgroup(self, name):
        return f"/sys/fs/cgroup/{SLICE}/{PREFIX}-{name}.scope"

    def left(self):
        return super().left() + glob.glob(f"/sys/fs/cgroup/{SLICE}/{PREFIX}-*")


def show(unit, *names):
    """Properties of a unit of systemd's."""
    listed = subprocess.check_output(["systemctl", "show", unit, *(f"--property={name}" for name in names)], text=True)
    return dict(line.split("=", 1) for line in listed.splitlines())


def the_cgroup_is_a_scope_of_systemds(e):
    with e.running("c", flags=["--memory-limit", "67108864"]) as pid:
        unit, path = f"{PREFIX}-c.scope", f"/{SLICE}/{PREFIX}-c.scope"
        with open(f"/proc/{pid}/cgroup") as cgroup:
            equal(cgroup.read().strip(), f"0::{path}", "the cgroup")
        expected = {"ActiveState": "active", "ControlGroup": path, "Slice": SLICE, "MemoryMax": "67108864"}
        equal(show(unit, *expected), expected, "what systemd knows")
        equal(e.call("Update", (1, "c"), (2, RESOURCES))[0], 0, "the code")
        # What systemd does not know it takes back when it reads its units anew.
        subprocess.check_call(["systemctl", "daemon-reload"])
        with open(f"{e.cgroup('c')}/memory.max") as limit:
            equal(limit.read().strip(), "33554432", "the limit after a reload")
        equal(show(unit, "MemoryMax"), {"MemoryMax": "33554432"}, "what systemd knows")
    eventually(lambda: show(unit, "LoadState", "ActiveState")["ActiveState"] == "inactive", "the end of the scope")


def the_figures_are_those_of_the_cgroup(e):
    flags = ["--memory-limit", "67108864", "--cpus", "0.5"]
    with e.running("c", "sh", "-c", "dd if=/dev/zero of=/file bs=1M count=8; while :; do :; done", flags=flags):
        time.sleep(PATIENCE)
        metrics = json.loads(e.ctr("task", "metrics", "--format", "json", "c"))
        found = {}

        def collect(prefix, value):
            if isinstance(value, dict):
                for name, inner in value.items():
                    collect(f"{prefix}{name}.", inner)
            else:
                found[prefix[:-1]] = value

        collect("", metrics)
        read = lambda name: open(f"{e.cgroup('c')}/{name}").read()  # noqa: E731
        equal(int(found["memory.usage_limit"]), 67108864, f"the limit in {found}")
        equal(int(found["pids.current"]), int(read("pids.current")), f"processes in {found}")
        in_cgroup = dict(line.split() for line in read("cpu.stat").splitlines())
        check(0 < int(found["cpu.usage_usec"]) <= int(in_cgroup["usage_usec"]), f"processor time in {found}")
        check(0 < int(found["cpu.nr_throttled"]) <= int(in_cgroup["nr_throttled"]), f"throttling in {found}")
        in_cgroup = dict(line.split() for line in read("memory.stat").splitlines())
        for name in ("file", "anon", "pgfault"):
            near = abs(int(found.get(f"memory.{name}", 0)) - int(in_cgroup[name])) <= int(in_cgroup[name]) // 5 + 4096 * 64
            check(near, f"memory.{name} in {found}, {in_cgroup[name]} in the cgroup")


CASES = [(function, {"runc": None, "creel": None})
         for function in (the_cgroup_is_a_scope_of_systemds, the_figures_are_those_of_the_cgroup)]  # fmt: skip
