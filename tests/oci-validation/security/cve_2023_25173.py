"""CVE-2023-25173 (containerd): the process keeps supplementary groups of its creator's, or gets none of its own."""

import os
import subprocess

from security.harness import Report, install
from suite import TIMEOUT, case


def groups(text):
    return Report(text).status("Groups").split()


@case(runc="1.1.5 has no ids above 2³¹ − 1")
def the_groups_are_exactly_those_that_are_named(t):
    """P, while the caller has groups of its own. Removed to see it fail: `set_thread_groups` (attributes/apply.rs)."""
    install(t)
    for more in ([], [5, 7], [2**31, 65534]):
        t.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": more}
        t.process["args"] = ["/payload", "report"]
        t.save()
        out = caller(t, "run", t.id)
        t.equal(groups(out), sorted(map(str, more), key=int), f"groups with {more}")


@case(crun="1.8.1: an exec has those of its flags only")
def the_groups_of_an_exec_are_the_containers(t):
    """P. Removed to see it fail: as above."""
    install(t)
    t.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5]}
    t.sleeper()
    t.equal(groups(caller(t, "exec", t.id, "/payload", "report")), ["5"])
    t.equal(groups(caller(t, "exec", "--additional-gids", "9", t.id, "/payload", "report")), ["5", "9"])


def caller(t, *command):
    """As one who is in groups 11 and 12."""
    done = subprocess.run(
        [t.runtime, "--root", t.root, *command],
        cwd=t.bundle,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        preexec_fn=lambda: os.setgroups([11, 12]),
    )
    t.equal(done.returncode, 0, done.stderr)
    return done.stdout
