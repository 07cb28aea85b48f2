"""What there is on cgroup v2 only."""

import json
import os
import subprocess
import time

from suite import PATIENCE, Skipped, case, check, equal, eventually
from systemd import PREFIX, SLICE, SystemdEngine

# A LinuxResources as an Any: half of the memory that the container had.
RESOURCES = b'\x0a\x01x\x12\x26{"memory":{"limit":33554432},"cpu":{}}'


def show(unit, *names):
    """Properties of a unit of systemd's."""
    listed = subprocess.check_output(["systemctl", "show", unit, *(f"--property={name}" for name in names)], text=True)
    return dict(line.split("=", 1) for line in listed.splitlines())


@case
def the_cgroup_is_a_scope_of_systemds(e):
    if not isinstance(e, SystemdEngine):
        raise Skipped("it needs --systemd")
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
    eventually(lambda: show(unit, "ActiveState") == {"ActiveState": "inactive"}, "the end of the scope")


def flat(value, prefix=""):
    """{"a": {"b": 1}} as {"a.b": 1}."""
    if not isinstance(value, dict):
        return {prefix: value}
    pairs = (flat(inner, f"{prefix}.{name}" if prefix else name) for name, inner in value.items())
    return {name: figure for found in pairs for name, figure in found.items()}


@case
def the_figures_are_those_of_the_cgroup(e):
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Skipped("there is no cgroup v2 here")
    flags = ["--memory-limit", "67108864", "--cpus", "0.5"]
    with e.running("c", "sh", "-c", "dd if=/dev/zero of=/file bs=1M count=8; while :; do :; done", flags=flags):
        time.sleep(PATIENCE)
        # containerd 2's ctr writes names as protobuf's JSON does.
        metrics = json.loads(e.ctr("task", "metrics", "--format", "json", "c"))
        found = {name.replace("_", "").lower(): figure for name, figure in flat(metrics).items()}

        def rows(name):
            with open(f"{e.cgroup('c')}/{name}") as file:
                return {line.split()[0]: int(line.split()[-1]) for line in file}

        equal(int(found["memory.usagelimit"]), 67108864, f"the limit in {found}")
        equal(int(found["pids.current"]), *rows("pids.current").values(), f"processes in {found}")
        for name, row in {"cpu.usageusec": "usage_usec", "cpu.nrthrottled": "nr_throttled"}.items():
            check(0 < int(found[name]) <= rows("cpu.stat")[row], f"{name} in {found}")
        for name in ("file", "anon", "pgfault"):
            figure, real = int(found.get(f"memory.{name}", 0)), rows("memory.stat")[name]
            check(abs(figure - real) <= real // 5 + 64 * 4096, f"memory.{name} in {found}; it is {real}")
