"""CVE-2023-25809: without a cgroup namespace, a container with a user namespace may write to the host's cgroups."""

from suite import case

WRITE = """
for file in $(find /sys/fs/cgroup -name cgroup.procs); do
    if mkdir ${file%/*}/made 2>/dev/null; then echo made in ${file%/*}; rmdir ${file%/*}/made; fi
    if (echo $$ > $file) 2>/dev/null; then echo wrote $file; fi
done
(mkdir $(find /sys/fs/cgroup -name cgroup.procs | head -1 | xargs dirname)/made) 2>&1
"""


def mapped(t, options):
    t.linux["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        t.linux[ids] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    t.remove_namespace("cgroup")
    next(mount for mount in t.config["mounts"] if mount["type"] == "cgroup")["options"] = options
    return t.sh(WRITE, code=None).out


@case()
def the_tree_is_read_only_as_the_config_has_it(t):
    """Removed to see it fail: `readonly` in rootfs/cgroup.rs (v1), RDONLY of the mount (v2), seen by the error number."""
    said = mapped(t, ["nosuid", "noexec", "nodev", "ro"])
    t.lacks(said, "wrote")
    t.lacks(said, "made in")
    t.contains(said, "Read-only file system")


@case()
def a_tree_that_is_asked_for_writable_is_not_the_containers_to_write(t):
    """Its files are root's, which the container's root is not. Removed to see it fail: the cgroup namespace that
    `cgroup_owner` (plan.rs) asks for, and on v1 also that `delegated_to` (cgroups/plan.rs) hands over v2 only."""
    said = mapped(t, ["nosuid", "noexec", "nodev"])
    t.lacks(said, "wrote")
    t.lacks(said, "made in")
