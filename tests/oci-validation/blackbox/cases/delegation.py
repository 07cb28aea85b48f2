"""A container that may divide its own cgroup (config-linux.md "Cgroup ownership", cgroup-v2.rst "Delegation"): v2 only."""

import os

from suite import Skipped, case

RUNC = "1.1.5 hands over with the systemd driver only"
ANNOTATION = "knows none of crun's annotations"
ROOTS = "hands over to the container's root only"
FIRST = 100000  # the host's uid of the container's root


def divisible(t, options=("rw", "nosuid", "noexec", "nodev"), uid=0):
    """A container with a user namespace and a cgroup mount; gives its directory on the host."""
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Skipped("v2 only")
    t.linux["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        t.linux[ids] = [{"containerID": 0, "hostID": FIRST, "size": 1000}]
    t.process["user"] = {"uid": uid, "gid": uid}
    next(mount for mount in t.config["mounts"] if mount["type"] == "cgroup")["options"] = list(options)
    pid = t.sleeper()
    return "/sys/fs/cgroup" + open(f"/proc/{pid}/cgroup").read().strip().split("::")[1]


def owners(group):
    return {os.path.basename(path): os.stat(path).st_uid for path in [group] + [f"{group}/{f}" for f in os.listdir(group)]}


@case(runc=RUNC)
def the_root_of_the_container_owns_what_the_kernel_lists(t):
    group = divisible(t)
    listed = set(open("/sys/kernel/cgroup/delegate").read().split()) | {os.path.basename(group)}
    for name, owner in owners(group).items():
        t.equal(owner, FIRST if name in listed else 0, name)


@case(runc=RUNC)
def it_makes_groups_of_its_own_which_go_with_it(t):
    divisible(t)
    script = "cd /sys/fs/cgroup; mkdir -p a/b && echo $$ > a/cgroup.procs && cat /proc/self/cgroup && ls -d a/b"
    said = t.exec(t.id, "/bin/sh", "-c", script).out
    t.contains(said, "0::/a\n")
    t.contains(said, "a/b")
    refused = t.exec(t.id, "/bin/sh", "-c", "echo 5 > /sys/fs/cgroup/cgroup.freeze", code=1)
    t.contains(refused.said, "ermission denied")
    t.rt("delete", "--force", t.id)
    t.none_left()


@case(runc=RUNC, crun=ROOTS)
def it_belongs_to_the_user_of_the_process(t):
    t.equal(owners(divisible(t, uid=7))["cgroup.procs"], FIRST + 7)


@case(crun="hands over whatever the mount is like")
def nothing_is_handed_over_with_a_mount_that_is_read_only(t):
    t.equal(set(owners(divisible(t, options=("ro", "nosuid", "noexec", "nodev"))).values()), {0})


def delegated(t, path, uid=0, **resources):
    """A container with a sub-cgroup to divide; gives the directory that has the limits."""
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Skipped("v2 only")
    t.config["annotations"] = {"run.oci.delegate-cgroup": path}
    t.linux["resources"].update(resources)
    t.process["user"] = {"uid": uid, "gid": uid}
    pid = t.sleeper()
    own = open(f"/proc/{pid}/cgroup").read().strip().split("::")[1]
    t.true(own.endswith(f"/{path}"), own)
    return "/sys/fs/cgroup" + own.removesuffix(f"/{path}")


@case(runc=ANNOTATION, crun=ROOTS)
def a_sub_cgroup_is_the_containers_to_divide(t):
    limited = delegated(t, "payload", uid=7, pids={"limit": 20}, memory={"limit": 64 << 20})
    t.equal(open(f"{limited}/pids.max").read().strip(), "20")
    t.equal(open(f"{limited}/payload/pids.max").read().strip(), "max")
    t.equal(open(f"{limited}/cgroup.procs").read(), "")
    t.equal(owners(limited)["cgroup.procs"], 0, "limits stay root's")
    t.equal(owners(limited)["payload"], 7)
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        t.equal(owners(f"{limited}/payload")[name], 7, name)
    for controller in ("memory", "pids"):
        t.contains(open(f"{limited}/payload/cgroup.controllers").read(), controller)


@case(runc=ANNOTATION)
def the_root_of_its_cgroups_is_above_it(t):
    delegated(t, "a/b")
    said = t.exec(t.id, "/bin/cat", "/proc/1/cgroup", "/proc/self/cgroup").out
    t.equal(said.split(), ["0::/a/b", "0::/a/b"])


@case(runc=ANNOTATION)
def what_is_below_is_paused_killed_and_removed_with_it(t):
    limited = delegated(t, "payload", memory={"limit": 64 << 20})
    os.mkdir(f"{limited}/payload/x")
    t.rt("pause", t.id)
    t.contains(open(f"{limited}/payload/cgroup.events").read(), "frozen 1")
    t.rt("resume", t.id)
    t.rt("update", "--memory", str(32 << 20), t.id)
    t.equal(open(f"{limited}/memory.max").read().strip(), str(32 << 20))
    t.ends()


@case(runc=ANNOTATION, crun="a path with .. it refuses when the container is there")
def a_sub_cgroup_is_below(t):
    for path in ("..", "a/../../b", "/", "./a"):
        t.config["annotations"] = {"run.oci.delegate-cgroup": path}
        t.contains(t.refused("run.oci.delegate-cgroup").said, "path of a sub-cgroup")


@case(runc=ANNOTATION, crun="says it of cgroup v1 after the container is made")
def on_v1_nothing_is_handed_over(t):
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Skipped("v1 only")
    t.config["annotations"] = {"run.oci.delegate-cgroup": "payload"}
    t.contains(t.refused("run.oci.delegate-cgroup").said, "cgroup v2")
    t.none_left()
