"""In a container of a real engine: podman run by a user who is not root, with runc and with the runtime under test, and in
its container the runtime under test once more."""

import contextlib
import os
import shutil
import signal
import subprocess

import user
from cases.rootless import DYNAMIC, mount, unmount
from suite import TIMEOUT, Skipped, case

# What the inner container says; exec and delete show that it can be lived with.
INSIDE = """set -e
mkdir -p /tmp/b/rootfs && cd /tmp/b && cp -a /bin rootfs && mkdir rootfs/proc rootfs/sys rootfs/dev
runtime="/bin/runtime --root /tmp/state"
$runtime spec $1
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sleep", "1000"/' config.json
$runtime run --detach c1 </dev/null >/tmp/said 2>&1 || { cat /tmp/said; exit 3; }
$runtime exec c1 sh -c 'echo $(id -u) $(hostname) $(stat -c %t:%T /dev/null) $(cat /proc/self/uid_map)'
$runtime delete --force c1
[ -z "$($runtime list --quiet)" ]
"""
WHOLE = ["--security-opt=seccomp=unconfined", "--security-opt=unmask=ALL"]


class Podman:
    def __init__(self, t):
        self.t, self.command = t, [*t.prefix, "podman", "--storage-driver=vfs", "--cgroup-manager=cgroupfs"]

    def does(self, *arguments, **more):
        return subprocess.run(
            [*self.command, *arguments], capture_output=True, env=self.t.env, cwd=user.HOME, timeout=3 * TIMEOUT, **more
        )

    def load(self):
        archive = subprocess.run(["tar", "--create", "--directory", self.t.rootfs, "."], capture_output=True, check=True)
        done = self.does("import", "-", "inside", input=archive.stdout)
        self.t.equal(done.returncode, 0, done.stderr)

    def inside(self, outer, flags, *spec):
        """(exit code, what it said) of a life in its container."""
        volumes = [f"--volume={self.t.runtime}:/bin/runtime:ro"]
        done = self.does("--runtime", outer, "run", "--rm", "--network=none", *flags, *volumes, "inside", "sh", "-c", INSIDE, "sh", *spec)
        return done.returncode, (done.stdout + done.stderr).decode()


@contextlib.contextmanager
def podman(t):
    if not shutil.which("podman"):
        raise Skipped("podman is not installed")
    user.become(t, subordinate=True)
    mount("-t", "tmpfs", "tmpfs", "/dev/shm")  # for its locks, where this host's can be read only
    # Where the private host's is read only, so would the devices be that a privileged container asks for as writable.
    closed = os.statvfs("/dev").f_flag & os.ST_RDONLY
    if closed:
        mount("-o", "remount,bind,rw", "/dev")
    try:
        engine = Podman(t)
        engine.load()
        yield engine
    finally:
        with contextlib.suppress(OSError, ValueError):
            # The process that keeps its user namespace.
            os.kill(int(open(f"{user.HOME}/libpod/tmp/pause.pid").read()), signal.SIGKILL)
        unmount("/dev/shm")
        if closed:
            mount("-o", "remount,bind,ro", "/dev")
        for name in os.listdir(user.HOME):
            if f"{user.HOME}/{name}" != user.ROOT:
                shutil.rmtree(f"{user.HOME}/{name}", ignore_errors=True)


@case(runc=DYNAMIC, crun=DYNAMIC)
def in_podmans_rootless_container(t):
    """Of `spec --rootless`, where podman lets it have its names and an own /proc; of `spec` alone, where it is privileged."""
    with podman(t) as engine:
        for outer in filter(None, (shutil.which("runc"), t.runtime)):
            for flags in (WHOLE, ["--privileged"]):
                t.equal(engine.inside(outer, flags, "--rootless"), (0, "0 runc 1:3 0 0 1\n"), f"{outer} {flags}")
            said = f"0 runc 1:3 0 {user.UID} 1 1 {user.SUBUIDS} {user.COUNT}\n"
            t.equal(engine.inside(outer, ["--privileged"]), (0, said), outer)


@case(runc=DYNAMIC, crun=DYNAMIC)
def what_podman_does_not_let_it_do(t):
    """One sentence, with what to run podman with."""
    with podman(t) as engine:
        for flags, spec, *words in (
            ([], ["--rootless"], "sethostname: operation not permitted: a seccomp filter around the runtime", "podman: --security-opt seccomp=unconfined"),
            (WHOLE[:1], ["--rootless"], "(/proc): proc: fsmount: operation not permitted", "podman: --security-opt unmask=ALL"),
            ([], [], "clone3: operation not permitted: making namespaces needs CAP_SYS_ADMIN", "creel spec --rootless"),
            (["--cap-add=SYS_ADMIN"], [], "lo: ioctl(SIOCSIFFLAGS): operation not permitted", "needs CAP_NET_ADMIN", "creel spec --rootless"),
        ):
            code, said = engine.inside(t.runtime, flags, *spec)
            t.equal(code, 3, said)
            for word in words:
                t.contains(said, word)
