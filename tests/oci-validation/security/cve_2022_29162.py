"""CVE-2022-29162, CVE-2022-27650 (crun), CVE-2025-27612 (youki): an inheritable capability lets a program with inheritable
file capabilities gain what its user has given up."""

import json

from security.harness import Report, install, report
from suite import case

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
KILL, NET_RAW = 1 << 5, 1 << 13


def sets(report):
    return [int(report.status(name), 16) for name in SETS]


@case()
def run_leaves_none_inheritable(t):
    """P. Removed to see it fail: `apply_after_setuid` (capabilities/apply.rs) with the permitted set as inheritable."""
    for kind in ("bounding", "effective", "permitted"):
        t.process["capabilities"][kind] = ["CAP_KILL"]
    t.equal(sets(report(t)), [0, KILL, KILL, KILL, 0], SETS)


@case(crun="1.8.1: an exec has those of its flags only")
def exec_with_cap_leaves_none_inheritable(t):
    """P. Removed to see it fail: `inheritable` added in `add_capabilities` (commands/exec_process.rs of runtime-cli)."""
    install(t)
    for kind in ("bounding", "effective", "permitted"):
        t.process["capabilities"][kind] = ["CAP_KILL"]
    t.sleeper()
    found = Report(t.exec("--cap", "CAP_NET_RAW", t.id, "/payload", "report").out)
    t.equal(sets(found), [0, KILL | NET_RAW, KILL | NET_RAW, KILL | NET_RAW, 0], SETS)
    found = Report(t.exec("--cap", "CAP_NET_RAW", "--user", "1000", t.id, "/payload", "report").out)
    t.equal(sets(found), [0, 0, 0, KILL | NET_RAW, 0], SETS)


@case()
def exec_with_a_process_has_what_it_names(t):
    """P. Removed to see it fail: as for run."""
    install(t)
    t.sleeper()
    names = {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")}
    file = t.file("process.json", json.dumps({**t.process, "args": ["/payload", "report"], "capabilities": names}))
    t.equal(sets(Report(t.exec("--process", file, t.id).out)), [0, KILL, KILL, KILL, 0], SETS)
