"""Limits, statistics and what happens beyond them."""

import contextlib
import glob

from private_host import hierarchies, make_group, remove_group
from suite import case, check, equal, eventually

MEBIBYTE = 1 << 20


def cgroup_file(pid, v1, v2):
    """What a file of a process's cgroup says, on either layout."""
    for line in open(f"/proc/{pid}/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        for controller in controllers.split(","):
            # Without its controller, v2 is empty; with it, v1 is not there.
            for file in glob.glob(f"/sys/fs/cgroup/{controller}{path}/{v1 if controller else v2}"):
                return open(file).read().strip()
    return None


@contextlib.contextmanager
def kubelets_group(name="test-pod"):
    """The pod's cgroup, which is the kubelet's to make and to remove."""
    groups = [make_group(point, controllers, name) for point, _, controllers in hierarchies()]
    try:
        yield f"/{name}"
    finally:
        for group in groups:
            remove_group(group)


@case
def running_out_of_memory_is_the_reason(e):
    with e.pod() as pod:
        limit = {"resources": {"memory_limit_in_bytes": 16 * MEBIBYTE}}
        container = pod.start("a", "tail", "/dev/zero", linux=limit)
        equal(e.ended(container), (137, "OOMKilled"), "its end")
        container = pod.start("b", "sh", "-c", "tail /dev/zero; exit 0", linux=limit)
        e.ended(container)
        equal(e.ended(pod.start("c", "sh", "-c", "kill -9 $$; exit 9", linux=limit)), (9, "Error"), "another one's end")


@case
def statistics(e):
    busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 1000"
    with kubelets_group() as group, e.pod(linux={"cgroup_parent": group}) as pod:
        container = pod.start("a", "sh", "-c", busy)
        processor = lambda: e.call("ContainerStats", container_id=container)["stats"].get("cpu", {}).get("usage_core_nano_seconds", {})  # noqa: E731
        eventually(lambda: int(processor().get("value", 0)) > 10_000_000, "processor time")
        memory = e.call("ContainerStats", container_id=container)["stats"]["memory"]["working_set_bytes"]["value"]
        check(0 < int(memory) < 100 * MEBIBYTE, f"{memory} bytes")
        found = e.call("ListContainerStats")["stats"]
        equal([stats["attributes"]["id"] for stats in found], [container], "the list")
        if e.version >= (1, 7):
            linux = e.call("PodSandboxStats", pod_sandbox_id=pod.id)["stats"]["linux"]
            check(int(linux["process"]["process_count"]["value"]) >= 1, f"processes in {linux}")
            check(int(linux["memory"]["working_set_bytes"]["value"]) > 0, f"memory in {linux}")


@case
def limits(e):
    limits = {"cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 512, "memory_limit_in_bytes": 64 * MEBIBYTE}
    with e.pod() as pod:
        container = pod.start("a", linux={"resources": limits})
        pid = e.pid(container)
        equal(cgroup_file(pid, "memory.limit_in_bytes", "memory.max"), str(64 * MEBIBYTE), "memory")
        check(cgroup_file(pid, "cpu.cfs_quota_us", "cpu.max") in ("50000", "50000 100000"), "processor time")
        changed = {**limits, "cpu_quota": 30000, "memory_limit_in_bytes": 32 * MEBIBYTE}
        e.call("UpdateContainerResources", container_id=container, linux=changed)
        equal(cgroup_file(pid, "memory.limit_in_bytes", "memory.max"), str(32 * MEBIBYTE), "memory after the change")
        check(cgroup_file(pid, "cpu.cfs_quota_us", "cpu.max") in ("30000", "30000 100000"), "processor time after the change")


@case
def below_the_cgroup_that_the_kubelet_made(e):
    with kubelets_group() as group, e.pod(linux={"cgroup_parent": group}) as pod:
        container = pod.start("a")
        with open(f"/proc/{e.pid(container)}/cgroup") as groups:
            check(f"{group}/{container}" in groups.read(), "the container's group")
