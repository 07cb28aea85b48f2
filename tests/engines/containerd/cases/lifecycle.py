"""From create to delete."""

import time

from daemon import with_argument
from suite import case, check, equal, eventually


@case
def a_missing_executable_is_told_and_leaves_nothing(e):
    output = e.run("c", "no-such-thing")
    check(output.status != 0 and "executable file not found in $PATH" in output.err, repr(output))
    check("OCI runtime create failed" in output.err, repr(output))
    e.try_ctr("container", "rm", "c")


@case
def killed_by_a_signal(e):
    equal(e.run("c", "sh", "-c", "kill -9 $$; echo no").status, 0, "a signal that process 1 sends itself has no effect")
    with e.running("d"):
        e.ctr("task", "kill", "-s", "KILL", "d")
        eventually(lambda: e.status("d") == "STOPPED", "the end")
        output = e.try_ctr("task", "rm", "d")
        check("137" in output.err, repr(output))


@case
def a_signal_reaches_the_process(e):
    with e.running("c", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done"):
        time.sleep(0.3)
        e.ctr("task", "kill", "-s", "TERM", "c")
        eventually(lambda: e.status("c") == "STOPPED", "the end")
        output = e.try_ctr("task", "kill", "-s", "TERM", "c")
        check(output.status != 0 and "process already finished" in output.err, repr(output))


@case
def pause_and_resume(e):
    with e.running("c"):
        e.ctr("task", "pause", "c")
        equal(e.status("c"), "PAUSED", "status")
        output = e.exec("c", "e", "true")
        check(output.status != 0, f"an exec in a paused container: {output!r}")
        e.ctr("task", "resume", "c")
        equal(e.status("c"), "RUNNING", "status")
        equal(e.exec("c", "f", "true").status, 0, "an exec after resume")


@case
def a_paused_container_can_be_killed(e):
    with e.running("c"):
        e.ctr("task", "pause", "c")
        e.ctr("task", "kill", "-s", "KILL", "c")
        eventually(lambda: e.status("c") == "STOPPED", "the end")


@case
def its_processes_are_listed(e):
    with e.running("c", "sh", "-c", "sleep 1000 & wait") as pid:
        eventually(lambda: len(e.ctr("task", "ps", "c").splitlines()) == 3, "two processes")
        check(str(pid) in e.ctr("task", "ps", "c"), "init is one of them")


@case
def a_running_container_is_not_deleted(e):
    with e.running("c"):
        output = e.try_ctr("task", "rm", "c")
        check(output.status != 0, repr(output))
        equal(e.status("c"), "RUNNING", "status")


@case
def processes_of_a_shared_pid_namespace_end_with_init(e):
    with e.running("c", "sh", "-c", "sleep 4321 & sleep 0.5", flags=["--with-ns", f"pid:/proc/{e.daemon.pid}/ns/pid"]):
        eventually(lambda: e.status("c") == "STOPPED", "the end")
        check(not with_argument("4321"), "the process in the background is gone")
