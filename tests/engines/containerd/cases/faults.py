"""Containerd, its client or the shim ends at the wrong moment."""

import os
import signal
import time

import images
from ctr import topics
from daemon import with_argument
from suite import case, check, equal, eventually


@case
def containerd_is_killed_and_comes_back(e):
    log = f"{e.work}/log/counted"
    flags = [f"--log-uri=file://{log}"]
    with e.running("c", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done", flags=flags) as pid:
        e.kill()
        try:
            before = len(open(log).read().split())
            time.sleep(0.5)
            check(len(open(log).read().split()) > before, "the container's output goes on without containerd")
        finally:
            e.start()
        equal((e.status("c"), e.pid("c")), ("RUNNING", pid), "the task")
        equal(e.exec("c", "e", "echo", "there").out, "there\n", "exec")


@case
def an_end_while_containerd_is_away_is_told_when_it_is_back(e):
    with e.running("c", "sh", "-c", "sleep 1; exit 6"):
        e.kill()
        try:
            time.sleep(1.5)
        finally:
            e.start()
        if e.version >= (1, 7):
            # It takes a task without processes for one that was never created, and cleans up.
            return eventually(lambda: e.status("c") is None, "the end")
        eventually(lambda: e.status("c") == "STOPPED", "the end")
        output = e.try_ctr("task", "rm", "c")
        check("6" in output.err, repr(output))


@case
def a_client_that_goes_away_does_not_kill_the_container(e):
    client = e.popen("run", "--rm", "--runtime", e.runtime, images.NAME, "c",
                     "sh", "-c", "while :; do echo line; sleep 0.05; done", stdout=open(os.devnull, "w"))  # fmt: skip
    try:
        eventually(lambda: e.status("c") == "RUNNING", "the task")
        client.kill()
        client.wait()
        time.sleep(0.5)
        equal(e.status("c"), "RUNNING", "the task")
    finally:
        e.remove("c")


@case(runc="containerd forgets shims that it has started and not used yet, and they stay")
def containerd_is_killed_in_the_middle_of_calls(e):
    for step in range(12):
        name = f"c{step}"
        client = e.popen("run", "-d", "--null-io", "--runtime", e.runtime, images.NAME, name,
                         "sleep", "1000", stdout=-3, stderr=-3)  # fmt: skip
        time.sleep(0.02 * step)
        e.kill()
        client.wait()
        e.start()
        if e.status(name) == "RUNNING":
            equal(e.exec(name, "e", "echo", "there").out, "there\n", f"exec after step {step}")
        e.remove(name)
        # The client may have made it and not come to the container that it is for.
        e.try_ctr("snapshot", "rm", name)
        eventually(lambda: not with_argument("1000"), f"the end of the processes after step {step}")
    # containerd may forget a shim that it has started and not used yet. Ours ends by itself after a minute.
    eventually(lambda: not e.left(), f"nothing left: {e.left()}", 80)


@case(runc="it leaves its socket")
def a_shim_that_is_killed_leaves_nothing(e):
    with e.events() as lines:
        e.detach("c", "sleep", "1000")
        pid = e.pid("c")
        os.kill(e.shim_of("c"), signal.SIGKILL)
        eventually(lambda: e.status("c") is None, "the task's end")
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the process's end")
        eventually(lambda: topics(lines)[-2:] == ["/tasks/exit", "/tasks/delete"], f"the events in {lines}")
    e.try_ctr("container", "rm", "c")
