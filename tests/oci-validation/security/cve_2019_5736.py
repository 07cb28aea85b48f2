"""CVE-2019-5736: a container executes the runtime as /proc/self/exe and overwrites it on the host."""

import contextlib
import hashlib
import os
import shutil

from security.harness import install, many
from suite import case

EXECS = many(200)


def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


@contextlib.contextmanager
def attacked(t):
    """A container that writes to every executable it can get hold of; the runtime is a copy that may be lost."""
    kept = t.runtime
    t.runtime = shutil.copy(kept, f"{t.directory}/{t.name}")
    install(t)
    t.file("/entry", "#!/proc/self/exe\n", 0o755)
    os.symlink("/proc/self/exe", f"{t.rootfs}/self")
    names = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]
    t.process["capabilities"] = {kind: names for kind in ("bounding", "effective", "permitted")}
    t.process["args"] = ["/bin/sh", "-c", "exec /payload overwrite /stop > /wrote"]
    t.save()
    t.rt("run", "--detach", t.id)
    attacker = t.id
    try:
        with contextlib.suppress(OSError):  # it cannot be executed: the digest says why
            yield
        t.equal(digest(t.runtime), digest(kept), "the runtime's executable")
    finally:
        t.runtime, t.id = kept, attacker
    t.file("/stop")
    t.wait("stopped")


@case()
def exec_cannot_be_used_to_overwrite_the_runtime(t):
    """Removed to see it fail: the sealing in `sealed_exe::ensure`, which then returned at once."""
    with attacked(t):
        for _ in range(EXECS):
            for command in ("/entry", "/self", "/proc/self/exe"):
                t.exec(t.id, command, code=None)


@case()
def create_and_run_cannot_be_used_to_overwrite_the_runtime(t):
    """The attacker sits in the PID namespace that the new container joins. Removed to see it fail: as above."""
    with attacked(t):
        pid = t.state()["pid"]
        t.id = f"{t.id}-victim"
        t.namespace("pid", f"/proc/{pid}/ns/pid")
        for _ in range(EXECS // 4):
            for command in ("/entry", "/self", "/proc/self/exe"):
                t.process["args"] = [command]
                t.save()
                t.rt("run", t.id, code=None)
                if t.rt("create", t.id, code=None).code == 0:
                    t.rt("start", t.id, code=None)
                    t.rt("delete", "--force", t.id)
