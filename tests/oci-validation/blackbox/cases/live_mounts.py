"""mounts add and remove: crun's, for a container that lives."""

import json
import os

from suite import case

RUNC = "has no such command"
CRUN = "the command came with 1.15"


def mounts(t, action, *list, code=0):
    return t.rt("mounts", action, t.id, t.file("mounts.json", json.dumps(list)), code=code)


def mounted(t, pid):
    """Destination and options of each, as the container sees them."""
    lines = [line.split() for line in open(f"/proc/{pid}/mountinfo")]
    return {fields[4]: fields[5].split(",") for fields in lines}


def bind(source, destination, *options):
    return {"destination": destination, "type": "bind", "source": source, "options": ["bind", *options]}


@case(runc=RUNC, crun=CRUN)
def a_bind_mount_is_added_and_removed(t):
    t.file("data/file", "from the host\n")
    pid = t.sleeper()
    before = mounted(t, pid)
    mounts(t, "add", bind(f"{t.directory}/data", "/made/here", "ro", "nosuid"))
    t.equal(t.exec(t.id, "cat", "/made/here/file").out, "from the host\n")
    t.exec(t.id, "touch", "/made/here/new", code=1)
    options = mounted(t, pid)["/made/here"]
    t.true({"ro", "nosuid"} <= set(options), options)
    mounts(t, "remove", {"destination": "/made/here"})
    t.equal(mounted(t, pid), before)
    t.equal(os.listdir(f"{t.rootfs}/made/here"), [])


@case(runc=RUNC, crun=CRUN)
def a_tmpfs_is_added(t):
    pid = t.sleeper()
    mounts(t, "add", {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=0711", "ro"]})
    t.matches(t.exec(t.id, "stat", "-c", "%a %T", "/scratch").out, r"^711 ")
    t.contains(mounted(t, pid)["/scratch"], "ro")


@case(runc=RUNC, crun=CRUN)
def a_file_is_bound_over_a_file(t):
    t.file("data", "new\n")
    t.file("/etc/answer", "old\n")
    t.sleeper()
    mounts(t, "add", bind(f"{t.directory}/data", "/etc/answer"))
    t.equal(t.exec(t.id, "cat", "/etc/answer").out, "new\n")
    mounts(t, "remove", {"destination": "/etc/answer"})
    t.equal(t.exec(t.id, "cat", "/etc/answer").out, "old\n")


@case(runc=RUNC, crun=CRUN)
def all_are_added_or_none(t):
    pid = t.sleeper()
    before = mounted(t, pid)
    tmpfs = {"destination": "/one", "type": "tmpfs", "source": "tmpfs"}
    said = mounts(t, "add", tmpfs, {"destination": "/two", "type": "tmpfs", "options": ["no-such=1"]}, code=1).said
    t.contains(said, "mounts[1]")
    said = mounts(t, "add", tmpfs, bind(f"{t.directory}/none", "/two"), code=1).said
    t.contains(said, "mounts[1].source")
    t.equal(mounted(t, pid), before)


@case(runc=RUNC, crun=CRUN)
def no_symlink_of_the_containers_leads_out(t):
    t.file("data/file", "x")
    outside = f"{t.directory}/outside"
    os.makedirs(outside)
    pid = t.sleeper(command=["sh", "-c", f"ln -s {outside} /link; ln -s /proc/self/fd /fds; exec sleep 1000"])
    t.until(lambda: os.path.islink(f"{t.rootfs}/fds"), "the links")
    mounts(t, "add", bind(f"{t.directory}/data", "/link"))
    t.equal(os.listdir(outside), [])
    t.equal(t.exec(t.id, "cat", f"{outside}/file").out, "x")
    mounts(t, "add", bind(f"{t.directory}/data", "/fds/3"), code=1)
    t.contains(mounts(t, "remove", {"destination": "/"}, code=1).said, "mounts[0].destination")
    t.true("/" in mounted(t, pid), "the root is gone")


@case(runc=RUNC, crun=CRUN)
def what_shows_the_hosts_namespaces_is_refused(t):
    t.sleeper()
    for kind in ("sysfs", "mqueue", "cgroup2"):
        said = mounts(t, "add", {"destination": "/shown", "type": kind, "source": kind}, code=1).said
        t.contains(said, "mounts[0].type")
    t.contains(mounts(t, "add", {"destination": "/proc", "type": "proc", "source": "proc"}, code=1).said, "mounts[0]")


@case(runc=RUNC, crun=CRUN)
def what_is_mounted_in_it_later_stays_inside(t):
    """An added mount is no peer of the host's."""
    t.file("data/sub/file", "x")
    pid = t.sleeper()
    mounts(t, "add", bind(f"{t.directory}/data", "/data", "rbind"))
    mounts(t, "add", {"destination": "/data/sub", "type": "tmpfs", "source": "tmpfs"})
    t.true("/data/sub" in mounted(t, pid), "not mounted")
    t.equal(os.listdir(f"{t.directory}/data/sub"), ["file"])
    t.equal([line for line in open("/proc/self/mountinfo") if f"{t.directory}/data" in line], [])


@case(runc=RUNC, crun=CRUN)
def a_filesystem_is_made_of_the_hosts_directories(t):
    """And not of those that the container has at these places: a device that it puts there would be the host's to open.
    Removed to see it fail: `mount::make` on the host's side (rootfs/live.rs), for one in the container."""
    lower = [t.file(f"{name}/file", "the host's\n").removesuffix("/file") for name in ("one", "two")]
    for directory in lower:
        t.file(f"{directory}/file", "the container's\n")
    t.sleeper()
    mounts(t, "add", {"destination": "/over", "type": "overlay", "source": "overlay", "options": [f"lowerdir={':'.join(lower)}"]})
    t.equal(t.exec(t.id, "cat", "/over/file").out, "the host's\n")
    mounts(t, "remove", {"destination": "/over"})


@case(runc=RUNC, crun=CRUN)
def no_symlink_leads_to_another_mount_of_the_containers(t):
    """One that hides or protects something would be changed, or taken away. Removed to see it fail: `resolve_plain` in
    `detach` and in `attach_one` (rootfs/live.rs)."""
    pid = t.sleeper(command=["sh", "-c", "ln -s /proc /link; exec sleep 1000"])
    t.until(lambda: os.path.islink(f"{t.rootfs}/link"), "the link")
    before = mounted(t, pid)
    t.true("ro" in before["/proc/sys"], before)
    said = mounts(t, "remove", {"destination": "/link/sys"}, code=1).said
    t.contains(said, "a symlink is on the way")
    said = mounts(t, "add", {"destination": "/link/sys", "options": ["remount", "rw"]}, code=1).said
    t.contains(said, "a symlink is on the way")
    t.equal(mounted(t, pid), before)


@case(runc=RUNC, crun=CRUN)
def what_cannot_stay_is_taken_back_behind_symlinks_too(t):
    t.file("data", "x\n")
    t.file("/deep/answer", "old\n")
    pid = t.sleeper(command=["sh", "-c", "ln -s /deep /link; exec sleep 1000"])
    t.until(lambda: os.path.islink(f"{t.rootfs}/link"), "the link")
    before = mounted(t, pid)
    tmpfs = {"destination": "/link/scratch", "type": "tmpfs", "source": "tmpfs"}
    file = bind(f"{t.directory}/data", "/link/answer")
    t.contains(mounts(t, "add", tmpfs, file, bind("/etc", "/link/answer"), code=1).said, "mounts[2]")
    t.equal(mounted(t, pid), before)


@case(runc=RUNC, crun=CRUN)
def mounts_want_a_container_that_lives_and_a_list(t):
    t.run("true", options=("--keep",))
    t.contains(mounts(t, "add", bind("/etc", "/x"), code=1).said, "not running")
    t.rt("mounts", "add", "no-such-container", t.file("list", "[]"), code=1)
    t.rt("delete", t.id)
    t.sleeper()
    t.contains(t.rt("mounts", "add", t.id, t.file("list", '{"a": 1}'), code=1).said, "list")
    t.contains(t.rt("mounts", "add", t.id, t.file("list", '[{"destination": 1}]'), code=1).said, "[0].destination")
    said = t.rt("mounts", "add", t.id, t.file("list", json.dumps([bind("/etc", "/x", "copy-symlink")])), code=1).said
    t.contains(said, "mounts[0].options")
    t.contains(t.rt("mounts", "move", t.id, t.file("list", "[]"), code=1).said, "move")
    t.rt("mounts", "remove", t.id, "-", text='[{"destination": "/etc"}]', code=1)
    t.rt("mounts", "add", t.id, "-", text="[]")
