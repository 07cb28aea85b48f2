"""What the security cases share: S (a crafted root beside canaries), R (a race), P (a payload that reports on itself)."""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import stat
import subprocess

from suite import PATIENCE, REPOSITORY, WORK, Failure, Skipped

HERE = os.path.dirname(os.path.abspath(__file__))
# `make security` has the time for all of it; `make test` takes an eighth.
WHOLE = bool(os.environ.get("SECURITY_WHOLE"))


def many(number):
    """How often a thing is repeated that is to be repeated so often."""
    return max(int(number / (1 if WHOLE else 8) / PATIENCE), 10)


RUNS = many(1000)  # of a race


@functools.cache
def payload():
    """payload.c, built once for all cases; in a virtual machine it comes from the host (hack/test-lab.py)."""
    made, given = f"{WORK}/payload", f"{REPOSITORY}/target/security-payload"
    if shutil.which("cc"):
        subprocess.run(["cc", "-static", "-O1", "-o", made, f"{HERE}/payload.c"], check=True)
    elif os.path.exists(given):
        shutil.copy(given, made)
    else:
        raise Skipped("there is neither a C compiler nor target/security-payload")
    return made


def install(t):
    """Puts the payload into the container."""
    subprocess.run(["cp", payload(), f"{t.rootfs}/payload"], check=True)


# --- S

# What a runtime makes, changes or removes in /dev; others come and go by themselves.
DEVICES = "console core extra fd full null ptmx random stderr stdin stdout tty urandom zero".split()


class Canaries:
    """A tree outside the root that no container may change, and the host's mounts."""

    def __init__(self, t):
        self.t = t
        self.path = f"{t.directory}/outside"
        os.makedirs(f"{self.path}/sub/deep", 0o755)
        for name in ("secret", "null", "console", "ptmx", "fd", "sub/file", "sub/deep/file"):
            with open(f"{self.path}/{name}", "w") as file:
                file.write(f"canary {name}\n")
            os.chmod(f"{self.path}/{name}", 0o640)
        os.symlink("secret", f"{self.path}/link")
        self.before = self.look()

    def look(self):
        tree = {}
        for directory, directories, files in os.walk(self.path):
            for path in [directory, *(f"{directory}/{name}" for name in directories + files)]:
                info = os.lstat(path)
                tree[path] = (info.st_mode, info.st_uid, info.st_gid, info.st_ino)
                if stat.S_ISREG(info.st_mode):
                    tree[path] += (hashlib.sha256(open(path, "rb").read()).hexdigest(),)
        devices = {name: self.device(f"/dev/{name}") for name in DEVICES}
        return tree, devices, open("/proc/self/mountinfo").read()

    @staticmethod
    def device(path):
        with contextlib.suppress(FileNotFoundError):
            info = os.lstat(path)
            return info.st_mode, info.st_uid, info.st_gid, info.st_rdev

    def untouched(self):
        for what, before, now in zip(("canary files", "the host's /dev", "the host's mounts"), self.before, self.look()):
            if before != now:
                raise Failure(f"{what} changed: {before}, now {now}")


def refused(t, *words):
    """`run` is refused; creel's message has these words. Nothing is left behind."""
    t.refused(*(words if t.name == "creel" else ()))


def own_dev(t):
    """The container gets the image's /dev, with what the image has in it."""
    t.config["mounts"] = [m for m in t.config["mounts"] if not m["destination"].startswith("/dev")]
    os.makedirs(f"{t.rootfs}/dev", exist_ok=True)


# --- R


@contextlib.contextmanager
def flipping(a, b):
    """Two names of one directory are exchanged all the time."""
    flipper = subprocess.Popen([payload(), "flip", a, b])
    try:
        yield
    finally:
        ended = flipper.poll()
        flipper.kill()
        flipper.wait()
    if ended is not None:
        raise Failure(f"the flipper ended with {ended}")


def race(t, a, b, check, runs=RUNS):
    """Runs the container again and again while `a` and `b` change places; `check` gets each result. Both outcomes, a
    refusal and a container that is as it was asked for, are right; one that cannot be seen at all is a test of nothing."""
    t.save()
    codes = set()
    with flipping(a, b):
        for _ in range(runs):
            result = t.rt("run", t.id, code=None)
            codes.add(result.code)
            check(result)
            if result.code != 0:
                t.lacks(result.err, "panicked")
                if os.path.exists(f"{t.root}/{t.id}"):
                    raise Failure(f"a refused run has left a container: {result.err}")
    return codes


# --- P


class Report:
    """What `payload report` printed."""

    def __init__(self, text):
        self.parts = {}
        for part in re.split(r"^== ", text.replace("\r\n", "\n"), flags=re.M)[1:]:
            name, _, rest = part.partition("\n")
            self.parts[name] = rest.strip()

    def status(self, field):
        return re.search(rf"^{field}:[ \t]*(.*?)[ \t]*$", self.parts["status"], re.M)[1]

    def fds(self):
        return {int(line.split()[0]): line.split(" ", 1)[1] for line in self.parts["fd"].splitlines()}

    def mounts(self):
        """(root, mount point, options, type, source) of each mount."""
        found = []
        for line in self.parts["mountinfo"].splitlines():
            left, right = line.split(" - ")
            fields, kind = left.split(), right.split()
            found.append((fields[3], fields[4], fields[5], kind[0], kind[1]))
        return found


def report(t, **more):
    install(t)
    return Report(t.run("/payload", "report", **more).out)


# --- descriptors


def host_objects(t, pid):
    """The descriptors (beyond stdio), the root and the working directory of a process that lead to something which is
    mounted in no place of its own mount namespace."""
    mounts = {line.split()[0] for line in open(f"/proc/{pid}/mountinfo")}
    found = []
    for number in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
        link = os.readlink(f"/proc/{pid}/fd/{number}")
        info = open(f"/proc/{pid}/fdinfo/{number}").read()
        mount = re.search(r"^mnt_id:\s*(\d+)", info, re.M)[1]
        nowhere = re.match(r"(pipe|socket):\[|anon_inode:", link)
        if number > 2 and not nowhere and mount not in mounts:
            found.append(f"{number} -> {link}")
    return found
