"""Cases: images unpacked and run by a user who is not root, and with ids mapped by root. Registered in unpack.py.

The user exists in a mount namespace of each command only, with his ranges in /etc/subuid and /etc/subgid there."""

import contextlib
import json
import os
import pickle
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import oci
from oci import Layer

UID, FIRST, COUNT = 7001, 700_000, 65_536
CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)  # cap_net_raw, as getcap(8) shows it
TREE = "import pickle, sys; sys.path.insert(0, sys.argv[1]); import oci; sys.stdout.buffer.write(pickle.dumps(oci.tree(sys.argv[2])))"


class User:
    """Somebody with a home, in which the programs are and everything is made."""

    def __init__(self, context, home):
        self.home, self.store, self.ranges, self.before = home, os.path.join(home, "store"), True, ""
        for program in (context.tool, context.creel):
            shutil.copy(program, home)
        self.tool = os.path.join(home, "creel-image")
        shutil.copytree(os.path.dirname(os.path.abspath(__file__)), os.path.join(home, "tests"), ignore=shutil.ignore_patterns("__pycache__"))
        os.mkdir(os.path.join(home, "run"))
        for name in (".", "run"):
            os.chown(os.path.join(home, name), UID, UID)

    def command(self, *args):
        """What executes `args` as the user; `before` is a script that root executes in the namespace first."""
        script = f"""set -e
            cd {self.home}
            mount -t tmpfs tmpfs run; mkdir run/etc; cp /etc/passwd run/etc/passwd
            echo roamer:x:{UID}:{UID}::{self.home}:/bin/sh >> run/etc/passwd
            touch run/etc/subuid run/etc/subgid
            {f'echo roamer:{FIRST}:{COUNT} | tee run/etc/subuid > run/etc/subgid' if self.ranges else ':'}
            for file in passwd subuid subgid; do [ -e /etc/$file ] || continue; mount --bind run/etc/$file /etc/$file; done
            chown {UID}:{UID} run
            {self.before}
            exec setpriv --reuid={UID} --regid={UID} --clear-groups "$@" """
        return ["unshare", "--mount", "sh", "-c", script, "sh", *args]

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": self.home, "USER": "roamer", "XDG_RUNTIME_DIR": os.path.join(self.home, "run"),
                "CREEL_IMAGE_STORE": self.store}

    def does(self, *args, timeout=120):
        return subprocess.run(self.command(*args), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False, env=self.environment())

    def image(self, *args, code=0):
        done = self.does(self.tool, *args)
        assert done.returncode == code, f"{args}: {done}"
        return done.stdout.decode(), done.stderr.decode()

    def tree(self, path):
        """The tree as it is from inside."""
        done = self.does(self.tool, "unshare", "python3", "-c", TREE, os.path.join(self.home, "tests"), path)
        assert done.returncode == 0, done
        return pickle.loads(done.stdout)


@contextlib.contextmanager
def user(context):
    home = tempfile.mkdtemp(prefix="creel-roamer-", dir="/var/tmp")
    os.chmod(home, 0o755)
    try:
        yield User(context, home)
    finally:
        oci.remove(home)


def programs():
    with open(shutil.which("busybox"), "rb") as file:
        layer = Layer().directory("bin").add("bin/busybox", file.read(), mode=0o755)
    for tool in ("sh", "id", "cat", "stat", "touch", "ls", "grep", "sleep"):
        layer.symlink(f"bin/{tool}", "busybox")
    for folder in ("proc", "dev", "sys", "etc"):
        layer.directory(folder)
    layer.directory("tmp", mode=0o1777).directory("srv", ids=(33, 34)).add("srv/secret", b"kept", mode=0o600, ids=(33, 34))
    layer.add("etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n").add("etc/group", b"web:x:34:\nlog:x:4:web\n")
    layer.add("capable", b"c", mode=0o755, ids=(7, 8), xattrs={"security.capability": CAPABILITY})
    return layer


def image(context):
    """An image of two layers with owners, and something to hide."""
    below = programs().directory("old").add("old/file", b"x").add("gone", b"g")
    above = Layer().add(".wh.gone").directory("old").add("old/.wh..wh..opq").add("old/new", b"n", ids=(5, 6))
    return context.pulled([(below.bytes(), "gzip"), (above.bytes(), "gzip")])[0]


def without_devices(tree):
    """Devices are not a user's to make."""
    return {path: found for path, found in tree.items() if "device" not in found}


def case_rootless_trees_are_roots(context):
    """What root gets of an image is what a user sees from inside: owners, modes, times, capabilities; also of a layer with everything."""
    import unpack
    name, _ = context.pulled(unpack.features())
    reference = context.path("reference")
    context.image("unpack", name, reference)
    wanted = without_devices(oci.tree(reference))
    with user(context) as one:
        one.image("pull", "--quiet", name)
        one.image("unpack", name, "tree")
        _, said = one.image("bundle", name, "bundle")
        assert "copied" in said and "devices could not be made" in said and "kept your ids" not in said, said
        for path in ("tree", "bundle/rootfs"):
            lines = oci.differences(without_devices(one.tree(path)), wanted)
            assert not lines, "\n".join(lines[:40])
        ping = os.path.join(one.home, "tree", "bin", "ping")
        look = os.lstat(ping)
        assert (look.st_uid, look.st_gid) == (FIRST + 6, FIRST + 7), look
        # Version 3, which counts in namespaces whose root is the user.
        capability = b"\x01\x00\x00\x03" + CAPABILITY[4:] + UID.to_bytes(4, "little")
        assert os.getxattr(ping, "security.capability") == capability
        one.image("unbundle", "bundle")
        assert not os.path.exists(os.path.join(one.home, "bundle"))
        one.image("rm", name)
        assert "unpacked layers" in one.image("gc")[0]
        assert not os.listdir(os.path.join(one.store, "snapshots", "sha256"))


def case_rootless_bundles_run(context):
    name = image(context)
    script = "id; cat /srv/secret; touch /srv/made; stat -c %u:%g:%a /srv/secret /capable; ls /old; [ -e /gone ] || echo gone; ls /dev/null"
    for runtime in runtimes(context):
        with user(context) as one:
            one.image("pull", "--quiet", name)
            one.image("bundle", "--user", "web:web", name, "b", "sh", "-c", script)
            with open(os.path.join(one.home, "b", "config.json"), encoding="utf-8") as file:
                spec = json.load(file)
            maps = [{"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": FIRST, "size": COUNT}]
            assert spec["linux"]["uidMappings"] == spec["linux"]["gidMappings"] == maps, spec["linux"]["uidMappings"]
            assert "resources" not in spec["linux"] and {"type": "user"} in spec["linux"]["namespaces"]
            done = one.does(runtime_path(one, runtime), "run", "-b", "b", "c")
            assert done.returncode == 0, f"{runtime}: {done}"
            out = done.stdout.decode().split()
            assert out[:2] == ["uid=33(web)", "gid=34(web)"] and "kept33:34:600" in out and "7:8:755" in out, f"{runtime}: {out}"
            assert out[-3:] == ["new", "gone", "/dev/null"], f"{runtime}: {out}"
            made = os.stat(os.path.join(one.home, "b", "rootfs", "srv", "made"))
            assert (made.st_uid, made.st_gid) == (FIRST + 32, FIRST + 33), made
            one.image("unbundle", "b")
            assert not os.path.exists(os.path.join(one.home, "b"))


def runtimes(context):
    return ["creel", *(name for name in ("runc",) if shutil.which(name))]


def run(one, *args):
    """`run` with a runtime that can do without root."""
    return one.does(one.tool, "run", *args)


def case_rootless_run_mounts_an_overlay(context):
    """The kernel's, in the user's own namespace: nothing is copied, and nothing is left."""
    name = image(context)
    with user(context) as one:
        script = "grep ' / / ' /proc/self/mountinfo; id -u; cat /srv/secret; stat -c %u:%g /old/new; ls /old; touch /srv/made; exit 5"
        for runtime in runtimes(context):
            one.image("pull", "--quiet", name)
            done = run(one, "--runtime", runtime_path(one, runtime), "--rm", name, "sh", "-c", script)
            assert done.returncode == 5 and b"overlay" in done.stdout and b"userxattr" in done.stdout, f"{runtime}: {done}"
            assert done.stdout.split()[-3:] == [b"0", b"kept5:6", b"new"], done
            assert b"copied" not in done.stderr, done
            assert not os.listdir(os.path.join(one.store, "containers"))
            done = run(one, "--runtime", runtime_path(one, runtime), "--name", "kept", name, "sh", "-c", script)
            upper = os.path.join(one.store, "containers", "kept", "upper", "srv", "made")
            assert done.returncode == 5 and os.stat(upper).st_uid == UID, done
            one.image("unbundle", "kept")
            assert not os.listdir(os.path.join(one.store, "containers"))


def case_rootless_bundle_that_runs_stays(context):
    """Although its overlay is mounted in a namespace that nobody else sees, and whoever mounted it was killed."""
    name = image(context)
    for runtime in runtimes(context):
        with user(context) as one:
            one.image("pull", "--quiet", name)
            script = "while :; do echo x > /tmp/file; sleep 0.05; done"
            line = one.command(one.tool, "run", "--runtime", runtime_path(one, runtime), "--name", "stays", name, "sh", "-c", script)
            file = os.path.join(one.store, "containers", "stays", "upper", "tmp", "file")
            process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one.environment())
            container = None
            try:
                deadline = time.monotonic() + 20
                while not os.path.exists(file):
                    assert time.monotonic() < deadline, "the container does not write"
                    time.sleep(0.05)
                container = inside(f"upperdir={os.path.join(one.store, 'containers', 'stays', 'upper')},")
                process.kill()
                process.wait()
                assert container and "runs in it" in one.image("unbundle", "stays", code=1)[1], container
                assert os.path.exists(file)
            finally:
                process.kill()
                process.wait()
                # With its process, the runtime ends too.
                for number in container or []:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)
            deadline = time.monotonic() + 20
            while one.does(one.tool, "unbundle", "stays").returncode:
                assert time.monotonic() < deadline, "the container is dead, and the bundle still there"
                time.sleep(0.2)


def inside(options):
    """The processes whose root is an overlay with these options."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{number}/mountinfo", encoding="utf-8") as file:
            if any(line.split()[4] == "/" and options in line for line in file):
                found.append(int(number))
    return found


def runtime_path(one, runtime):
    return os.path.join(one.home, "creel") if runtime == "creel" else runtime


def case_rootless_without_ranges(context):
    """One id: it works for the image's root, says what is missing and what helps, and refuses users that cannot be."""
    name = image(context)
    with user(context) as one:
        one.ranges = False
        one.image("pull", "--quiet", name)
        _, said = one.image("bundle", name, "b", "sh", "-c", "id -u; stat -c %u /srv/secret")
        assert "kept your ids" in said and "/etc/subuid" in said, said
        done = one.does("runc", "run", "-b", "b", "c") if shutil.which("runc") else None
        assert done is None or (done.returncode, done.stdout) == (0, b"0\n0\n"), done
        _, said = one.image("bundle", "--user", "web", name, "c", code=1)
        assert "user 33: is not mapped" in said and "/etc/subuid" in said and not os.path.exists(os.path.join(one.home, "c")), said
        one.image("unbundle", "b")
        # Ranges that come later are other owners than the files have: told, not mixed.
        one.ranges = True
        _, said = one.image("bundle", name, "b", code=1)
        assert "rm and gc" in said, said
        one.image("rm", name)
        one.image("gc")
        one.image("pull", "--quiet", name)
        assert "kept your ids" not in one.image("bundle", name, "b")[1]
        # And ids beyond the ranges.
        _, said = one.image("bundle", "--user", str(COUNT + 1), name, "c", code=1)
        assert "not mapped" in said, said


def case_rootless_when_newuidmap_fails(context):
    """It is said, with the remedy, and one id is mapped."""
    name = image(context)
    with user(context) as one:
        one.before = "mount --bind /bin/false $(readlink -f $(command -v newuidmap))"
        _, said = one.image("pull", "--quiet", name)
        assert "newuidmap ended with" in said and "package uidmap" in said, said
        assert "kept your ids" in one.image("bundle", name, "b")[1]


def case_rootless_with_fuse(context):
    """Where the kernel refuses an overlay, as on top of another one, fuse-overlayfs mounts, and that is said; without it, a copy."""
    if not shutil.which("fuse-overlayfs"):
        print("     skipped: fuse-overlayfs is not installed")
        return
    layers = [(programs().bytes(), "gzip"), (Layer().directory("srv", ids=(33, 34)).add("srv/more", b"m", ids=(5, 6)).bytes(), "gzip")]
    name, _ = context.pulled(layers)
    with user(context) as one:
        on_overlay = (f"mkdir -p o/upper o/work o/lower m; chown {UID}:{UID} o/upper; mount -t overlay o -o lowerdir=o/lower,upperdir=o/upper,workdir=o/work m; "
                      f"mknod -m 666 run/fuse c 10 229; mount --bind run/fuse /dev/fuse; ")
        one.store = os.path.join(one.home, "m", "store")
        one.before = f"mount -o remount,dev run; {on_overlay}"
        one.image("pull", "--quiet", name)
        script = "grep ' / / ' /proc/self/mountinfo; cat /srv/secret; stat -c %u:%g:%a /srv/secret /srv/more; touch /srv/made; stat -c %u /srv/made"
        runtime = runtimes(context)[0]
        done = run(one, "--runtime", runtime_path(one, runtime), "--rm", name, "sh", "-c", script)
        assert done.returncode == 0 and b"fuse.fuse-overlayfs" in done.stdout and b"mounted by fuse-overlayfs, since" in done.stderr, done
        assert done.stdout.split()[-3:] == [b"kept33:34:600", b"5:6:644", b"0"], done
        one.before += "mount --bind /bin/false $(readlink -f $(command -v fuse-overlayfs)); "
        done = run(one, "--runtime", runtime_path(one, runtime), "--rm", name, "sh", "-c", script)
        assert done.returncode == 0 and b"fuse.fuse" not in done.stdout and b"copied, since" in done.stderr and b"fuse-overlayfs: " in done.stderr, done
        assert b"kept33:34:600" in done.stdout, done
        assert not os.listdir(os.path.join(one.home, "o", "upper", "store", "containers"))
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            assert one.home not in file.read()


MADE_ANEW = "grep ' / / ' /proc/self/mountinfo; rm -r /old; mkdir /old; echo $?; touch /old/made; ls /old; cat /srv/secret"


def case_rootless_on_a_filesystem_without_attributes(context):
    """An overlay would be mounted there, and a directory that is made anew be an input/output error in it: no overlay, and
    it is said why. Layers that hide a directory cannot even be unpacked."""
    plain, _ = context.pulled([(programs().directory("old").add("old/file", b"x").bytes(), "gzip")])
    hiding = image(context)
    with user(context) as one:
        one.store = os.path.join(one.home, "m", "store")
        one.before = f"mkdir -p m; mount -t ramfs ramfs m; chown {UID}:{UID} m; "
        pull = f"{one.tool} pull --quiet {plain} >/dev/null"
        script = f'{pull} && exec {one.tool} run --runtime {runtime_path(one, "creel")} --rm {plain} sh -c "$1"'
        done = one.does("sh", "-c", script, "sh", MADE_ANEW)
        assert done.returncode == 0 and done.stdout.split()[-3:] == [b"0", b"made", b"kept"], done
        said = b"the file system of the bundle has no user attributes, which overlayfs needs (put the bundle on another one: "
        assert b"since user.overlay.creel: fsetxattr: operation not supported: " + said in done.stderr, done
        assert b" - overlay " not in done.stdout, done
        _, said = one.image("pull", "--quiet", hiding, code=1)
        assert "user.overlay.opaque: fsetxattr: operation not supported (put the store on a file system with extended attributes)" in said, said


def case_rootless_without_userxattr(context):
    """As before Linux 5.11: overlayfs refuses the option."""
    name = image(context)
    wrapper = os.path.join(os.path.dirname(__file__), "..", "..", "hack", "enosys.py")
    with user(context) as one:
        one.before = f'exec {os.path.abspath(wrapper)} mount:userxattr setpriv --reuid={UID} --regid={UID} --clear-groups "$@"; '
        one.image("pull", "--quiet", name)
        done = run(one, "--runtime", runtime_path(one, "creel"), "--rm", name, "sh", "-c", MADE_ANEW)
        assert done.returncode == 0 and done.stdout.split()[-3:] == [b"0", b"made", b"kept"], done
        for said in (b"the kernel does not know the option userxattr (", b"use Linux 5.11 or later, or --copy)"):
            assert said in done.stderr, done
        assert b" - overlay " not in done.stdout, done


def case_root_maps_ids(context):
    """--uidmap: files belong to the mapped ids, config.json has the namespace, and every runtime runs it."""
    import unpack
    name = image(context)
    script = "id -u; cat /srv/secret; stat -c %u:%g /srv/secret; touch /made; stat -c %u /made"
    for number, (what, start) in enumerate(unpack.runtimes(context)):
        os.chmod(context.work, 0o711)
        with context.bundle(name, "--uidmap", "0:500000:65536", "--gidmap", "0:600000:65536", "--user", "0", "--", "sh", "-c", script) as bundle:
            out = start(bundle, f"creel-mapped-{os.getpid()}-{number}").split()
            assert out == ["0", "kept33:34", "0"], f"{what}: {out}"
            assert os.stat("/dev/null").st_uid == 0, what
            secret, made = (os.stat(os.path.join(bundle, "rootfs", path)) for path in ("srv/secret", "made"))
            assert (secret.st_uid, secret.st_gid, stat.S_IMODE(secret.st_mode)) == (500_033, 600_034, 0o600), secret
            assert (made.st_uid, made.st_gid) == (500_000, 600_000), made
            capability = os.getxattr(os.path.join(bundle, "rootfs", "capable"), "security.capability")
            assert capability == b"\x01\x00\x00\x03" + CAPABILITY[4:] + (500_000).to_bytes(4, "little"), capability
    line = [context.tool, "--store", context.store, "run", "--rm", "--uidmap", "0:500000:65536", name, "cat", "/srv/secret", "/proc/self/uid_map"]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.split() == ["kept", "0", "500000", "65536"], done
    os.chmod(context.work, 0o700)
    path = context.path("closed")
    done = subprocess.run([context.tool, "--store", context.store, "bundle", "--uidmap", "0:500000:65536", name, path], capture_output=True, text=True, timeout=60, check=True)
    assert f"chmod o+x {context.work}" in done.stderr, done
    context.image("unbundle", path)
    for wrong, why in {"0:1": "INSIDE:OUTSIDE:SIZE", "1:500000:10": "does not have 0", "0:500000:0": "is empty", "0:500000:8": "not mapped"}.items():
        done = subprocess.run([context.tool, "--store", context.store, "bundle", "--uidmap", wrong, name, context.path("refused")],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode and why in done.stderr, f"{wrong}: {done}"
    with user(context) as one:
        one.image("pull", "--quiet", name)
        assert "only root" in one.image("bundle", "--uidmap", "0:500000:65536", name, "b", code=1)[1]
