"""The shim as a process: its versions, its groups, its secrets."""

import os
import stat

from suite import case, check, equal


@case(runc="containerd 1.6's has one version, 2's the other")
def both_versions_of_the_task_api_and_nothing_else(e):
    with e.running("c"):
        for version in (2, 3):
            service = f"containerd.task.v{version}.Task"
            equal(e.call("Connect", (1, "c"), service=service)[0], 0, service)
            code, answer = e.call("State", (1, "none"), service=service)
            equal((code, b"container not created" in answer), (5, True), "not found")
        equal(e.call("Checkpoint", (1, "c"))[0], 12, "unimplemented")
        equal(e.call("Connect", (1, "c"), service="containerd.task.v9.Task")[0], 12, "unimplemented")
        equal(e.call("Nonsense", (1, "c"))[0], 12, "unimplemented")


@case(runc="that of containerd 2 leaves its socket")
def containers_of_a_group_share_a_shim(e):
    group = ["--annotation", "io.containerd.runc.v2.group=pod"]
    with e.running("c", flags=group), e.running("d", flags=group):
        equal(len(e.shims()), 1, "shims")
        e.remove("c")
        equal((e.status("c"), e.status("d")), (None, "RUNNING"), "the other one goes on")
        equal(e.exec("d", "e", "echo", "there").out, "there\n", "exec")


@case
def the_state_is_not_for_others(e):
    with e.running("c"):
        for path in os.listdir("/run/containerd/s"):
            equal(stat.S_IMODE(os.stat(f"/run/containerd/s/{path}").st_mode) & 0o077, 0, f"mode of {path}")
        with open("/proc/net/unix") as sockets:
            check(not any("@/containerd-shim" in line for line in sockets), "no abstract socket")


@case(runc="it has a dozen threads")
def one_thread(e):
    with e.running("c"):
        e.exec("c", "e", "true")
        with open(f"/proc/{e.shim_of('c')}/status") as status:
            check("Threads:\t1\n" in status.read(), "one thread")
