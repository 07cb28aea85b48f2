#!/usr/bin/env python3
"""Unpacking, black-box: images by hand, of this machine's files and by buildah (peers.py), the trees compared entry by entry
with umoci's and GNU tar's; bundles run with creel, runc and crun, and by `creel-image run` on a terminal (running.py), without root and with mapped ids (rootless.py); hostile
layers in a release build's time. usage: unpack.py DIRECTORY [PATTERN]; DIRECTORY has creel-image and creel. The last line is
`unpack: N passed, N failed`."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tarfile
import time
import traceback

import oci
import peers
import rootless
import running
from oci import Layer

CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)  # cap_net_raw, as getcap(8) shows it


class Context:
    def __init__(self, bin_dir, work):
        self.tool, self.creel = os.path.join(bin_dir, "creel-image"), os.path.join(bin_dir, "creel")
        self.work, self.store, self.number, self.address = work, os.path.join(work, "store"), 0, None

    def image(self, *args, **more):
        return oci.run(self.tool, "--store", self.store, *args, **more)

    def fails(self, *args):
        done = subprocess.run([self.tool, "--store", self.store, *args], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1, f"{args}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stderr

    def path(self, name):
        self.number += 1
        return os.path.join(self.work, f"{self.number}-{name}")

    def pulled(self, layers, config=None):
        """Makes an image, pushes and pulls it; gives its name and its layout."""
        path = self.path("layout")
        oci.layout(path, layers, config)
        name = f"t{self.number}"
        oci.push(path, self.address, name)
        name = f"{self.address}/{name}"
        self.image("pull", "--quiet", name)
        return name, path

    @contextlib.contextmanager
    def bundle(self, name, *args):
        path = self.path("bundle")
        options, command = args[:args.index("--")] if "--" in args else args, args[args.index("--") + 1:] if "--" in args else ()
        self.image("bundle", *options, name, path, *command)
        try:
            yield path
        finally:
            self.image("unbundle", path)
            assert not os.path.exists(path)


def features(how="gzip"):
    """Two layers, and a third, with all that layers can have."""
    one = (Layer().directory("./", mtime=900_000_000).directory("etc").directory("tmp", mode=0o1777).directory("root", mode=0o700)
           .add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n").add("etc/shadow", b"x", mode=0o640, ids=(0, 42))
           .add("etc/fraction", b"f", mtime=1_234_567_890.123456).add("etc/old", b"o", mtime=-1000)
           .directory("bin").add("bin/su", b"su", mode=0o4755).add("bin/wall", b"w", mode=0o2755, ids=(0, 5))
           .add("bin/ping", b"p", mode=0o755, ids=(7, 8), xattrs={"security.capability": CAPABILITY})
           .hardlink("bin/ping6", "bin/ping").symlink("bin/sh", "su", ids=(3, 4)).hardlink("bin/ash", "bin/sh")
           .directory("mail", mode=0o2775, ids=(0, 8)).add("mail/inbox", b"m", ids=(1000, 1000))
           .add("user-xattr", b"x", xattrs={"user.note": b"n\xc3\xa9\n=", "user.empty": b""})
           .directory("dev").add("dev/null", kind=tarfile.CHRTYPE, mode=0o666, device=(1, 3))
           .add("dev/sda", kind=tarfile.BLKTYPE, mode=0o660, ids=(0, 6), device=(8, 0)).add("dev/pipe", kind=tarfile.FIFOTYPE, mode=0o600)
           .directory("gone").add("gone/a", b"").add("gone/b/c", b"c").add("removed", b"r")
           .directory("opaque").add("opaque/lower", b"l").directory("opaque/sub").add("opaque/sub/lower", b"l")
           .directory("file-to-dir-to-be").add("dir-to-be", b"f").directory("file-to-be").add("file-to-be/x", b"x")
           .symlink("link-to-dir", "etc").add("n" * 150 + "/" + "m" * 200, b"long").add("caf\udce9", b"latin-1"))
    two = (Layer().add(".wh.gone").add(".wh.removed").add("opaque/.wh..wh..opq").add("opaque/upper", b"u")
           .add("tmp/file", b"t").add("root/.profile", b"p")  # without the directories: they stay 1777 and 0700
           .directory("dir-to-be").add("dir-to-be/now", b"d").add("file-to-be", b"now a file").add("etc/added", b"a"))
    three = (Layer().directory("gone").add("gone/again", b"g").add("etc/.wh.added").add("etc/shadow", b"y", mode=0o600)
             .directory("etc", mode=0o751, mtime=1_100_000_000).add("deep/er/file", b"d"))
    return [(layer.bytes(), how) for layer in (one, two, three)]


def umoci(context, path):
    """The tree that umoci makes of a layout."""
    bundle = context.path("umoci")
    oci.run("umoci", "unpack", "--image", f"{path}:latest", bundle)
    return oci.tree(os.path.join(bundle, "rootfs"))


def without_implied(tree, paths):
    """Without the times of directories that no layer describes: they are whatever the tool wants."""
    for path in paths:
        for key in ("mtime", "mode"):
            tree.get(path, {}).pop(key, None)
    return tree


# What no layer of `features` describes, and whose times therefore tools choose; umoci also touches these two parents.
IMPLIED = [b"gone/b", b"deep", b"deep/er", b"n" * 150]


def case_same_tree_as_umoci(context):
    name, path = context.pulled(features())
    theirs = without_implied(umoci(context, path), IMPLIED)
    target = context.path("unpacked")
    context.image("unpack", name, target)
    peers.same_tree_as_tar(context, path, target, IMPLIED)
    copied = without_implied(oci.tree(target), IMPLIED)
    # Go takes an empty value as none at all (GNU tar does not), and umoci touches the root at the end.
    assert copied[b"user-xattr"]["xattrs"].pop("user.empty") == b"" and copied[b"."].pop("mtime") == 900_000_000 * 10**9
    theirs[b"."].pop("mtime")
    lines = oci.differences(copied, theirs)
    assert not lines, "\n".join(lines)
    copied = without_implied(oci.tree(target), IMPLIED)
    with context.bundle(name) as bundle:
        overlay = without_implied(oci.tree(os.path.join(bundle, "rootfs")), IMPLIED)
        assert not oci.differences(overlay, copied), "\n".join(oci.differences(overlay, copied))
    with context.bundle(name, "--copy") as bundle:
        again = without_implied(oci.tree(os.path.join(bundle, "rootfs")), IMPLIED)
        assert not oci.differences(again, copied), "\n".join(oci.differences(again, copied))


def case_same_tree_for_every_compression(context):
    trees = []
    for how in ("gzip", "zstd", "plain"):
        name, _ = context.pulled(features(how))
        # A store of its own, or the layer would be there already.
        store = context.path("store")
        oci.run(context.tool, "--store", store, "pull", "--quiet", name)
        target = context.path(how)
        oci.run(context.tool, "--store", store, "unpack", name, target)
        trees.append(oci.tree(target))
    assert not oci.differences(trees[0], trees[1]) and not oci.differences(trees[0], trees[2])


def case_a_debian_as_umoci_has_it(context):
    """Real files: what this machine's packages put into /usr/share, /usr/lib and /etc, by GNU tar, with sparse files and xattrs."""
    layers = []
    for folders in (["usr/share/doc/libc6", "usr/share/zoneinfo", "usr/share/perl5", "etc"], ["usr/bin", "usr/sbin"]):
        present = [folder for folder in folders if os.path.isdir("/" + folder)]
        command = ["tar", "--format=posix", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--no-recursion", "-C", "/", "-c", "-T", "-"]
        files = subprocess.run(["find", *present, "-xdev"], cwd="/", capture_output=True, check=True).stdout
        layers.append((subprocess.run(command, input=b"usr\n" + files, stdout=subprocess.PIPE, check=True).stdout, "gzip"))
    name, path = context.pulled(layers)
    theirs = umoci(context, path)
    target = context.path("unpacked")
    context.image("unpack", name, target)
    ours = oci.tree(target)
    implied = [b".", b"usr/share", b"usr/share/doc"]
    peers.same_tree_as_tar(context, path, target, implied)
    lines = oci.differences(without_implied(ours, implied), without_implied(theirs, implied))
    assert len(ours) > 1000 and not lines, "\n".join(lines[:40])


def case_sparse_files_keep_their_holes(context):
    folder = context.path("sparse")
    os.mkdir(folder)
    with open(os.path.join(folder, "file"), "wb") as file:
        file.write(b"begin")
        file.seek(1 << 30)
        file.write(b"middle")
        file.truncate(4 << 30)
    for options in (["--format=gnu"], ["--format=posix", "--sparse-version=0.1"], ["--format=posix", "--sparse-version=1.0"]):
        archive = subprocess.run(["tar", "-C", folder, "-S", *options, "-c", "file"], stdout=subprocess.PIPE, check=True).stdout
        name, _ = context.pulled([(archive, "gzip")])
        for form in ((), ("--copy",)):
            with context.bundle(name, *form) as bundle:
                path = os.path.join(bundle, "rootfs", "file")
                look = os.stat(path)
                assert (look.st_size, look.st_blocks < 100) == (4 << 30, True), look
                with open(path, "rb") as file:
                    assert file.read(5) == b"begin"
                    file.seek(1 << 30)
                    assert file.read(6) == b"middle"


def busybox():
    path = shutil.which("busybox")
    with open(path, "rb") as file:
        program = file.read()
    return (Layer().directory("bin").add("bin/busybox", program, mode=0o755).symlink("bin/sh", "busybox").symlink("bin/id", "busybox")
            .symlink("bin/cat", "busybox").symlink("bin/echo", "busybox").symlink("bin/true", "busybox").symlink("bin/sleep", "busybox")
            .directory("proc").directory("dev").directory("sys").directory("etc").directory("tmp", mode=0o1777).directory("data", ids=(33, 33))
            .add("data/seed", b"seed", ids=(33, 33)).add("etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n")
            .add("etc/group", b"root:x:0:\nweb:x:34:\nvideo:x:44:web,root\naudio:x:29:other\nlog:x:4:web\n"))


def runtimes(context):
    wrap = ["unshare", "-m", "--propagation", "private", "sh", "-c"]
    yield "creel", lambda bundle, name: oci.run(context.creel, "run", "-b", bundle, name, timeout=60)
    if shutil.which("runc"):
        yield "runc", lambda bundle, name: oci.run("runc", "run", "-b", bundle, name, timeout=60)
    if shutil.which("crun"):
        # crun refuses hybrid cgroups, and believes that they are v1 if it cannot see the second hierarchy's controllers. And it
        # would give the machine's /dev/null to the container's root, were that its input.
        hide = 'f=/sys/fs/cgroup/unified/cgroup.controllers; [ ! -e $f ] || mount --bind /dev/null $f; true | crun run -b "$0" "$1"'
        yield "crun", lambda bundle, name: oci.run(*wrap, hide, bundle, name, timeout=60)


def case_bundles_run_with_every_runtime(context):
    config = {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id; echo $A $HOME; cat /data/seed; echo kept > /data/new"], "User": "web", "Env": ["A=b"],
              "WorkingDir": "/data", "Volumes": {"/data": {}}, "Labels": {"run.oci.hooks.stdout": "/tmp/x"}, "StopSignal": "SIGQUIT"}
    name, _ = context.pulled([(busybox().bytes(), "gzip")], config)
    for number, (what, run) in enumerate(runtimes(context)):
        with context.bundle(name) as bundle:
            with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
                spec = json.load(file)
            assert spec["annotations"]["org.opencontainers.image.stopSignal"] == "SIGQUIT" and "run.oci" not in str(spec["annotations"])
            out = run(bundle, f"creel-unpack-{os.getpid()}-{number}")
            assert "uid=33(web) gid=34(web) groups=" in out, f"{what}: {out}"
            groups = out.split("groups=")[1].split()[0].split(",")
            assert sorted(groups) == ["34(web)", "4(log)", "44(video)"], f"{what}: {out}"
            assert "b /srv" in out and "seed" in out, f"{what}: {out}"
            assert os.path.exists(os.path.join(bundle, "volumes", "0", "new")) and not os.path.exists(os.path.join(bundle, "upper", "data", "new"))


def case_users_are_never_root_by_accident(context):
    name, _ = context.pulled([(busybox().bytes(), "gzip")])
    wanted = {"1": (1, 0, [0]), "web": (33, 34, [34, 44, 4]), "33": (33, 34, [34]), "web:video": (33, 44, [44]), "": (0, 0, [0, 44]), "33:7": (33, 7, [7]),
              "2147483648": (2147483648, 0, [0]), "4294967294": (4294967294, 0, [0])}
    for text, (uid, gid, groups) in wanted.items():
        with context.bundle(name, *(["--user", text] if text else [])) as bundle:
            with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
                assert json.load(file)["process"]["user"] == {"uid": uid, "gid": gid, "additionalGids": groups}, text
    for text in ("4294967295", "4294967296", "-1", "+0", "18446744073709551616", "nobody", "web:nogroup", "1:4294967296"):
        error = context.fails("bundle", f"--user={text}", name, context.path("refused"))
        assert text.split(":")[-1] in error or text in error, error
    assert not [entry for entry in os.listdir(context.work) if entry.endswith("refused")]


def case_group_and_passwd_files_that_attack(context):
    for what, member in {
        "a fifo": Layer().directory("etc").add("etc/passwd", kind=tarfile.FIFOTYPE),
        "a huge file": Layer().directory("etc").add("etc/passwd", b"a" * (20 << 20)),
        "a device": Layer().directory("etc").add("etc/passwd", kind=tarfile.CHRTYPE, device=(1, 5)),
    }.items():
        name, _ = context.pulled([(member.bytes(), "gzip")])
        begin = time.monotonic()
        error = context.fails("bundle", "--user", "x", name, context.path("refused"))
        assert "/etc/passwd" in error and time.monotonic() - begin < 5, f"{what}: {error}"
    # A link out of the image ends in the image.
    name, _ = context.pulled([(Layer().directory("etc").symlink("etc/passwd", "/../../../etc/passwd").bytes(), "gzip")])
    assert "not in the image" in context.fails("bundle", "--user", "daemon", name, context.path("refused"))


def case_ten_bundles_cost_nothing(context):
    layers = [(Layer().add(f"file{number}", os.urandom(8 << 20)).bytes(), "plain") for number in range(3)]
    name, _ = context.pulled(layers)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(context.bundle(name))
        begin = time.monotonic()
        bundles = [stack.enter_context(context.bundle(name)) for _ in range(10)]
        took = time.monotonic() - begin
        used = int(oci.run("du", "-skx", *bundles, "--total").split()[-2])
        assert used < 10 * 64 and took < 5, f"{used} KiB, {took} s"
        assert os.path.getsize(os.path.join(bundles[-1], "rootfs", "file0")) == 8 << 20
        with open(os.path.join(first, "rootfs", "file0"), "r+b") as file:
            file.write(b"changed")
        with open(os.path.join(bundles[0], "rootfs", "file0"), "rb") as file:
            assert file.read(7) != b"changed"
        print(f"     ten bundles of 24 MiB: {used} KiB and {took:.2f} s together")


def case_bundles_keep_what_they_need(context):
    name, _ = context.pulled([(busybox().bytes(), "gzip")])
    with context.bundle(name, "--", "/bin/echo", "alive") as bundle:
        context.image("rm", name)
        context.image("gc")
        assert "alive" in oci.run(context.creel, "run", "-b", bundle, f"creel-gc-{os.getpid()}", timeout=60)
        oci.run("umount", os.path.join(bundle, "rootfs"))
        context.image("mount", bundle)
        assert "alive" in oci.run(context.creel, "run", "-b", bundle, f"creel-gc-{os.getpid()}", timeout=60)
    context.image("gc")
    assert not [entry for entry in os.listdir(os.path.join(context.store, "roots"))]


def case_a_bundle_that_runs_stays(context):
    """Also when whoever started the container was killed."""
    name, _ = context.pulled([(busybox().bytes(), "gzip")])
    container = f"creel-runs-{os.getpid()}"
    process = subprocess.Popen([context.tool, "--store", context.store, "run", "--name", container, name, "/bin/sh", "-c",
                                "while :; do echo x > /file; sleep 0.05; done"], stdin=subprocess.DEVNULL)
    file = os.path.join(context.store, "containers", container, "upper", "file")
    try:
        deadline = time.monotonic() + 20
        while not os.path.exists(file):
            assert time.monotonic() < deadline, "the container does not write"
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert "runs in it" in context.fails("unbundle", container)
        assert "here already" in context.fails("run", "--name", container, name, "/bin/sh")
        assert os.path.exists(file)
    finally:
        oci.run(context.creel, "delete", "--force", container)
        context.image("unbundle", container)


def case_run_cleans_up(context):
    name, _ = context.pulled([(busybox().bytes(), "gzip")], {"Cmd": ["/bin/sh", "-c", "exit 7"]})
    command = [context.tool, "--store", context.store, "run", "--rm"]
    assert subprocess.run([*command, name], timeout=60, check=False).returncode == 7
    done = subprocess.run([*command, "-i", "-e", "A=1", "--memory", "64m", "--cpus", "0.5", "--user", "web", "--read-only", "-v", f"{context.work}:/mnt:ro",
                           name, "/bin/sh", "-c", "cat; id -u; echo $A; echo x > /file"], input=b"typed\n", capture_output=True, timeout=60, check=False)
    assert done.stdout.split() == [b"typed", b"33", b"1"] and done.returncode != 0, done
    done = subprocess.run([*command, name, "/bin/sh", "-c", "echo fine"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", ""), done
    done = subprocess.run([*command, name, "/no/such"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "/no/such" in done.stderr, done
    process = subprocess.Popen([*command, name, "/bin/sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done"], stdin=subprocess.DEVNULL)
    time.sleep(1.5)
    process.terminate()
    assert process.wait(timeout=30) == 9
    assert not os.listdir(os.path.join(context.store, "containers"))
    assert context.store not in open("/proc/self/mountinfo", encoding="utf-8").read()


def case_hostile_layers_in_time_and_memory(context):
    """Row U: 100,000 opaque whiteouts, 4 GiB of zeros in 4 MiB, and no more memory than a decent layer needs."""
    opaque = Layer().directory("d").add("d/.wh.x")
    for _ in range(100_000):
        opaque.add("d/.wh..wh..opq")
    wide = Layer()
    for number in range(50_000):
        wide.add(f"d{number}/.wh..wh..opq")
    for what, layer in {"one directory": opaque, "many directories": wide}.items():
        path = context.path("layout")
        oci.layout(path, [(layer.bytes(), "gzip")])
        oci.push(path, context.address, f"t{context.number}")
        _, took, peak = oci.measured(context.tool, "--store", context.store, "pull", "--quiet", f"{context.address}/t{context.number}")
        # Of its own time: what else this machine does is not its fault.
        assert took < 5 and peak < 64, f"{what}: {took:.1f} s, {peak:.0f} MiB"
        print(f"     {what}: {took:.2f} s, {peak:.0f} MiB")


def case_large_windows_one_at_a_time(context):
    """Three layers whose decoders want 32 MiB each."""
    path = context.path("layout")
    oci.layout(path, [(Layer().add(f"file{number}", os.urandom(40 << 20)).bytes(), "zstd -1 --long=25") for number in range(3)])
    oci.push(path, context.address, "windows")
    _, _, peak = oci.measured(context.tool, "--store", context.store, "pull", "--quiet", f"{context.address}/windows")
    assert 32 < peak < 64, f"{peak:.0f} MiB"
    print(f"     {peak:.0f} MiB")


def case_killed_while_unpacking(context):
    """SIGKILL at random: the next command works, and what is unpacked is whole."""
    name, path = context.pulled(features())
    target = context.path("reference")
    context.image("unpack", name, target)
    reference = oci.tree(target)
    store = context.path("store")
    command = [context.tool, "--store", store, "pull", "--quiet", name]
    for number in range(40):
        shutil.rmtree(os.path.join(store, "snapshots", "sha256"), ignore_errors=True)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.001 * number)
        process.kill()
        process.wait()
    oci.run(*command)
    target = context.path("after")
    oci.run(context.tool, "--store", store, "unpack", name, target)
    assert not oci.differences(oci.tree(target), reference)
    oci.run(context.tool, "--store", store, "gc")
    left = [entry for entry in os.listdir(os.path.join(store, "snapshots")) if entry.startswith(".")]
    assert not left, left


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    if os.geteuid():
        print("unpack: 0 passed, 0 failed, 1 skipped (needs root)")
        return
    pattern = sys.argv[2] if len(sys.argv) == 3 else ""
    cases = [(name[5:], case) for name, case in {**vars(peers), **vars(running), **vars(rootless), **globals()}.items() if name.startswith("case_") and pattern in name]
    passed, failed = 0, 0
    work = tempfile.mkdtemp(prefix="creel-unpack-")
    try:
        with oci.registry(work) as address:
            context = Context(os.path.abspath(sys.argv[1]), work)
            context.address = address
            for name, case in cases:
                try:
                    case(context)
                    passed += 1
                    print(f"ok   {name}", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
    finally:
        oci.remove(work)
    print(f"unpack: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
