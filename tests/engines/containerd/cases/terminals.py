"""Terminals of containers and execs."""

import re

import images
from suite import case, check, equal


@case
def a_terminal(e):
    status, shown = e.in_terminal("run", "--rm", "-t", "--runtime", e.runtime, images.NAME, "c",
                                  "sh", "-c", "sleep 0.5; tty; stty size; exit 9", size=(33, 101))  # fmt: skip
    equal(status, 9, f"status (shown: {shown!r})")
    # ctr leaves its own terminal's output modes alone, so that a second "\r" comes from there.
    check(re.search("/dev/pts/0\r+\n33 101\r+\n", shown), f"{shown!r}")


@case
def a_terminal_of_an_exec(e):
    with e.running("c"):
        status, shown = e.in_terminal("task", "exec", "-t", "--exec-id", "e", "c", "sh", "-c", "read a; echo got-$a", typed=b"line\r")
        check(status == 0 and re.search("got-line\r+\n", shown), f"{status} {shown!r}")


@case
def a_terminals_output_is_complete(e):
    _, shown = e.in_terminal("run", "--rm", "-t", "--runtime", e.runtime, images.NAME, "c", "seq", "1", "20000")
    numbers = re.findall(r"\d+", shown)
    equal(len(numbers), 20000, "the numbers")


@case(runc="ctr gives up what it has not read when it hears of the end, which that tells at once")
def a_slow_terminal_shows_all(e):
    sequence = ("seq", "1", "20000")
    with e.running("k"):
        for arguments in (
            ("run", "--rm", "-t", "--runtime", e.runtime, images.NAME, "c", *sequence),
            ("task", "exec", "-t", "--exec-id", "e", "k", *sequence),
        ):
            # FIFO, relay and terminal are full when the process ends, and take half a second to be shown.
            _, shown = e.in_terminal(*arguments, pause=0.012)
            equal(len(re.findall(r"\d+", shown)), 20000, f"the numbers by {arguments[0]}")
