"""Mounts of type cgroup, read-only or writable, with and without a cgroup namespace, on v1, v2 and hybrid hosts."""

import os

from suite import Skipped, case

from cases.cgroups import V1, group

HERE = "/sys/fs/cgroup"
# The hierarchy that is looked at; on v2 there is only one.
PLACE = f"{HERE}/pids" if V1 else HERE
# The container's own group in there; without a namespace all of v2 is shown, and on v1 the own groups all the same.
OWN = f"{PLACE}" if V1 else f"{HERE}$(sed -n s/^0:://p /proc/self/cgroup)"
MOVE = f"o={OWN}; mkdir $o/new && echo 0 >$o/new/cgroup.procs && cat /proc/self/cgroup"


def setup(t, writable=False, namespace=True, command=None):
    """The usual bundle, changed; gives what a script in the container says."""
    mount = next(m for m in t.config["mounts"] if m["type"] == "cgroup")
    if writable:
        mount["options"] = [option for option in mount["options"] if option != "ro"] + ["rw"]
    if not namespace:
        t.remove_namespace("cgroup")
    return t.sh(command, code=None) if command else None


def shown(t, **how):
    """The mounts at and below /sys/fs/cgroup: {path: (root, options, type)}."""
    lines = setup(t, command="cat /proc/self/mountinfo", **how).out.splitlines()
    found = {}
    for line in lines:
        fields = line.split()
        if fields[4].startswith(HERE):
            found[fields[4]] = fields[3], fields[5].split(","), fields[fields.index("-") + 1]
    t.true(found, "nothing is mounted there")
    return found


def hierarchies():
    """The v1 hierarchies of this host, as the names of their directories."""
    lines = [line.split() for line in open("/proc/self/mountinfo")]
    return {os.path.basename(line[4]) for line in lines if line[line.index("-") + 1] == "cgroup"}


@case()
def one_mount_for_each_hierarchy(t):
    found = shown(t)
    if V1:
        t.equal(found[HERE][2], "tmpfs")
        inner = {os.path.basename(path) for path, (_, _, kind) in found.items() if kind == "cgroup"}
        t.equal(inner, hierarchies())
    else:
        t.equal({path: kind for path, (_, _, kind) in found.items()}, {HERE: "cgroup2"})


@case()
def controllers_that_share_a_hierarchy_have_a_name_each(t):
    joint = [name for name in hierarchies() if "," in name]
    if not joint:
        raise Skipped("no hierarchy has several controllers")
    links = setup(t, command=f"cd {HERE}; for i in *; do [ -L $i ] && echo $i $(readlink $i); done; true").out
    t.equal(set(links.splitlines()), {f"{one} {name}" for name in joint for one in name.split(",")})


@case()
def nothing_there_can_be_executed_or_opened_as_a_device(t):
    for path, (_, options, _) in shown(t).items():
        t.equal({"nosuid", "nodev", "noexec"} - set(options), set(), path)


@case()
def read_only_means_every_hierarchy(t):
    for path, (_, options, kind) in shown(t).items():
        t.true("ro" in options or kind == "tmpfs", f"{path}: {options}")
    each = f"{HERE}/*/" if V1 else HERE
    result = setup(t, command=f"for i in {each}; do mkdir $i/new && echo $i; done; echo 0 > {PLACE}/cgroup.procs")
    t.equal(result.out, "", "directories made")
    t.equal({line.rsplit(": ", 1)[1] for line in result.err.splitlines()}, {"Read-only file system"}, "errors")


@case()
def writable_means_every_hierarchy(t):
    found = shown(t, writable=True)
    for path, (_, options, _) in found.items():
        t.true("rw" in options, f"{path}: {options}")
    t.contains(setup(t, writable=True, command=MOVE).out, f":{'pids' if V1 else ''}:/new\n")


@case()
def read_only_without_a_cgroup_namespace(t):
    for path, (_, options, kind) in shown(t, namespace=False).items():
        t.true("ro" in options or kind == "tmpfs", f"{path}: {options}")
    result = setup(t, namespace=False, command=f"mkdir {PLACE}/new")
    t.contains(result.err, "Read-only file system")


@case()
def writable_without_a_cgroup_namespace(t):
    t.linux["cgroupsPath"] = f"/{t.id}-moves"
    said = setup(t, writable=True, namespace=False, command=MOVE).out
    t.contains(said, f":{'pids' if V1 else ''}:/{t.id}-moves/new\n")


def paths(text):
    """What /proc/PID/cgroup says of the hierarchies that a container gets a directory in: {controllers: path}."""
    lines = (line.split(":", 2)[1:] for line in text.splitlines())
    return {controllers: path for controllers, path in lines if controllers in ("pids", "memory", "name=systemd")} | (
        {} if V1 else {"": text.split("0::")[1].split("\n")[0]}
    )


@case()
def with_a_namespace_the_containers_group_is_the_root(t):
    said = paths(setup(t, command="cat /proc/self/cgroup").out)
    t.true(said, "no hierarchy")
    t.equal(set(said.values()), {"/"}, "paths")
    for path, (root, _, kind) in shown(t).items():
        if kind.startswith("cgroup"):
            t.equal(root, "/", path)


@case()
def without_a_namespace_the_path_is_the_hosts(t):
    t.linux["cgroupsPath"] = f"/{t.id}-seen"
    said = paths(setup(t, namespace=False, command="cat /proc/self/cgroup").out)
    t.true(said, "no hierarchy")
    t.equal(set(said.values()), {f"/{t.id}-seen"}, "paths")


def own_processes(t, **how):
    """What is in the container's group, as the container sees it by its mount."""
    setup(t, **how)
    t.sleeper()
    return t.exec(t.id, "sh", "-c", f"cat {OWN}/cgroup.procs").out.split()


@case()
def the_mount_shows_the_containers_own_group(t):
    t.equal(own_processes(t)[0], "1")


@case()
def the_mount_shows_the_containers_own_group_without_a_namespace(t):
    t.equal(own_processes(t, namespace=False)[0], "1")


@case()
def other_groups_are_shown_on_v2_without_a_namespace_only(t):
    other = f"{HERE}/pids/{t.id}-other" if V1 else f"{HERE}/{t.id}-other"
    os.mkdir(other)
    try:
        for namespace in (True, False):
            out = setup(t, namespace=namespace, command=f"cd {PLACE}; ls -d */ 2>/dev/null; true").out
            t.equal(f"{t.id}-other/" in out.split(), not (V1 or namespace), f"shown, with namespace: {namespace}")
            if namespace:
                t.equal(out, "", "directories")
    finally:
        os.rmdir(other)


@case()
def what_the_container_makes_is_below_its_own_group(t):
    setup(t, writable=True)
    t.sleeper()
    t.exec(t.id, "mkdir", f"{PLACE}/made-inside")
    t.true(os.path.isdir(f"{group(t, 'pids')}/made-inside"), "it is not there")


@case()
def an_own_limit_is_readable(t):
    t.linux["resources"]["pids"] = {"limit": 23}
    t.equal(setup(t, command=f"cat {PLACE}/pids.max").out, "23\n")


@case()
def controllers_can_be_passed_on_inside(t):
    """What systemd in a container does first."""
    if V1:
        raise Skipped("v2 only")
    script = f"cd {HERE}; mkdir init && echo 0 >init/cgroup.procs && echo '+pids +memory' >cgroup.subtree_control && "
    script += "mkdir app && cat app/cgroup.controllers && echo 7 >app/pids.max && cat app/pids.max"
    said = setup(t, writable=True, command=script)
    t.equal(said.out, "memory pids\n7\n", said.err)


@case()
def without_the_mount_there_is_none(t):
    t.config["mounts"] = [m for m in t.config["mounts"] if m["type"] != "cgroup"]
    t.lacks(t.run("cat", "/proc/self/mountinfo").out, " cgroup")
