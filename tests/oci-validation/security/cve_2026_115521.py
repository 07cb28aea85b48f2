"""CVE-2026-115521 (crun): making the root read-only goes through the container's procfs, which sends it elsewhere."""

import os

from security.harness import Canaries, install, report
from suite import case


def root_options(report):
    """Those of the mount that is `/`: the last one there."""
    return [mount[2].split(",") for mount in report.mounts() if mount[1] == "/"][-1]


@case(runc="1.1.5 wants a procfs")
def a_link_in_the_images_proc_leaves_the_root_read_only(t):
    """S: no procfs is mounted, and the image has links of its own at /proc/self/fd. Removed to see it fail: `readonly_root`
    (rootfs/apply.rs) went by /proc/self/fd."""
    canaries = Canaries(t)
    install(t)
    t.config["mounts"] = [m for m in t.config["mounts"] if m["destination"] != "/proc"]
    t.linux["maskedPaths"], t.linux["readonlyPaths"] = [], []
    os.makedirs(f"{t.rootfs}/proc/self/fd")
    for number in range(32):
        os.symlink("/dev", f"{t.rootfs}/proc/self/fd/{number}")
    t.config["root"]["readonly"] = True
    t.matches(t.sh("echo x > /file", code=1).err, "Read-only file system")
    t.equal(t.sh("echo fine > /dev/shm/x && cat /dev/shm/x").out, "fine\n")
    canaries.untouched()


@case()
def the_root_is_read_only(t):
    """P. Removed to see it fail: `readonly_root`."""
    t.config["root"]["readonly"] = True
    t.contains(root_options(report(t)), "ro")
