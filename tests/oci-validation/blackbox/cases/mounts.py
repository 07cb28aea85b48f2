"""config.json's `mounts`."""

import os
import re

from suite import case


def mountinfo(t, destination):
    """(options, optional fields) of the topmost mount at a path, read in the container."""
    lines = [line.split() for line in t.run("cat", "/proc/self/mountinfo").out.splitlines()]
    found = [line for line in lines if line[4] == destination]
    t.true(found, f"nothing is mounted at {destination}")
    line = found[-1]
    return line[5].split(","), line[6 : line.index("-")]


def source(t):
    """A directory outside the rootfs with a file in it."""
    t.file("source/file", "content\n")
    return f"{t.directory}/source"


@case()
def bind_a_directory(t):
    t.mount("/mnt", type="bind", source=source(t), options=["bind"])
    t.equal(t.sh("cat /mnt/file; echo new > /mnt/new").out, "content\n")
    t.equal(open(f"{t.directory}/source/new").read(), "new\n")


@case()
def bind_a_file_onto_a_missing_one(t):
    t.mount("/deep/er/file", type="bind", source=f"{source(t)}/file", options=["bind", "ro"])
    t.equal(t.sh("cat /deep/er/file; echo x 2>/dev/null > /deep/er/file || echo refused").out, "content\nrefused\n")


@case()
def bind_needs_no_type(t):
    t.mount("/mnt", source=source(t), options=["rbind"])
    t.equal(t.run("cat", "/mnt/file").out, "content\n")


@case()
def a_relative_source_is_relative_to_the_bundle(t):
    source(t)
    t.mount("/mnt", type="bind", source="../source", options=["bind"])
    t.save()
    t.process["args"] = ["cat", "/mnt/file"]
    t.save()
    t.equal(t.rt("run", "--bundle", t.bundle, t.id, cwd="/").out, "content\n")


@case()
def bind_read_only(t):
    t.mount("/mnt", type="bind", source=source(t), options=["bind", "ro"])
    t.matches(t.sh("touch /mnt/x", code=1).err, "Read-only")


@case()
def bind_keeps_and_adds_flags(t):
    t.mount("/mnt", type="bind", source=source(t), options=["bind", "nosuid", "nodev", "noexec"])
    options, _ = mountinfo(t, "/mnt")
    for option in ("rw", "nosuid", "nodev", "noexec"):
        t.contains(options, option)


@case(crun="rw does not take ro back")
def flags_can_be_taken_back(t):
    t.mount("/mnt", type="tmpfs", source="tmpfs", options=["ro", "noexec", "rw", "exec"])
    options, _ = mountinfo(t, "/mnt")
    t.contains(options, "rw")
    t.lacks(options, "noexec")


@case()
def atime_flags(t):
    for option in ("noatime", "relatime"):
        t.config["mounts"] = [m for m in t.config["mounts"] if m["destination"] != "/mnt"]
        t.mount("/mnt", type="tmpfs", source="tmpfs", options=[option])
        t.contains(mountinfo(t, "/mnt")[0], option)


def nested(t):
    """A source with another mount in it, made by an outer container's process: the private host's own mount."""
    import subprocess

    path = source(t)
    os.makedirs(f"{path}/inner")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", f"{path}/inner"], check=True)
    open(f"{path}/inner/deep", "w").close()
    return path


def drop(path):
    import subprocess

    subprocess.run(["umount", "--lazy", f"{path}/inner"], check=True)


@case()
def bind_is_one_level_and_rbind_all(t):
    path = nested(t)
    try:
        t.mount("/one", type="bind", source=path, options=["bind"])
        t.mount("/all", type="bind", source=path, options=["rbind"])
        t.equal(t.sh("ls /one/inner; ls /all/inner").out, "deep\n")
    finally:
        drop(path)


@case()
def ro_is_one_level_and_rro_all(t):
    path = nested(t)
    try:
        t.mount("/ro", type="bind", source=path, options=["rbind", "ro"])
        t.mount("/rro", type="bind", source=path, options=["rbind", "rro"])
        script = "for d in /ro /ro/inner /rro /rro/inner; do touch $d/x 2>/dev/null && echo $d; done; true"
        t.equal(t.sh(script).out, "/ro/inner\n")
    finally:
        drop(path)


@case()
def tmpfs_with_data(t):
    t.mount("/mnt", type="tmpfs", source="tmpfs", options=["size=1024k", "mode=711", "nosuid"])
    out = t.sh("stat -c %a /mnt; df -k /mnt | tail -1").out
    t.equal(out.splitlines()[0], "711")
    t.matches(out, r"tmpfs +1024 ")


@case(crun="1.8.1 leaves the mode to the kernel")
def tmpfs_mode_is_that_of_what_it_covers(t):
    os.makedirs(f"{t.rootfs}/covered")
    os.chmod(f"{t.rootfs}/covered", 0o750)
    t.mount("/covered", type="tmpfs", source="tmpfs", options=["nosuid"])
    t.equal(t.run("stat", "-c", "%a", "/covered").out, "750\n")


@case()
def tmpcopyup_copies_what_it_covers(t):
    t.file("/covered/file", "below\n")
    t.file("/covered/dir/file", "deep\n", 0o600)
    t.mount("/covered", type="tmpfs", source="tmpfs", options=["tmpcopyup"])
    script = "cat /covered/file /covered/dir/file; stat -c %a /covered/dir/file; echo new > /covered/file"
    t.equal(t.sh(script).out, "below\ndeep\n600\n")
    t.equal(open(f"{t.rootfs}/covered/file").read(), "below\n")


@case(crun="1.8.1 makes no single mount shared")
def propagation(t):
    for option, field in (("shared", "shared:"), ("slave", ""), ("private", ""), ("unbindable", "unbindable")):
        t.config["mounts"] = [m for m in t.config["mounts"] if m["destination"] != "/mnt"]
        t.mount("/mnt", type="tmpfs", source="tmpfs", options=[option])
        _, fields = mountinfo(t, "/mnt")
        t.true(bool(fields) == bool(field) and "".join(fields).startswith(field), f"{option}: {fields}")


@case(crun="1.8.1 makes no single mount shared")
def recursive_propagation_of_a_bind(t):
    path = nested(t)
    try:
        t.mount("/mnt", type="bind", source=path, options=["rbind", "rshared"])
        for destination in ("/mnt", "/mnt/inner"):
            t.matches(" ".join(mountinfo(t, destination)[1]), "shared:")
    finally:
        drop(path)


@case()
def mounts_are_private_to_the_container_by_default(t):
    t.mount("/mnt", type="tmpfs", source="tmpfs")
    for destination in ("/mnt", "/proc", "/dev"):
        t.equal(mountinfo(t, destination)[1], [], destination)


@case()
def mounts_are_made_in_order(t):
    t.mount("/mnt", type="tmpfs", source="tmpfs")
    t.mount("/mnt/deep/inner", type="bind", source=source(t), options=["bind"])
    t.mount("/later", type="tmpfs", source="tmpfs")
    lines = t.run("cat", "/proc/self/mountinfo").out.splitlines()
    order = [line.split()[4] for line in lines]
    t.equal([d for d in order if d in ("/mnt", "/mnt/deep/inner", "/later")], ["/mnt", "/mnt/deep/inner", "/later"])


@case()
def a_later_mount_covers_an_earlier_one(t):
    t.mount("/mnt", type="bind", source=source(t), options=["bind"])
    t.mount("/mnt", type="tmpfs", source="tmpfs")
    t.equal(t.run("ls", "/mnt").out, "")


@case()
def a_destination_is_resolved_within_the_rootfs(t):
    os.makedirs(f"{t.rootfs}/real")
    os.symlink("/real", f"{t.rootfs}/absolute")
    os.symlink("../../../../real", f"{t.rootfs}/up")
    for link in ("/absolute/a", "/up/b"):
        t.mount(link, type="bind", source=source(t), options=["bind"])
    t.equal(t.run("cat", "/real/a/file", "/real/b/file").out, "content\ncontent\n")
    t.true(not os.path.exists("/real"), "the mount went to the host")


@case()
def a_destination_with_dots_stays_in_the_rootfs(t):
    t.mount("/../../mnt/../inside", type="bind", source=source(t), options=["bind"])
    t.equal(t.run("cat", "/inside/file").out, "content\n")


@case()
def a_source_may_be_a_link(t):
    os.symlink(source(t), f"{t.directory}/link")
    t.mount("/mnt", type="bind", source=f"{t.directory}/link", options=["bind"])
    t.equal(t.run("cat", "/mnt/file").out, "content\n")


@case(crun="allows it")
def a_bind_over_proc_is_refused(t):
    t.mount("/proc/sys", type="bind", source=source(t), options=["bind"])
    t.refused("/proc")


@case()
def proc_on_a_link_is_refused(t):
    os.rmdir(f"{t.rootfs}/proc")
    os.symlink("/etc", f"{t.rootfs}/proc")
    t.refused("proc")


@case()
def the_usual_file_systems(t):
    out = t.run("cat", "/proc/self/mountinfo").out
    for destination, kind in (("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")):
        t.matches(out, rf" {destination} .* - {kind} ")
    t.matches(out, r" /dev/mqueue .* - mqueue ")
    t.matches(out, r" /sys ro,.* - sysfs ")


@case()
def proc_shows_only_the_containers_processes(t):
    # Not in a pipe, whose other end may not be there yet.
    t.equal(t.sh("found=$(ls /proc); echo \"$found\" | grep -c '^[0-9]'").out, "2\n")


@case()
def the_cgroup_mount_shows_the_containers_groups(t):
    out = t.run("cat", "/proc/self/mountinfo").out
    t.matches(out, r" /sys/fs/cgroup(/\S+)? ro,.* - cgroup2? ")
    v1 = os.path.isdir("/sys/fs/cgroup/memory")
    file = "/sys/fs/cgroup/memory/cgroup.procs" if v1 else "/sys/fs/cgroup/cgroup.procs"
    t.equal(len(t.run("cat", file).out.split()), 1, "processes in the container's cgroup")


@case()
def nothing_of_the_host_is_mounted(t):
    out = t.run("cat", "/proc/self/mountinfo").out
    roots = [line.split()[4] for line in out.splitlines()]
    t.equal([d for d in roots if not re.match(r"^/($|proc|dev|sys)", d)], [])
