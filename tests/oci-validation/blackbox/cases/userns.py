"""User namespaces: new and joined, with one mapping and with many, beside namespaces of the host and of others."""

import contextlib
import os
import subprocess

from cases.idmap import maps, source, user_namespace
from cases.namespaces import KINDS, OFFSETS, TIME, Holder, of, offsets
from suite import case

ALL = {**KINDS, "user": "user", "time": "time"}
RUNC = "1.1.5 is older than the joining of user namespaces without maps"


def same(t, pid, other, *kinds):
    for kind in kinds:
        t.equal(os.readlink(f"/proc/{pid}/ns/{ALL[kind]}"), os.readlink(f"/proc/{other}/ns/{ALL[kind]}"), kind)


def text(path):
    return [line.split() for line in open(path)]


def target(t):
    """A running container with a user namespace; the case's own then joins that."""
    user_namespace(t)
    pid = t.sleeper()
    joins(t, f"/proc/{pid}/ns/user")
    t.id += "-2"
    return pid


def joins(t, path):
    t.namespace("user", path)
    t.linux.pop("uidMappings", None)
    t.linux.pop("gidMappings", None)


def without_privileges_in_the_network(t):
    """sysfs is for the root of the network namespace's owner."""
    for mount in t.config["mounts"]:
        if mount["type"] == "sysfs":
            mount.update(type="bind", source="/sys", options=["rbind"])
    t.linux["maskedPaths"] = [path for path in t.linux["maskedPaths"] if not path.startswith("/sys")]
    t.config["mounts"] = [m for m in t.config["mounts"] if m["destination"] != "/sys/fs/cgroup"]


@case()
def new_namespaces_belong_to_the_containers_root(t):
    user_namespace(t)
    script = "stat -c %u /proc/1 /proc/sys/net/ipv4/ip_forward /sys/class/net/lo/mtu /dev/mqueue /dev/shm /dev/pts"
    t.equal(t.sh(script).out.split(), ["0"] * 6)


@case()
def several_ranges(t):
    t.linux["namespaces"].append({"type": "user"})
    ranges = maps((0, 100000, 1), (1, 200000, 10), (1000, 300000, 1))
    t.linux.update(uidMappings=ranges, gidMappings=ranges)
    user_namespace_of(t, 100000)
    t.process["user"] = {"uid": 1000, "gid": 3}
    pid = t.sleeper()
    t.equal(text(f"/proc/{pid}/uid_map"), [["0", "100000", "1"], ["1", "200000", "10"], ["1000", "300000", "1"]])
    status = open(f"/proc/{pid}/status").read()
    t.matches(status, r"^Uid:\t300000\t")
    t.matches(status, r"^Gid:\t200002\t")


def user_namespace_of(t, host):
    """The root filesystem belongs to the container's root."""
    namespaces, linux = list(t.linux["namespaces"]), dict(t.linux)
    user_namespace(t, host)
    t.linux.update(linux, namespaces=namespaces)


@case()
def as_many_ranges_as_the_kernel_takes(t):
    t.linux["namespaces"].append({"type": "user"})
    # They must fit in a page as well.
    ranges = maps(*((i, 1000 + 2 * i, 1) for i in range(340)))
    t.linux.update(uidMappings=ranges, gidMappings=ranges)
    user_namespace_of(t, 1000)
    pid = t.sleeper()
    t.equal(len(text(f"/proc/{pid}/gid_map")), 340)
    t.equal(text(f"/proc/{pid}/uid_map")[339], ["339", "1678", "1"])
    t.rt("delete", "-f", t.id)
    t.linux["uidMappings"] = maps(*((i, 1000 + 2 * i, 1) for i in range(341)))
    t.refused()
    t.linux["uidMappings"] = maps(*((i, 10000000 + 2 * i, 1) for i in range(300)))
    t.refused()


@case(runc=RUNC)
def another_containers_is_joined(t):
    other = target(t)
    pid = t.sleeper()
    same(t, pid, other, "user")
    t.equal(text(f"/proc/{pid}/uid_map"), [["0", "100000", "65536"]])
    t.matches(open(f"/proc/{pid}/status").read(), r"^Uid:\t100000\t")
    for kind in KINDS:
        t.true(of(pid, kind) != of(other, kind), f"{kind} is the other's")
    # What is new belongs to the joined namespace: else its root could not mount these.
    script = "stat -c %u /proc/1 /proc/sys/net/ipv4/ip_forward /sys/class/net/lo/mtu /dev/mqueue; readlink /proc/self/ns/user"
    wanted = ["0"] * 4 + [os.readlink(f"/proc/{other}/ns/user")]
    t.equal(t.exec(t.id, "sh", "-c", script).out.split(), wanted)


@case(runc=RUNC)
def it_is_joined_by_a_runtime_whose_caller_ignores_its_children(t):
    target(t)
    t.equal(t.run("id", "-u", shell="trap '' CHLD").out, "0\n")


@case(runc=RUNC)
def it_is_joined_without_a_pid_namespace_too(t):
    other = target(t)
    t.remove_namespace("pid")
    t.config["mounts"] = [m for m in t.config["mounts"] if m["type"] != "proc"]
    t.mount("/proc", type="bind", source="/proc", options=["rbind"])
    t.linux["maskedPaths"] = t.linux["readonlyPaths"] = []
    pid = t.sleeper()
    same(t, pid, other, "user")
    same(t, pid, "self", "pid")
    t.equal(t.exec(t.id, "id", "-u").out, "0\n")


@case(runc=RUNC)
def all_of_another_container_is_joined(t):
    other = target(t)
    kinds = ("network", "ipc", "uts", "pid", "cgroup")
    for kind in kinds:
        t.namespace(kind, f"/proc/{other}/ns/{KINDS[kind]}")
    t.config["hostname"] = "second"
    pid = t.sleeper()
    same(t, pid, other, "user", *kinds)
    t.equal(t.exec(t.id, "hostname").out, "second\n")
    t.equal(t.exec(t.id, "id", "-u").out, "0\n")


@case(runc=RUNC, crun="1.8.1 fails here")
def its_mount_namespace_is_joined(t):
    other = target(t)
    t.namespace("mount", f"/proc/{other}/ns/mnt")
    # The other's root is seen there by no path of the host's; its own top will do.
    t.config["root"] = {"path": "/"}
    t.config["mounts"] = []
    t.linux["maskedPaths"] = t.linux["readonlyPaths"] = []
    pid = t.sleeper()
    same(t, pid, other, "user", "mount")


@case()
def equal_maps_may_be_given_as_well(t):
    other = target(t)
    t.linux.update(uidMappings=maps((0, 100000, 65536)), gidMappings=maps((0, 100000, 65536)))
    same(t, t.sleeper(), other, "user")


@case(runc=RUNC, crun="takes no notice of them")
def other_maps_are_refused(t):
    target(t)
    t.before = t.before.now(t.root)
    equal, other = maps((0, 100000, 65536)), maps((0, 100000, 65535))
    for uids, gids in ((other, equal), (equal, other)):
        t.linux.update(uidMappings=uids, gidMappings=gids)
        t.refused()


@case(runc=RUNC)
def a_bound_one_is_joined_though_nobody_lives_in_it(t):
    other, path = target(t), t.file("user")
    wanted = os.readlink(f"/proc/{other}/ns/user")
    subprocess.run(["mount", "--bind", f"/proc/{other}/ns/user", path], check=True)
    try:
        t.rt("delete", "-f", t.id.removesuffix("-2"))
        joins(t, path)
        pid = t.sleeper()
        t.equal(os.readlink(f"/proc/{pid}/ns/user"), wanted)
        t.equal(text(f"/proc/{pid}/gid_map"), [["0", "100000", "65536"]])
        t.rt("delete", "-f", t.id)
    finally:
        subprocess.run(["umount", path], check=True)


@case(runc=RUNC)
def a_joined_one_with_a_network_of_the_hosts(t):
    other = target(t)
    with Holder("network") as path:
        wanted = os.readlink(path)
        t.namespace("network", path)
        without_privileges_in_the_network(t)
        pid = t.sleeper()
        same(t, pid, other, "user")
        t.equal(of(pid, "network"), wanted)
        t.equal(t.exec(t.id, "readlink", "/proc/self/ns/net").out.strip(), wanted)
        t.rt("delete", "-f", t.id)


@case()
def a_new_one_with_namespaces_of_the_hosts(t):
    user_namespace(t)
    with Holder("network") as network, Holder("ipc") as ipc, Holder("uts") as uts:
        wanted = [os.readlink(path) for path in (network, ipc, uts)]
        for kind, path in (("network", network), ("ipc", ipc), ("uts", uts)):
            t.namespace(kind, path)
        without_privileges_in_the_network(t)
        t.config["mounts"] = [m for m in t.config["mounts"] if m["type"] != "mqueue"]
        t.config["hostname"] = ""
        pid = t.sleeper()
        t.equal([of(pid, kind) for kind in ("network", "ipc", "uts")], wanted)
        t.equal(text(f"/proc/{pid}/uid_map"), [["0", "100000", "65536"]])
        links = t.exec(t.id, "sh", "-c", "for n in net ipc uts; do readlink /proc/self/ns/$n; done").out.split()
        t.equal(links, wanted)
        t.equal(t.exec(t.id, "sh", "-c", "id -u; echo $$ >/dev/null; stat -c %u /proc/1").out, "0\n0\n")
        t.rt("delete", "-f", t.id)


@case(crun="1.8.1 fails here", runc="the kernel says it without a reason")
def names_of_anothers_uts_namespace_are_refused_with_a_reason(t):
    user_namespace(t)
    with Holder("uts") as path:
        t.before = t.before.now(t.root)
        t.namespace("uts", path)
        t.config["hostname"] = "mine"
        t.refused("sethostname", "belongs to another user namespace")


@case(runc=RUNC, crun="takes it for nothing to do")
def the_runtimes_own_is_refused(t):
    joins(t, "/proc/self/ns/user")
    t.refused()


@case(runc=RUNC, **{"crun": TIME["crun"]})
def with_a_time_namespace(t):
    other = target(t)
    t.linux["namespaces"].append({"type": "time"})
    t.linux["timeOffsets"] = OFFSETS
    pid = t.sleeper()
    wanted = {clock: tuple(offset.values()) for clock, offset in OFFSETS.items()}
    same(t, pid, other, "user")
    t.equal(offsets(open(f"/proc/{pid}/timens_offsets").read()), wanted)
    t.equal(offsets(t.exec(t.id, "cat", "/proc/self/timens_offsets").out), wanted)
    # A third, with a new user namespace, joins that time.
    t.id += "-3"
    t.linux.pop("timeOffsets")
    t.remove_namespace("user")
    t.namespace("time", f"/proc/{pid}/ns/time")
    t.linux["namespaces"].append({"type": "user"})
    t.linux.update(uidMappings=maps((0, 100000, 65536)), gidMappings=maps((0, 100000, 65536)))
    third = t.sleeper()
    same(t, third, pid, "time")
    t.equal(offsets(t.exec(t.id, "cat", "/proc/self/timens_offsets").out), wanted)


@case(runc=RUNC)
def id_mapped_mounts_by_a_joined_ones_maps(t):
    target(t)
    t.mount("/data", source=source(t, "data", one=0, two=7), options=["bind", "idmap"])
    t.equal(t.run("stat", "-c", "%u:%g", "/data/one", "/data/two").out.split(), ["0:0", "7:1007"])


@case()
def a_root_filesystem_of_others(t):
    """Its files belong to nobody that the container knows: it runs, as whoever may read them."""
    t.linux["namespaces"].append({"type": "user"})
    t.linux.update(uidMappings=maps((0, 100000, 65536)), gidMappings=maps((0, 100000, 65536)))
    for path in (t.directory, t.bundle, t.rootfs):
        os.chmod(path, 0o755)
    for mount in t.config["mounts"]:
        os.makedirs(t.rootfs + mount["destination"], exist_ok=True)
    before = [os.lstat(f"{t.rootfs}/{name}") for name in sorted(os.listdir(t.rootfs))]
    t.equal(t.run("stat", "-c", "%u", "/bin/busybox").out, "65534\n")
    after = [os.lstat(f"{t.rootfs}/{name}") for name in sorted(os.listdir(t.rootfs))]
    t.equal([(s.st_uid, s.st_mode) for s in after], [(s.st_uid, s.st_mode) for s in before])


@contextlib.contextmanager
def mounted(t, path, *arguments):
    subprocess.run(["mount", *arguments, path], check=True)
    t.before.mounts.append(path)
    try:
        yield
    finally:
        t.rt("delete", "-f", t.id, code=None)
        subprocess.run(["umount", "--lazy", path], check=True)


@case()
def a_root_filesystem_on_overlayfs(t):
    user_namespace(t)
    lower, upper, work = (f"{t.directory}/{name}" for name in ("lower", "upper", "work"))
    os.rename(t.rootfs, lower)
    for path in (upper, work, t.rootfs):
        os.mkdir(path)
        os.chown(path, 100000, 100000)
        os.chmod(path, 0o755)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    with mounted(t, t.rootfs, "-t", "overlay", "-o", options, "overlay"):
        t.equal(t.sh("echo x >/new && stat -c %u /new /bin/busybox").out.split(), ["0", "0"])
        t.equal(os.stat(f"{upper}/new").st_uid, 100000)


@case()
def no_pivot_on_ramfs(t):
    user_namespace(t)
    aside = f"{t.directory}/aside"
    os.rename(t.rootfs, aside)
    os.mkdir(t.rootfs)
    with mounted(t, t.rootfs, "-t", "ramfs", "-o", "mode=755", "ramfs"):
        subprocess.run(["cp", "-a", f"{aside}/.", t.rootfs], check=True)
        t.equal(t.sh("id -u; stat -f -c %T /; ls -d /proc/1/root/bin/busybox", options=["--no-pivot"]).out.split()[::2], ["0", "/proc/1/root/bin/busybox"])
