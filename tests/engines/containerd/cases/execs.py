"""Processes added to a container."""

import os
import re
import time

from suite import case, check, equal


@case
def exec_status_and_streams(e):
    with e.running("c"):
        output = e.exec("c", "e", "sh", "-c", "echo out; echo err >&2; exit 7")
        equal((output.status, output.out), (7, "out\n"), "status and stdout")
        equal(e.exec("c", "e", "cat", stdin="typed\n").out, "typed\n", "what cat got")
        output = e.exec("c", "e", "no-such-thing")
        check(output.status != 0 and "executable file not found in $PATH" in output.err, repr(output))
        for number in range(10):
            output = e.exec("c", f"e{number}", "echo", str(number))
            equal((output.status, output.out), (0, f"{number}\n"), f"exec {number}")


@case
def an_exec_that_does_not_exist_is_not_found(e):
    with e.running("c"):
        output = e.try_ctr("task", "kill", "--exec-id", "none", "c")
        check(output.status != 0 and re.search("not found|does not exist", output.err), repr(output))


@case
def calls_are_served_while_another_waits(e):
    with e.running("c"), e.running("d"):
        e.ctr("task", "exec", "-d", "--exec-id", "long", "c", "sleep", "1000")
        began = time.monotonic()
        equal(e.exec("c", "short", "echo", "x").out, "x\n", "exec")
        check(time.monotonic() - began < 5, "it took long")


@case(runc="its descriptors are closed when Go comes to it")
def failing_execs_do_not_make_it_grow(e):
    with e.running("c"):
        shim = e.shim_of("c")
        counts = []
        for round in range(2):
            for number in range(15):
                e.exec("c", f"e{round}-{number}", "no-such-thing")
            counts.append((len(os.listdir(f"/proc/{shim}/fd")), len(os.listdir(f"/proc/{shim}/task"))))
        check(counts[1][0] <= counts[0][0] + 2, f"descriptors and threads: {counts}")
