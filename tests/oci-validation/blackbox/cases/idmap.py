"""Id-mapped mounts: `idmap`, `ridmap`, `uidMappings` and `gidMappings` of a mount."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile

from suite import Skipped, case

RUNC = "1.1.5 is older than id-mapped mounts"  # 1.5 passes, but for the words of errors and the list of features
RIDMAP = "1.8.1 does not know ridmap"
NOBODY = 65534


def maps(*ranges):
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in ranges]


def both(*ranges):
    return {"uidMappings": maps(*ranges), "gidMappings": maps(*ranges)}


BASIC = both((0, 100000, 65536))


def user_namespace(t, host=100000):
    t.linux["namespaces"].append({"type": "user"})
    t.linux.update(both((0, host, 65536)))
    for top, directories, files in os.walk(t.rootfs):
        for name in [".", *directories, *files]:
            os.lchown(os.path.join(top, name), host, host)
    # The ways into the bundle are open, as an engine leaves them.
    for path in (t.directory, t.bundle, t.rootfs):
        os.chmod(path, 0o755)


def capable(t, name):
    t.process["capabilities"] = {kind: [name] for kind in ("bounding", "effective", "permitted")}


def owned(t, name, **files):
    """A directory beside the bundle whose files belong to the given ids."""
    for file, owner in files.items():
        os.chown(t.file(f"{name}/{file}"), owner, owner + 1000 if owner else 0)
    return f"{t.directory}/{name}"


def tmpfs_can():
    """Whether the file system of the cases themselves, a tmpfs, can be mapped."""
    return tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 3)


def source(t, name, **files):
    """As `owned`, to be mapped."""
    if not tmpfs_can():
        raise Skipped("tmpfs has no id-mapped mounts before Linux 6.3")
    return owned(t, name, **files)


def owners(t, *paths, **more):
    return t.run("stat", "-c", "%u:%g", *paths, **more).out.split()


@case(runc=RUNC)
def files_belong_to_the_containers_ids(t):
    user_namespace(t)
    t.mount("/data", source=source(t, "data", root=0, user=7), options=["bind", "idmap"])
    t.equal(owners(t, "/data/root", "/data/user"), ["0:0", "7:1007"])


@case(runc=RUNC)
def maps_of_its_own_and_no_option(t):
    user_namespace(t)
    t.mount("/data", source=source(t, "data", one=0, two=300), options=["bind"], **both((0, 100500, 1), (300, 100600, 1), (1300, 100700, 1)))
    t.equal(owners(t, "/data/one", "/data/two"), ["500:500", "600:700"])


@case(runc=RUNC)
def without_a_user_namespace(t):
    data = source(t, "data", one=0)
    t.mount("/data", source=data, options=["bind"], **BASIC)
    t.mount("/plain", source=data, options=["bind"])
    t.equal(owners(t, "/data/one", "/plain/one"), ["100000:100000", "0:0"])


@case(runc=RUNC)
def what_is_written_belongs_to_the_files_ids(t):
    user_namespace(t)
    data = source(t, "data", one=0)
    t.mount("/data", source=data, options=["bind", "idmap"])
    capable(t, "CAP_CHOWN")
    t.sh("echo x >/data/new; chown 7:8 /data/new; echo y >>/data/one")
    new, one = os.stat(f"{data}/new"), os.stat(f"{data}/one")
    t.equal((new.st_uid, new.st_gid, one.st_uid, one.st_size), (7, 8, 0, 2))


@case(runc=RUNC)
def what_has_no_id_cannot_be_written(t):
    t.mount("/data", source=source(t, "data", one=0), options=["bind"], **BASIC)
    t.contains(t.run("touch", "/data/new", code=1).err, "Value too large")


@case(runc=RUNC)
def equal_and_different_maps_side_by_side(t):
    user_namespace(t)
    data = source(t, "data", one=0)
    for number, host in enumerate((100000, 101000, 100000, 102000)):
        t.mount(f"/m{number}", source=data, options=["bind"], **both((0, host, 10)))
    t.mount("/plain", source=data, options=["bind"])
    paths = [f"/m{number}/one" for number in range(4)]
    t.equal(owners(t, *paths, "/plain/one"), ["0:0", "1000:1000", "0:0", "2000:2000", f"{NOBODY}:{NOBODY}"])


@case(runc=RUNC)
def a_single_file(t):
    user_namespace(t)
    t.mount("/one", source=source(t, "data", one=3) + "/one", options=["bind", "idmap"])
    t.equal(owners(t, "/one"), ["3:1003"])


@contextlib.contextmanager
def tree(t):
    """A directory with another file system below it."""
    top, below = source(t, "top", one=0), f"{t.directory}/top/below"
    os.mkdir(below)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "t", below], check=True)
    open(f"{below}/one", "w").close()
    try:
        yield top
    finally:
        subprocess.run(["umount", "--lazy", below], check=True)


@case(runc=RUNC, crun=RIDMAP)
def idmap_is_one_level_and_ridmap_all(t):
    user_namespace(t)
    with tree(t) as top:
        t.mount("/one", source=top, options=["rbind", "idmap"])
        t.mount("/all", source=top, options=["rbind", "ridmap"])
        t.mount("/own", source=top, options=["rbind", "idmap", "ridmap"], **both((0, 100005, 1)))
        seen = owners(t, "/one/one", "/one/below/one", "/all/one", "/all/below/one", "/own/below/one")
        t.equal(seen, ["0:0", f"{NOBODY}:{NOBODY}", "0:0", "0:0", "5:5"])


@case(runc=RUNC, crun=RIDMAP)
def with_read_only_and_its_family(t):
    user_namespace(t)
    with tree(t) as top:
        t.mount("/ro", source=top, options=["rbind", "idmap", "ro"])
        t.mount("/rro", source=top, options=["rbind", "ridmap", "rro", "rnosuid", "rnodev"])
        script = "for d in /ro /rro /rro/below; do touch $d/x 2>/dev/null && echo $d; done; stat -c %u /ro/one /rro/below/one"
        t.equal(t.sh(script).out, "0\n0\n")
        mounts = t.run("cat", "/proc/self/mounts").out
        t.matches(mounts, r"^\S+ /rro/below tmpfs ro,nosuid,nodev,.*")


@case(runc=RUNC, crun="1.8.1 leaves it private")
def with_propagation(t):
    user_namespace(t)
    data = source(t, "data", one=0)
    for kind in ("shared", "rslave", "private"):
        t.mount(f"/{kind}", source=data, options=["bind", "idmap", kind])
    lines = t.run("cat", "/proc/self/mountinfo").out
    t.matches(lines, r" /shared .* shared:\d+ ")
    t.lacks(t.matches(lines, r" /private .*").group(), "shared:")


@case(runc=RUNC)
def behind_a_directory_that_is_closed(t):
    user_namespace(t)
    data = source(t, "closed/data", one=0)
    os.chmod(f"{t.directory}/closed", 0o700)
    t.mount("/data", source=data, options=["bind", "idmap"])
    t.equal(owners(t, "/data/one"), ["0:0"])


@case(crun="1.8.1 lets nothing be mounted below it")
def a_closed_source_is_bound_and_nothing_comes_back(t):
    """Without a map: what the parent fetches for the container is as if the container had bound it."""
    user_namespace(t)
    data = owned(t, "closed/data", one=0)
    os.mkdir(f"{data}/sub", 0o777)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,nodev", "t", f"{data}/sub"], check=True)
    try:
        subprocess.run(["mount", "--make-shared", f"{data}/sub"], check=True)
        os.mkdir(f"{data}/sub/deep")
        os.chmod(f"{t.directory}/closed", 0o700)
        t.mount("/data", source=data, options=["rbind"])
        capable(t, "CAP_SYS_ADMIN")
        script = "mount -t tmpfs t /data/sub/deep && echo mounted; mount -o remount,bind,dev /data/sub || echo locked"
        t.equal(t.sh(script).out, "mounted\nlocked\n")
        t.lacks(open("/proc/self/mountinfo").read(), "/sub/deep")
    finally:
        subprocess.run(["umount", "--lazy", f"{data}/sub"], check=True)


@case(runc=RUNC, crun="1.8.1 opens sources before it mounts any")
def a_source_in_an_earlier_mount_of_the_container(t):
    for users in (False, True):
        if users:
            user_namespace(t)
        t.config["mounts"] = [m for m in t.config["mounts"] if not m["destination"].startswith("/m")]
        t.mount("/mnt", source=source(t, "data", one=0), options=["bind"])
        t.mount("/mapped", source=f"{t.rootfs}/mnt", options=["bind"], **both((0, 100003, 1)))
        t.equal(owners(t, "/mapped/one"), ["3:3" if users else "100003:100003"])


@case(runc=RUNC)
def nothing_outside_is_chowned(t):
    user_namespace(t)
    data = source(t, "data", root=0, user=7, stranger=70000)
    before = [os.stat(f"{data}/{name}") for name in sorted(os.listdir(data))]
    t.mount("/data", source=data, options=["bind", "idmap"])
    t.mount("/plain", source=data, options=["bind"])
    t.equal(owners(t, "/data/stranger", "/plain/root"), [f"{NOBODY}:{NOBODY}", f"{NOBODY}:{NOBODY}"])
    after = [os.stat(f"{data}/{name}") for name in sorted(os.listdir(data))]
    t.equal([(s.st_uid, s.st_gid, s.st_ctime_ns) for s in after], [(s.st_uid, s.st_gid, s.st_ctime_ns) for s in before])


@case(runc=RUNC, crun="1.8.1 lowers the limit before it has closed its own")
def no_descriptor_and_no_process_is_left(t):
    user_namespace(t)
    data = source(t, "data", one=0)
    for number in range(20):
        t.mount(f"/m{number}", source=data, options=["bind", "idmap"])
    t.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 8, "hard": 8}]
    t.equal(t.sh("ls /proc/self/fd | wc -l; stat -c %u /m19/one").out, "4\n0\n")
    t.none_left()


@contextlib.contextmanager
def disk(t, kind):
    """A file system of this kind, in a file."""
    make = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"]}[kind]
    if not shutil.which(make[0]):
        raise Skipped(f"{make[0]} is not installed")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        image, path = f"{directory}/image", f"{directory}/{kind}"
        os.mkdir(path)
        os.chmod(directory, 0o755)
        with open(image, "w") as file:
            file.truncate(320 << 20)
        subprocess.run([*make, image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, path]).returncode:
            raise Skipped(f"{kind} cannot be mounted here")
        try:
            yield path
        finally:
            subprocess.run(["umount", path], check=True)


def maps_on(t, path):
    os.mkdir(f"{path}/data")
    os.chmod(path, 0o755)
    for name, owner in (("root", 0), ("user", 7)):
        open(f"{path}/data/{name}", "w").close()
        os.chown(f"{path}/data/{name}", owner, owner)
    user_namespace(t)
    t.mount("/data", source=f"{path}/data", options=["bind", "ridmap"])
    t.equal(t.sh("touch /data/new && stat -c %u:%g /data/root /data/user /data/new").out, "0:0\n7:7\n0:0\n")
    t.equal(os.stat(f"{path}/data/new").st_uid, 0)


@case(runc=RUNC, crun=RIDMAP)
def on_ext4(t):
    with disk(t, "ext4") as path:
        maps_on(t, path)


@case(runc=RUNC, crun=RIDMAP)
def on_xfs(t):
    with disk(t, "xfs") as path:
        maps_on(t, path)


@case(runc=RUNC, crun=RIDMAP)
def on_btrfs(t):
    with disk(t, "btrfs") as path:
        maps_on(t, path)


@contextlib.contextmanager
def overlay(t):
    paths = [t.directory + "/" + name for name in ("lower", "upper", "work", "merged")]
    for path in paths:
        os.mkdir(path)
    lower, upper, work, merged = paths
    open(f"{lower}/one", "w").close()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", merged], check=True)
    t.before.mounts.append(merged)
    try:
        yield merged
    finally:
        subprocess.run(["umount", "--lazy", merged], check=True)


@case(runc=RUNC, crun="says the call and EINVAL, not the file system")
def a_file_system_without_them_is_named(t):
    user_namespace(t)
    with overlay(t) as merged:
        t.mount("/data", source=merged, options=["bind", "idmap"])
        t.refused("mounts[", ".source: ", merged, "overlayfs has no id-mapped mounts on this kernel", "ext4, xfs, btrfs or tmpfs")
        if tmpfs_can():
            t.config["mounts"][-1] = {"destination": "/data", "source": t.directory, "options": ["rbind", "ridmap"]}
            t.refused("a file system that is mounted below the source has no id-mapped mounts")
        t.linux["namespaces"] = [n for n in t.linux["namespaces"] if n["type"] != "user"]
        t.linux.pop("uidMappings"), t.linux.pop("gidMappings")
        t.config["mounts"][-1] = {"destination": "/data", "source": merged, "options": ["bind"], **BASIC}
        t.refused("overlayfs has no id-mapped mounts on this kernel")


@case(runc=RUNC, crun="1.8.1 takes the maps in the option alone")
def what_is_missing_or_contradicts_is_told(t):
    data = source(t, "data", one=0)
    bind = {"destination": "/data", "source": data}
    index = len(t.config["mounts"])
    t.config["mounts"].append({})
    for mount, word in (
        ({**bind, "options": ["bind", "idmap"]}, f"mounts[{index}].uidMappings: is missing"),
        ({**bind, "options": ["bind"], "gidMappings": maps((0, 1, 1))}, f"mounts[{index}].uidMappings: is missing"),
        ({**bind, "options": ["bind", "ridmap"], "uidMappings": maps((0, 1, 1))}, f"mounts[{index}].gidMappings: is missing"),
        ({"destination": "/data", "type": "tmpfs", "options": ["idmap"]}, "only a bind mount can be id-mapped"),
        ({"destination": "/data", "type": "tmpfs", **BASIC}, "only a bind mount can be id-mapped"),
        ({**bind, "options": ["bind"], **both((0, 1, 0))}, f"mounts[{index}].uidMappings[0]"),
        ({**bind, "options": ["bind"], **both((0, 5, 3), (2, 9, 3))}, f"mounts[{index}].uidMappings[1]: it overlaps"),
        ({**bind, "source": "/nope", "options": ["bind"], **BASIC}, f"mounts[{index}].source"),
    ):
        t.config["mounts"][-1] = mount
        t.refused(word)


@case(runc=RUNC, crun="1.8.1 has fewer options in the list")
def features_name_them(t):
    features = json.loads(t.rt("features").out)
    t.equal(features["linux"]["mountExtensions"]["idmap"]["enabled"], True)
    for option in ("idmap", "ridmap"):
        t.contains(features["mountOptions"], option)


@case(runc="its own form is uidMappings and gidMappings", crun="1.8.1 reads the @ in another way")
def maps_in_the_form_of_crun(t):
    user_namespace(t)
    data = source(t, "data", one=0, two=20)
    t.mount("/data", source=data, options=["bind", "idmap=uids=0-100001-1#20-100040-10;gids=0-100002-1#1020-100050-1"])
    t.mount("/relative", source=data, options=["rbind", "ridmap=uids=@0-5-1;gids=@0-6-1"])
    t.equal(owners(t, "/data/one", "/data/two", "/relative/one"), ["1:2", "40:50", "5:6"])
    t.config["mounts"][-1]["options"] = ["bind", "idmap=uids=0-1"]
    t.refused()


@case(runc=RUNC)
def maps_that_repeat_the_containers(t):
    user_namespace(t)
    t.mount("/data", source=source(t, "data", root=0, user=7), options=["bind"], **BASIC)
    t.equal(owners(t, "/data/root", "/data/user"), ["0:0", "7:1007"])
