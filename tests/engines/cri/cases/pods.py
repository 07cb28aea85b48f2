"""Pods: what their containers share, and how they begin and end."""

import os

from cri import needs_network
from suite import case, check, equal, eventually

NAMESPACES = 'for n in ipc net uts pid mnt; do echo $n=$(readlink /proc/self/ns/$n); done'


def namespaces(e, container):
    return dict(line.split("=") for line in e.shell(container, NAMESPACES).split())


@case
def from_its_begin_to_its_end(e):
    with e.pod() as pod:
        status = e.call("PodSandboxStatus", pod_sandbox_id=pod.id)["status"]
        equal((status.get("state", "SANDBOX_READY"), status["runtime_handler"]), ("SANDBOX_READY", e.handler), "the pod")
        container = pod.create("a", "sh", "-c", "trap 'exit 4' TERM; sleep 1000 & wait")
        equal(e.status(container).get("state", "CONTAINER_CREATED"), "CONTAINER_CREATED", "state")
        e.call("StartContainer", container_id=container)
        equal(e.state(container), "RUNNING", "state")
        e.call("StopContainer", container_id=container, timeout=10)
        equal(e.ended(container), (4, "Error"), "its end")
        e.call("RemoveContainer", container_id=container)
        equal(e.call("ListContainers").get("containers", []), [], "the list")
        equal(e.ended(pod.start("b", "true")), (0, "Completed"), "another one's end")
        e.call("StopPodSandbox", pod_sandbox_id=pod.id)
        equal(e.call("PodSandboxStatus", pod_sandbox_id=pod.id)["status"]["state"], "SANDBOX_NOTREADY", "the pod")


@case
def a_shim_for_all_of_a_pod(e):
    with e.pod("one") as one, e.pod("two") as two:
        for pod in (one, two):
            pod.start("a")
            pod.start("b")
        equal(len(e.shims()), 2, "shims")


@case
def two_containers_share_the_pods_namespaces(e):
    with e.pod() as pod:
        a, b = namespaces(e, pod.start("a")), namespaces(e, pod.start("b"))
        equal([name for name in a if a[name] == b[name]], ["ipc", "net", "uts"], "what they share")
        equal(a["net"], os.readlink("/proc/self/ns/net"), "the host's network")
        check(a["ipc"] != os.readlink("/proc/self/ns/ipc"), "an IPC namespace of the pod's own")


@case
def a_shared_pid_namespace(e):
    with e.pod(linux={"security_context": {"namespace_options": {"pid": "POD"}}}) as pod:
        a = pod.start("a", "sleep", "4321")
        b = pod.start("b", "sh", "-c", "sleep 4322 & exec sleep 4323")
        shown = e.shell(a, "ps -o args")
        check(all(word in shown for word in ("2147483647", "4321", "4322", "4323")), f"all processes in {shown}")
        e.call("StopContainer", container_id=b, timeout=0)
        eventually(lambda: "432" not in e.shell(a, "ps -o args").replace("4321", ""), "the end of all of b's processes")
        equal(e.state(a), "RUNNING", "the other container")


@case
def the_hosts_namespaces(e):
    with e.pod(linux={"security_context": {"namespace_options": {"pid": "NODE", "ipc": "NODE"}}}) as pod:
        found = namespaces(e, pod.start("a"))
        for name in ("ipc", "net", "pid"):
            equal(found[name], os.readlink(f"/proc/self/ns/{name}"), name)


@case
def a_network_of_its_own(e):
    needs_network()
    own = {"security_context": {"namespace_options": {"network": "POD"}}}
    with e.pod("server", linux=own, hostname="server") as server, e.pod("client", linux=own) as client:
        address = e.call("PodSandboxStatus", pod_sandbox_id=server.id)["status"]["network"]["ip"]
        # Not wget: Debian's busybox, being static, dies in its resolver.
        a = server.start("a", "sh", "-c", "while :; do echo page | nc -l -p 80; done")
        b, c = server.start("b"), client.start("c")
        check(address in e.shell(a, "ip addr show eth0"), "the address in the pod")
        equal(e.shell(a, "hostname"), "server", "hostname")
        fetch = lambda container, host: e.exec(container, "nc", "-w", "2", host, "80")[1]  # noqa: E731
        eventually(lambda: fetch(b, "127.0.0.1") == "page\n", "the pod's loopback")
        eventually(lambda: fetch(c, address) == "page\n", "from another pod")
        equal(fetch(c, "127.0.0.1"), "", "what another pod has on its own loopback")


@case
def the_resolver_is_the_pods(e):
    dns = {"servers": ["10.10.10.10"], "searches": ["test"], "options": ["ndots:8"]}
    with e.pod(dns_config=dns) as pod:
        found = e.shell(pod.start("a"), "cat /etc/resolv.conf").split("\n")
        equal(sorted(found), ["nameserver 10.10.10.10", "options ndots:8", "search test"], "resolv.conf")


@case
def system_settings_of_the_pod(e):
    with e.pod(linux={"sysctls": {"kernel.shm_rmid_forced": "1"}}) as pod:
        equal(e.shell(pod.start("a"), "cat /proc/sys/kernel/shm_rmid_forced"), "1", "the value")
