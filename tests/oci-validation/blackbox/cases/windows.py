"""The size of a terminal's window: at the start, and when it changes."""

import contextlib
import json
import os
import pty
import signal

from suite import TIMEOUT, case, console_socket, read_until, set_size

WATCH = "trap 'stty size; exit 4' WINCH; echo watching; while :; do sleep 0.05; done"


@contextlib.contextmanager
def on_a_terminal(t, *arguments, size=(24, 80)):
    """The runtime on a terminal of its own; gives the master and, once called, the exit code."""
    t.save()
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(t.bundle)
        set_size(0, *size)
        os.execv(t.runtime, [t.runtime, "--root", t.root, *arguments])
    ended = []

    def code():
        t.until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG), "the runtime's end", TIMEOUT)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return ended[0]

    try:
        yield master, code
    finally:
        os.close(master)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def resized(t, *arguments):
    with on_a_terminal(t, *arguments) as (master, code):
        read_until(master, "watching")
        set_size(master, 50, 132)
        t.contains(read_until(master), "50 132\n")
        t.equal(code(), 4)


@case()
def run_passes_on_a_new_size(t):
    t.process.update(terminal=True, args=["sh", "-c", WATCH])
    resized(t, "run", t.id)


@case()
def exec_passes_on_a_new_size(t):
    t.sleeper()
    resized(t, "exec", "--tty", t.id, "sh", "-c", WATCH)


@case()
def exec_has_the_callers_size(t):
    t.sleeper()
    patient = "sleep 0.3; stty size"  # runc's process may be quicker than what sets its size
    with on_a_terminal(t, "exec", "-t", t.id, "sh", "-c", patient, size=(33, 99)) as (master, code):
        t.equal(read_until(master), "33 99\n")
        t.equal(code(), 0)


@case(runc="1.1.5 takes the size of the caller's terminal, or none")
def exec_process_has_the_size_of_its_console_size(t):
    t.sleeper()
    process = {**t.process, "terminal": True, "args": ["stty", "size"], "consoleSize": {"height": 11, "width": 22}}
    file = t.file("process.json", json.dumps(process))
    with console_socket(f"{t.directory}/socket") as receiver:
        t.exec("-d", "--process", file, "--console-socket", f"{t.directory}/socket", t.id)
        master = receiver.master()
        t.contains(read_until(master), "11 22\n")
        os.close(master)
