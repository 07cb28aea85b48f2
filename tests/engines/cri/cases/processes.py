"""Exec, attach, logs, and the signals that end a container."""

import os
import time

from suite import case, check, equal, eventually


@case
def exec_in_one_call(e):
    with e.pod() as pod:
        container = pod.start("a")
        equal(e.exec(container, "sh", "-c", "echo out; echo err >&2; exit 7"), (7, "out\n", "err\n"), "status and streams")
        output = e.try_call("ExecSync", container_id=container, cmd=["no-such-thing"])
        check(output.status != 0 and "executable file not found in $PATH" in output.err, repr(output))
        equal(e.exec(container, "seq", "20000")[1].count("\n"), 20000, "lines")


@case
def an_exec_that_takes_too_long_is_ended(e):
    with e.pod() as pod:
        container = pod.start("a")
        output = e.try_call("ExecSync", container_id=container, cmd=["sleep", "4324"], timeout=1)
        check(output.status != 0 and "timeout 1s exceeded" in output.err, repr(output))
        check("4324" not in e.shell(container, "ps -o args"), "the process is gone")


@case
def exec_over_streams(e):
    with e.pod() as pod:
        container = pod.start("a")
        wanted = {"container_id": container, "stdin": True, "stdout": True, "stderr": True}
        script = "read line; echo got-$line; echo err >&2; exit 6"
        output = e.stream(e.call("Exec", cmd=["sh", "-c", script], **wanted)["url"], stdin="typed\n")
        equal((output.status, output.out, output.err), (6, "got-typed\n", "err\n"), "status and streams")
        output = e.stream(e.call("Exec", cmd=["cat"], **wanted)["url"], stdin="line\n" * 20000)
        equal(output.out.count("line\n"), 20000, "lines")


@case
def exec_on_a_terminal(e):
    with e.pod() as pod:
        wanted = {"container_id": pod.start("a"), "stdin": True, "stdout": True, "tty": True}
        script = "sleep 0.5; tty; stty size; read line; echo got-$line; exit 5"
        output = e.stream(e.call("Exec", cmd=["sh", "-c", script], **wanted)["url"], "tty", stdin="typed\n")
        equal(output.status, 5, f"status of {output!r}")
        lines = output.out.replace("\r", "").split("\n")
        check("33 101" in lines and "got-typed" in lines and "/dev/pts" in output.out, repr(output))


@case
def attach(e):
    with e.pod() as pod:
        script = "while read line; do echo got-$line; echo err-$line >&2; done; exit 3"
        container = pod.start("a", "sh", "-c", script, stdin=True, stdin_once=True)
        url = e.call("Attach", container_id=container, stdin=True, stdout=True, stderr=True)["url"]
        output = e.stream(url, stdin="one\ntwo\n")
        equal((output.out, output.err), ("got-one\ngot-two\n", "err-one\nerr-two\n"), "the streams")
        equal(e.ended(container)[0], 3, "its end, once its input has ended")


@case
def attach_to_a_terminal(e):
    with e.pod() as pod:
        container = pod.start("a", "sh", "-c", "read line; sleep 0.5; stty size; echo got-$line; exit 3", stdin=True, tty=True)
        url = e.call("Attach", container_id=container, stdin=True, stdout=True, tty=True)["url"]
        output = e.stream(url, "tty", stdin="typed\n")
        check("got-typed" in output.out and "33 101" in output.out, repr(output))
        equal(e.ended(container)[0], 3, "its end")


@case
def logs(e):
    with e.pod() as pod:
        container = pod.start("a", "sh", "-c", "echo one; sleep 0.2; echo two >&2; sleep 0.2; printf three")
        e.ended(container)
        expected = [("stdout", "F", "one"), ("stderr", "F", "two"), ("stdout", "P", "three")]
        eventually(lambda: pod.log("a") in (expected, [*expected[:2], ("stdout", "F", "three")]), lambda: pod.log("a"))


@case
def logs_are_rotated(e):
    with e.pod() as pod:
        container = pod.start("a", "sh", "-c", "while :; do echo line; sleep 0.05; done")
        path = f"{pod.config['log_directory']}/a.log"
        eventually(lambda: os.path.getsize(path) > 0, "the first line")
        os.rename(path, f"{path}.1")
        e.call("ReopenContainerLog", container_id=container)
        size = os.path.getsize(f"{path}.1")
        eventually(lambda: len(pod.log("a")) > 3, "lines in the new file")
        equal(os.path.getsize(f"{path}.1"), size, "the size of the old one")


@case
def a_container_is_given_its_time(e):
    with e.pod() as pod:
        container = pod.start("a", "sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done")
        time.sleep(0.3)
        e.call("StopContainer", container_id=container, timeout=15)
        equal(e.ended(container), (0, "Completed"), "its end")


@case
def and_no_more_than_that(e):
    with e.pod() as pod:
        container = pod.start("a", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        began = time.monotonic()
        e.call("StopContainer", container_id=container, timeout=2)
        check(1.9 < time.monotonic() - began < 6, f"{time.monotonic() - began} s instead of 2")
        equal(e.ended(container), (137, "Error"), "its end")


@case
def a_command_that_does_not_exist(e):
    with e.pod() as pod:
        container = pod.create("a", "no-such-thing")
        output = e.try_call("StartContainer", container_id=container)
        check(output.status != 0 and "executable file not found in $PATH" in output.err, repr(output))
        equal(e.ended(container), (128, "StartError"), "its end")
