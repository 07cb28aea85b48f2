"""What containerd is told, and in which order."""

import re

from ctr import topics
from suite import case, check, equal, eventually


@case
def events_in_order(e):
    with e.events() as lines:
        with e.running("c"):
            e.exec("c", "e", "true")
            e.ctr("task", "pause", "c")
            e.ctr("task", "resume", "c")
        eventually(lambda: "/tasks/delete" in topics(lines)[-1:], f"the last event of {lines}")
    found = topics(lines)
    expected = ["create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"]
    equal(found, [f"/tasks/{name}" for name in expected], "the events")


@case(runc="that of containerd 2 may lose the event of the end")
def running_out_of_memory_is_told_before_the_end(e):
    with e.events() as lines:
        output = e.run("c", "tail", "/dev/zero", flags=["--memory-limit", "16777216"])
        equal(output.status, 137, f"status ({output!r})")
        # Not the deletion: who tells of the end is not who tells of that.
        eventually(lambda: "/tasks/exit" in topics(lines), lambda: f"the last of {lines}")
    found = topics(lines)
    check("/tasks/oom" in found, f"{found}")
    check(found.index("/tasks/oom") < found.index("/tasks/exit"), f"the order of {found}")


@case
def the_end_of_an_exec_precedes_that_of_init(e):
    with e.events() as lines:
        with e.running("c"):
            for number in range(3):
                e.ctr("task", "exec", "-d", "--exec-id", f"e{number}", "c", "sleep", "1000")
            e.ctr("task", "kill", "-s", "KILL", "c")
            eventually(lambda: topics(lines).count("/tasks/exit") == 4, f"four ends in {lines}")
    ids = [re.search(r'"id":"(\w+)"', line).group(1) for line in lines if "/tasks/exit" in line]
    equal((sorted(ids[:3]), ids[3]), (["e0", "e1", "e2"], "c"), "the order of the ends")
