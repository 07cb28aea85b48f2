"""containerd or the shim ends while there are pods."""

import os
import signal
import time

from suite import case, check, equal, eventually


@case
def containerd_comes_back(e):
    with e.pod() as pod:
        stays = pod.start("stays", "sh", "-c", "i=0; while :; do echo $((i += 1)); sleep 0.1; done")
        ends = pod.start("ends", "sh", "-c", "sleep 1; exit 6")
        attached = pod.start("attached", "sh", "-c", "read line; exit 3", stdin=True, stdin_once=True)
        pids = e.pid(stays), list(e.shims())
        e.kill()
        time.sleep(1.5)
        e.start()
        equal((e.pid(stays), list(e.shims())), pids, "the process and its shim")
        # Since 1.7 it takes a task without processes for a lost one.
        equal(e.ended(ends)[0], 6 if e.version < (1, 7) else 255, "the end of the one that ended")
        equal(e.exec(stays, "echo", "there")[1], "there\n", "exec")
        before = len(pod.log("stays"))
        eventually(lambda: len(pod.log("stays")) > before + 3, "the log goes on")
        url = e.call("Attach", container_id=attached, stdin=True, stdout=True, stderr=True)["url"]
        e.stream(url, stdin="line\n")
        equal(e.ended(attached)[0], 3, "the end of the one with input")
        new = pod.start("new")
        equal((e.state(new), len(e.shims())), ("RUNNING", 1), "a new container and the shims")
        e.call("StopContainer", container_id=stays, timeout=0)
        equal(e.ended(stays)[0], 137, "its end")


@case(runc="it leaves its socket")
def the_shim_is_killed(e):
    with e.pod() as pod:
        container = pod.start("a")
        pid = e.pid(container)
        (shim,) = e.shims()
        os.kill(shim, signal.SIGKILL)
        equal(e.ended(container)[0] != 0, True, "it did not end well")
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the process")
        state = lambda: e.call("PodSandboxStatus", pod_sandbox_id=pod.id)["status"].get("state")  # noqa: E731
        eventually(lambda: state() == "SANDBOX_NOTREADY", "the pod is not ready")


@case
def many_at_once(e):
    with e.pod() as pod:
        containers = [pod.start(f"c{number}", "sh", "-c", f"exit {number}") for number in range(10)]
        equal([e.ended(container)[0] for container in containers], list(range(10)), "their ends")
        check(len(e.shims()) == 1, "one shim")
