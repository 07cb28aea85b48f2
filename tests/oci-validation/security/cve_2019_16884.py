"""CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867 (youki): an image's or a volume's false
/proc or /sys takes what is written to the kernel: labels, parameters."""

import os

from security.harness import Canaries, refused
from suite import case

OLD = "1.8.1 takes it"


def link(t, name, target):
    os.rmdir(f"{t.rootfs}/{name}")
    os.symlink(target, f"{t.rootfs}/{name}")


@case()
def a_link_as_proc_is_refused(t):
    """Removed to see it fail: NO_SYMLINKS of `Root::resolve_plain`, which `target::find_plain` uses."""
    canaries = Canaries(t)
    os.mkdir(f"{t.rootfs}/evil")
    link(t, "proc", "/evil")
    refused(t, "mounts[0] (/proc)", "must be mounted on ordinary directory")
    canaries.untouched()


@case()
def a_link_as_sys_is_refused(t):
    """Removed to see it fail: as above."""
    canaries = Canaries(t)
    os.mkdir(f"{t.rootfs}/evil")
    link(t, "sys", "/evil")
    refused(t, "(/sys)", "must be mounted on ordinary directory")
    canaries.untouched()


@case(crun=OLD)
def another_filesystem_as_proc_is_refused(t):
    """Removed to see it fail: the type's check in `check_below_proc` (rootfs/plan_mounts.rs)."""
    t.config["mounts"][0] = {"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}
    refused(t, "mounts[0].destination", "/proc must be of type proc")


@case(crun=OLD)
def a_volume_as_proc_is_refused(t):
    """Removed to see it fail: `is_procfs` in rootfs/bind.rs."""
    os.makedirs(f"{t.directory}/volume/self/attr")
    t.config["mounts"][0] = {"destination": "/proc", "type": "bind", "source": f"{t.directory}/volume", "options": ["bind"]}
    refused(t, "is not procfs")


@case(crun=OLD)
def nothing_is_mounted_over_attr(t):
    """Removed to see it fail: BELOW_PROC's check in rootfs/plan_mounts.rs."""
    os.makedirs(f"{t.directory}/volume")
    for destination in ("/proc/self/attr", "/proc/thread-self/attr", "/proc/1/attr", "/proc/sys/net", "//proc/./sys/"):
        t.mount(destination, type="bind", source=f"{t.directory}/volume", options=["bind"])
        refused(t, "is inside /proc, where nothing may be mounted")
        t.config["mounts"].pop()


@case(crun=OLD)
def nothing_is_mounted_over_attr_through_a_link(t):
    """Removed to see it fail: procfs in `target::check`."""
    os.makedirs(f"{t.directory}/volume")
    os.symlink("/proc/sys/net", f"{t.rootfs}/way")
    os.symlink("/proc", f"{t.rootfs}/other")
    for destination in ("/way/ipv4", "/other/self/attr", "/other"):
        t.mount(destination, type="bind", source=f"{t.directory}/volume", options=["bind"])
        refused(t, "lead", "to procfs, where nothing may be mounted")
        t.config["mounts"].pop()
