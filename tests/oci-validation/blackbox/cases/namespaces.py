"""config.json's `linux.namespaces`: new, inherited, joined by path."""

import json
import os
import subprocess

from suite import TIMEOUT, case

KINDS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup"}


def of(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{KINDS[kind]}")


@case()
def listed_namespaces_are_new(t):
    pid = t.sleeper()
    for kind in KINDS:
        t.true(of(pid, kind) != of("self", kind), f"{kind} is the caller's")


@case()
def absent_namespaces_are_the_callers(t):
    t.config.pop("hostname")
    for kind in ("pid", "network", "ipc", "uts", "cgroup"):
        t.remove_namespace(kind)
    # These are refused or useless without a namespace of their own.
    t.config["mounts"] = [m for m in t.config["mounts"] if m["destination"] not in ("/sys", "/sys/fs/cgroup", "/dev/mqueue")]
    pid = t.sleeper()
    for kind in ("pid", "network", "ipc", "uts", "cgroup"):
        t.equal(of(pid, kind), of("self", kind), kind)


@case()
def the_process_is_pid_1(t):
    t.equal(t.sh("echo $$").out, "1\n")


@case()
def a_new_network_has_loopback_only(t):
    t.equal(t.run("ls", "/sys/class/net").out, "lo\n")


class Holder:
    """A process in a new namespace of one kind, to be joined."""

    def __init__(self, kind):
        flag = {"network": "--net", "pid": "--pid"}.get(kind, f"--{kind}")
        self.process = subprocess.Popen(["unshare", flag, "--fork", "--kill-child", "sleep", "1000"])
        self.kind = kind

    def __enter__(self):
        for _ in range(int(TIMEOUT * 100)):
            children = open(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read().split()
            if children and open(f"/proc/{children[0]}/comm").read() == "sleep\n":
                self.pid = children[0]
                return f"/proc/{self.pid}/ns/{KINDS[self.kind]}"
            subprocess.run(["sleep", "0.01"])
        raise TimeoutError

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def joins(t, kind, **changes):
    with Holder(kind) as path:
        wanted = os.readlink(path)
        t.namespace(kind, path)
        pid = t.sleeper()
        t.equal(of(pid, kind), wanted)
        t.equal(t.exec(t.id, "readlink", f"/proc/self/ns/{KINDS[kind]}").out.strip(), wanted, "exec")
        t.rt("delete", "-f", t.id)


@case()
def join_a_network_namespace(t):
    joins(t, "network")


@case()
def join_an_ipc_namespace(t):
    joins(t, "ipc")


@case()
def join_a_uts_namespace(t):
    joins(t, "uts")


@case()
def join_a_pid_namespace(t):
    with Holder("pid") as path:
        wanted = os.readlink(path)
        t.namespace("pid", path)
        pid = t.sleeper()
        t.equal(of(pid, "pid"), wanted)
        t.matches(t.exec(t.id, "ps", "-o", "pid,args").out, r"^ *1 sleep 1000$")
        t.rt("delete", "-f", t.id)


@case()
def join_a_cgroup_namespace(t):
    joins(t, "cgroup")


@case()
def join_a_mount_namespace(t):
    with Holder("mount") as path:
        wanted = os.readlink(path)
        t.namespace("mount", path)
        pid = t.sleeper()
        t.equal(of(pid, "mount"), wanted)
        t.rt("delete", "-f", t.id)


@case()
def join_another_containers_network(t):
    first, pid = t.id, t.sleeper()
    t.namespace("network", f"/proc/{pid}/ns/net")
    t.id = f"{first}-2"
    other = t.sleeper()
    t.equal(of(other, "network"), of(pid, "network"))


@case()
def a_bound_namespace_can_be_joined(t):
    path = t.file("ns")
    with Holder("network") as source:
        subprocess.run(["mount", "--bind", source, path], check=True)
    try:
        t.namespace("network", path)
        t.equal(t.run("ls", "/proc/self/net/dev").out, "/proc/self/net/dev\n")
    finally:
        subprocess.run(["umount", path], check=True)


@case(crun="1.8.1 leaves the cgroup on v2")
def a_path_of_another_kind_is_refused(t):
    for kind, wrong in (("network", "ipc"), ("ipc", "uts"), ("uts", "net"), ("pid", "mnt"), ("cgroup", "pid"), ("mount", "net")):
        t.namespace(kind, f"/proc/self/ns/{wrong}")
        t.config["hostname"] = ""
        t.refused()
        t.remove_namespace(kind)
        t.linux["namespaces"].append({"type": kind})


@case(crun="1.8.1 leaves the cgroup on v2")
def a_path_that_is_no_namespace_is_refused(t):
    t.namespace("network", t.file("plain", "x"))
    t.refused()


@case(crun="1.8.1 leaves the cgroup on v2")
def a_missing_path_is_refused(t):
    t.namespace("network", "/nope/net")
    t.refused("/nope/net")


@case(crun="1.8.1 leaves the cgroup on v2")
def an_unknown_kind_is_refused(t):
    t.linux["namespaces"].append({"type": "bogus"})
    t.refused("bogus")


@case(crun="takes the last one")
def a_kind_twice_is_refused(t):
    t.linux["namespaces"].append({"type": "pid"})
    t.refused("pid")


@case()
def a_hostname_without_its_namespace_is_refused(t):
    t.remove_namespace("uts")
    t.refused()


@case()
def processes_of_the_namespace_end_with_init(t):
    t.sleeper(command=["sh", "-c", "sleep 1001 & exec sleep 1000"])
    t.until(lambda: len(json.loads(t.rt("ps", "-f", "json", t.id).out)) == 2, "two processes")
    t.ends()


@case()
def without_a_mount_namespace_it_runs_in_a_chroot(t):
    t.remove_namespace("mount")
    t.linux["maskedPaths"] = t.linux["readonlyPaths"] = []  # runc refuses them then
    before = open("/proc/self/mountinfo").read()
    t.equal(t.sh("ls -d /bin/busybox; readlink /proc/self/ns/mnt").out, f"/bin/busybox\n{of('self', 'mount')}\n")
    made = [line.split()[4] for line in open("/proc/self/mountinfo") if line not in before]
    for path in reversed(made):  # they are the caller's, and so is their end
        subprocess.run(["umount", "--lazy", path], check=True)
