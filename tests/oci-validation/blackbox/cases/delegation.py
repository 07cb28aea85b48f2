"""A container that may divide its own cgroup (config-linux.md "Cgroup ownership", cgroup-v2.rst "Delegation"): v2 only."""

import os

from suite import Skipped, case

RUNC = "1.1.5 hands over with the systemd driver only"
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


@case(runc=RUNC, crun="hands over to the container's root only")
def it_belongs_to_the_user_of_the_process(t):
    t.equal(owners(divisible(t, uid=7))["cgroup.procs"], FIRST + 7)


@case(crun="hands over whatever the mount is like")
def nothing_is_handed_over_with_a_mount_that_is_read_only(t):
    t.equal(set(owners(divisible(t, options=("ro", "nosuid", "noexec", "nodev"))).values()), {0})
