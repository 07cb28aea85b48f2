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


TIME = {"runc": "1.1.5 is older than the kind", "crun": "1.8.1 fails here"}
OFFSETS = {"monotonic": {"secs": 7881, "nanosecs": 2718281}, "boottime": {"secs": 1337, "nanosecs": 3141519}}


def offsets(text):
    """/proc/PID/timens_offsets as a dictionary."""
    return {clock: (int(secs), int(nanosecs)) for clock, secs, nanosecs in map(str.split, text.splitlines())}


def new_time(t, **changes):
    t.linux["namespaces"].append({"type": "time"})
    t.linux.update(changes)


@case(**TIME)
def a_time_namespace_has_its_offsets(t):
    new_time(t, timeOffsets=OFFSETS)
    wanted = {clock: tuple(offset.values()) for clock, offset in OFFSETS.items()}
    before = os.readlink("/proc/self/ns/time")
    pid = t.sleeper()
    t.true(os.readlink(f"/proc/{pid}/ns/time") != before, "it is the caller's")
    t.equal(offsets(open(f"/proc/{pid}/timens_offsets").read()), wanted, "init")
    t.equal(offsets(t.exec(t.id, "cat", "/proc/self/timens_offsets").out), wanted, "exec")
    t.equal(t.exec(t.id, "readlink", "/proc/self/ns/time").out.strip(), os.readlink(f"/proc/{pid}/ns/time"))


@case(**TIME)
def a_time_namespace_changes_the_uptime(t):
    new_time(t, timeOffsets={"boottime": {"secs": 1000000}})
    uptime = lambda text: float(text.split()[0])
    inside, outside = uptime(t.run("cat", "/proc/uptime").out), uptime(open("/proc/uptime").read())
    t.true(999000 < inside - outside < 1001000, f"{inside} inside, {outside} outside")


@case(**TIME)
def a_clock_may_be_set_back(t):
    new_time(t, timeOffsets={"monotonic": {"secs": -1, "nanosecs": 5}})
    t.equal(offsets(t.run("cat", "/proc/self/timens_offsets").out)["monotonic"], (-1, 5))


@case(**TIME)
def a_time_namespace_without_offsets(t):
    new_time(t, timeOffsets=None)
    out = t.sh("cat /proc/self/timens_offsets; readlink /proc/self/ns/time >&2")
    t.equal(offsets(out.out), {"monotonic": (0, 0), "boottime": (0, 0)})
    t.true(out.err.strip() != os.readlink("/proc/self/ns/time"), "it is the caller's")


@case(**TIME)
def hooks_keep_the_callers_time(t):
    new_time(t, timeOffsets=OFFSETS)
    path = t.file("times")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"readlink /proc/self/ns/time >> {path}"]}
    t.config["hooks"] = {kind: [hook] for kind in ("prestart", "createRuntime", "poststart", "poststop")}
    t.run("true")
    t.equal(set(open(path).read().split()), {os.readlink("/proc/self/ns/time")})


@case(**TIME)
def a_time_namespace_in_a_joined_pid_namespace(t):
    new_time(t, timeOffsets=OFFSETS)
    with Holder("pid") as path:
        t.namespace("pid", path)
        pid = t.sleeper()
        t.equal(offsets(open(f"/proc/{pid}/timens_offsets").read())["boottime"], (1337, 3141519))
        t.rt("delete", "-f", t.id)


@case(**TIME)
def a_time_namespace_of_a_user_namespace(t):
    new_time(t, timeOffsets=OFFSETS)
    t.linux["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        t.linux[ids] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    subprocess.run(["chown", "-R", "100000:100000", t.rootfs], check=True)
    t.sleeper()
    t.equal(offsets(t.exec(t.id, "cat", "/proc/self/timens_offsets").out)["boottime"], (1337, 3141519))


@case(**TIME)
def join_a_time_namespace(t):
    first = t.id
    new_time(t, timeOffsets=OFFSETS)
    pid = t.sleeper()
    t.id = f"{first}-2"
    del t.linux["timeOffsets"]
    t.namespace("time", f"/proc/{pid}/ns/time")
    other = t.sleeper()
    t.equal(os.readlink(f"/proc/{other}/ns/time"), os.readlink(f"/proc/{pid}/ns/time"))


@case(**TIME)
def offsets_that_cannot_be_had_are_refused(t):
    t.linux["timeOffsets"] = OFFSETS
    t.refused("time")  # no namespace
    new_time(t, timeOffsets={"realtime": {"secs": 1}})
    t.refused()
    t.linux["timeOffsets"] = {"boottime": {"secs": -(10**9)}}
    t.refused("timens_offsets")
    t.namespace("time", "/proc/self/ns/time")
    t.linux["timeOffsets"] = OFFSETS
    t.refused("time")
