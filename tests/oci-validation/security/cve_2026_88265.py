"""CVE-2026-88265 (crun): stdio is reopened, or given to the container's user, through an image's /dev/null."""

import os

from security.harness import Canaries, own_dev
from suite import case


@case(crun="1.8.1 gives it to the user: CVE-2026-88265")
def pipes_as_stdio_leave_what_null_leads_to_alone(t):
    """S. Nothing in creel reopens stdio. Removed to see it fail: `check_existing` (rootfs/devices.rs), with an
    `own_stdio` that goes by the path /dev/null."""
    canaries = Canaries(t)
    own_dev(t)
    t.file("/bound", "untouched\n", 0o600)
    os.symlink("/bound", f"{t.rootfs}/dev/null")
    t.linux["maskedPaths"] = []
    t.process["user"] = {"uid": 1000, "gid": 1000}
    t.run("/bin/true", code=None, text="pipe\n")
    info = os.stat(f"{t.rootfs}/bound")
    t.equal((open(f"{t.rootfs}/bound").read(), info.st_uid, info.st_mode & 0o777), ("untouched\n", 0, 0o600))
    canaries.untouched()


@case(crun="1.8.1 gives it to the user")
def a_null_device_as_stdio_keeps_its_owner(t):
    """The device is one made for the test. Removed to see it fail: `is_null_device` in attributes/apply.rs."""
    null = f"{t.directory}/null"
    os.mknod(null, 0o020666, os.makedev(1, 3))
    t.process["user"] = {"uid": 1000, "gid": 1000}
    t.process["args"] = ["/bin/true"]
    t.save()
    t.rt("run", t.id, shell=f"exec <{null} >{null}")
    t.sleeper()
    t.rt("exec", "--user", "1001", t.id, "true", shell=f"exec <{null} >{null}")
    t.equal(os.stat(null).st_uid, 0, "the owner")


@case(crun="1.8.1 changes the group too")
def pipes_as_stdio_are_the_users_and_keep_their_group(t):
    """Removed to see it fail: the group `None` in `own_stdio` (attributes/apply.rs)."""
    t.process["user"] = {"uid": 1000, "gid": 1000}
    out = t.run("stat", "-L", "-c", "%u:%g", "/proc/self/fd/0", text="").out
    t.equal(out, "1000:0\n", "owner and group of stdin")
