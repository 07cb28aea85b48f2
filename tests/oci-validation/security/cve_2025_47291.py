"""CVE-2025-47291 (containerd): a container is in another cgroup than the one that was asked for, beyond its limits."""

import os

from private_host import hierarchies
from security.harness import report
from suite import case


def elsewhere(pid, path):
    """The hierarchies, by the names of /proc/PID/cgroup, in which this process is in another cgroup than `path`."""
    mounted = [set(names) if kind == "cgroup" else {""} for _, kind, names in hierarchies()]
    lines = (line.split(":", 2) for line in open(f"/proc/{pid}/cgroup").read().splitlines())
    return {names: where for _, names, where in lines if set(names.split(",")) in mounted and where != path}


def everywhere(t):
    """init and an exec are in the cgroup of the config, in every hierarchy."""
    path = f"/blackbox-{os.getpid()}-asked"
    t.linux["cgroupsPath"] = path
    t.equal(elsewhere(t.sleeper(), path), {}, "cgroups of init")
    pid_file = f"{t.directory}/pid"
    execs = t.start_rt("exec", "--pid-file", pid_file, t.id, "/bin/sleep", "1000")
    t.until(lambda: os.path.exists(pid_file) and open(pid_file).read(), "the exec")
    t.equal(elsewhere(open(pid_file).read(), path), {}, "cgroups of the exec")
    t.rt("delete", "--force", t.id)
    t.finish(execs, code=None)


@case()
def without_a_user_namespace(t):
    """P. Removed to see it fail: joining in `launch` (process/launch.rs)."""
    everywhere(t)


@case()
def in_a_user_namespace(t):
    """P. Removed to see it fail: as above."""
    t.linux["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        t.linux[ids] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    everywhere(t)


@case()
def in_a_user_namespace_that_maps_the_hosts_root(t):
    """P. Removed to see it fail: as above."""
    t.linux["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        t.linux[ids] = [{"containerID": 0, "hostID": 0, "size": 1000}]
    everywhere(t)


@case()
def what_it_sees_is_a_root(t):
    """P, in a cgroup namespace of its own. Removed to see it fail: CLONE_NEWCGROUP in `unshare_flags`
    (namespaces/plan.rs)."""
    lines = (line.split(":", 2) for line in report(t).parts["cgroup"].splitlines())
    mounted = [set(names) if kind == "cgroup" else {""} for _, kind, names in hierarchies()]
    t.equal({where for _, names, where in lines if set(names.split(",")) in mounted}, {"/"}, "cgroups")
