"""Cases: images that buildah builds, and trees as skopeo and GNU tar have them. Registered in unpack.py."""

import contextlib
import json
import os
import shutil
import tarfile

import oci

CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)  # cap_net_raw
PREFIX, OPAQUE = ".wh.", ".wh..wh..opq"
TAR = ["tar", "--extract", "--preserve-permissions", "--same-owner", "--numeric-owner", "--delay-directory-restore",
       "--xattrs", "--xattrs-include=*", f"--exclude={PREFIX}*"]


# -- skopeo and GNU tar

def skopeo_and_tar(context, source):
    """The tree of an image as skopeo copies it and GNU tar extracts its layers, one upon the other; whiteouts applied here."""
    folder, target = context.path("dir"), context.path("tar")
    oci.run("skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"dir:{folder}")
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        layers = json.load(file)["layers"]
    os.mkdir(target, 0o755)
    for layer in layers:
        apply(os.path.join(folder, layer["digest"].split(":")[1]), target)
    return oci.tree(target)


def apply(archive, target):
    with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as tar:
        members = {os.path.normpath(member.name): member for member in tar}
    before = {folder: os.lstat(folder).st_mtime_ns for folder, _, _ in os.walk(target)}
    for name, member in members.items():
        make_room(target, name, member)
    oci.run(*TAR, "--directory", target, "--file", archive)
    # A layer that does not describe a directory leaves its time alone.
    for path, nanoseconds in before.items():
        if os.path.relpath(path, target) not in members and is_directory(path):
            os.utime(path, ns=(nanoseconds, nanoseconds))


def make_room(target, name, member):
    """Removes what a whiteout takes away, or what an entry of another kind replaces."""
    folder, base = os.path.split(os.path.join(target, name))
    assert os.path.realpath(folder).startswith(os.path.realpath(target)), f"{name} would be out of the tree"
    if base == OPAQUE:
        for entry in os.listdir(folder) if os.path.isdir(folder) else ():
            remove(os.path.join(folder, entry))
    elif base.startswith(PREFIX):
        remove(os.path.join(folder, base[len(PREFIX):]))
    elif name != "." and not (member.isdir() and is_directory(os.path.join(folder, base))):
        remove(os.path.join(folder, base))


def is_directory(path):
    return os.path.isdir(path) and not os.path.islink(path)


def remove(path):
    if is_directory(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def same_tree_as_tar(context, layout, target, implied):
    """`target`, unpacked by us, beside what skopeo and GNU tar make of the layout; `implied` are directories of no layer."""
    same(oci.tree(target), skopeo_and_tar(context, f"oci:{layout}:latest"), implied)


def same(ours, theirs, implied):
    for tree in (ours, theirs):
        for path in implied:
            for key in ("mtime", "mode"):
                tree.get(path, {}).pop(key, None)
    lines = oci.differences(ours, theirs)
    assert not lines, "\n".join(lines[:40])


# -- buildah

class Buildah:
    """buildah with storage of its own."""

    def __init__(self, work, driver):
        self.command = ["buildah", "--root", os.path.join(work, "root"), "--runroot", os.path.join(work, "run"), "--storage-driver", driver]

    def __call__(self, *args):
        return oci.run(*self.command, *args, timeout=120).strip()

    @contextlib.contextmanager
    def container(self, base, image):
        """A working container of `base`: gives its name and its mounted root, and commits it as `image`."""
        name = self("from", "--pull-never", base) if base != "scratch" else self("from", base)
        try:
            yield name, self("mount", name)
            self("umount", name)
            self("commit", "--quiet", name, image)
        finally:
            self("rm", name)


CONFIG = ["--user", "web:log", "--env", "A=b c", "--entrypoint", '["/bin/sh", "-c"]', "--cmd", "id", "--workingdir", "/srv/web",
          "--volume", "/srv/data", "--stop-signal", "SIGQUIT"]


def write(root, name, data=b"", mode=0o644, ids=(0, 0), mtime=1_000_000_000_123_456_789):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.chown(path, *ids)
    os.chmod(path, mode)
    os.utime(path, ns=(mtime, mtime))
    return path


def first_layer(root, files):
    """Written into the mounted root; `files` is a directory for `buildah copy`."""
    write(root, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
    write(root, "etc/group", b"root:x:0:\nlog:x:4:\n", ids=(0, 42), mode=0o640)
    write(root, "gone/a")
    write(root, "removed")
    write(root, "opaque/sub/lower", b"l")
    write(root, "opaque/lower", b"l")
    write(root, "replaced/x")
    write(root, "srv/data/seed", b"seed", ids=(33, 34))
    os.makedirs(os.path.join(root, "tmp"))
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    os.link(write(files, "su", b"su", mode=0o4755), os.path.join(files, "su2"))
    os.symlink("su", os.path.join(files, "link"))
    os.setxattr(write(files, "ping", b"p", mode=0o755, ids=(7, 8)), "security.capability", CAPABILITY)


def second_layer(root):
    shutil.rmtree(os.path.join(root, "gone"))
    os.unlink(os.path.join(root, "removed"))
    shutil.rmtree(os.path.join(root, "opaque"))
    write(root, "opaque/upper", b"u")
    shutil.rmtree(os.path.join(root, "replaced"))
    write(root, "replaced", b"now a file")
    os.link(write(root, "bin/busy", b"b", mode=0o755), os.path.join(root, "bin/box"))
    os.setxattr(write(root, "bin/ping", b"p2", mode=0o755), "security.capability", CAPABILITY)
    os.mknod(os.path.join(root, "null"), 0o20666, os.makedev(1, 3))


def build(context, driver):
    """An image of three layers by buildah, pushed to the registry; gives its name."""
    work, files = context.path(f"buildah-{driver}"), context.path("files")
    os.mkdir(files)
    buildah, number = Buildah(work, driver), context.number
    with buildah.container("scratch", "one") as (name, root):
        first_layer(root, files)
        buildah("copy", name, files, "/usr/bin")
    with buildah.container("localhost/one", "two") as (name, root):
        second_layer(root)
        if driver == "vfs":  # which has whiteouts only; overlay says it by itself
            write(root, "opaque/" + OPAQUE)
    with buildah.container("localhost/two", "three") as (name, root):
        buildah("config", *CONFIG, name)
        write(root, "gone/again", b"g")
        write(root, "etc/added", b"a")
    image = f"{context.address}/buildah{number}:latest"
    buildah("push", "--quiet", "--tls-verify=false", "three", f"docker://{image}")
    return image


def layer_names(context, layout):
    """What the layers of a layout have, by name."""
    names = []
    for layer in json.loads(oci.run("skopeo", "inspect", "--raw", f"oci:{layout}:latest"))["layers"]:
        with tarfile.open(os.path.join(layout, "blobs", *layer["digest"].split(":"))) as tar:
            names.append({os.path.normpath(member.name) for member in tar})
    return names


def built_by_buildah(context, driver):
    image = build(context, driver)
    layout, umoci, target = context.path("layout"), context.path("umoci"), context.path("unpacked")
    oci.run("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{image}", f"oci:{layout}:latest")
    names = layer_names(context, layout)
    assert len(names) == 3 and {".wh.gone", ".wh.removed", "opaque/" + OPAQUE} <= names[1], names
    context.image("pull", "--quiet", image)
    context.image("unpack", image, target)
    ours = oci.tree(target)
    assert ours[b"usr/bin/ping"]["xattrs"] == {"security.capability": CAPABILITY} and b"opaque/lower" not in ours and b"removed" not in ours
    same_tree_as_tar(context, layout, target, [b"."])  # no layer describes the root
    oci.run("umoci", "unpack", "--image", f"{layout}:latest", umoci)
    same(ours, oci.tree(os.path.join(umoci, "rootfs")), [b"."])
    with context.bundle(image) as bundle:
        same(oci.tree(os.path.join(bundle, "rootfs")), ours, [b"."])
        with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
            spec = json.load(file)
        configured(spec, bundle)


def configured(spec, bundle):
    """What `buildah config` asked for."""
    process = spec["process"]
    assert process["user"]["uid"] == 33 and process["user"]["gid"] == 4 and process["args"] == ["/bin/sh", "-c", "id"], process
    assert "A=b c" in process["env"] and process["cwd"] == "/srv/web", process
    assert spec["annotations"]["org.opencontainers.image.stopSignal"] == "SIGQUIT", spec
    assert "/srv/data" in [mount["destination"] for mount in spec["mounts"]], spec["mounts"]
    volume = os.path.join(bundle, "volumes", "0", "seed")
    look = os.stat(volume)
    assert (look.st_uid, look.st_gid, look.st_size) == (33, 34, 4), look


def case_built_by_buildah_with_vfs(context):
    built_by_buildah(context, "vfs")


def case_built_by_buildah_with_overlay(context):
    built_by_buildah(context, "overlay")

