"""CVE-2021-30465, CVE-2024-45310, CVE-2019-18837 (crun): a mount's target is swapped between its check and its use."""

import os

from security.harness import Canaries, Report, install, race
from suite import case


def swapped(t, mounts):
    """A volume in which `dir` is now a directory, now a link to the canaries; other mounts go below it. Each of them is in
    the container once, wherever a link inside the root has led it, or the container is refused; the canaries stay."""
    install(t)
    canaries = Canaries(t)
    volume = f"{t.directory}/volume"
    os.makedirs(f"{volume}/dir/sub")
    os.symlink(canaries.path, f"{volume}/link")
    t.mount("/vol", type="bind", source=volume, options=["bind"])
    for mount in mounts:
        t.mount(**mount)
    t.process["args"] = ["/payload", "report"]

    def check(result):
        if result.code == 0:
            found = [mount for mount in Report(result.out).mounts() if mount[4] == "marked" or "marked" in mount[0]]
            t.equal(len(found), len(mounts), f"marked mounts: {found}")

    race(t, f"{volume}/dir", f"{volume}/link", check)
    canaries.untouched()


@case()
def a_filesystem_lands_inside(t):
    """R. Removed to see it fail: the target's descriptor in `mount_filesystem` (rootfs/mount.rs); it went by path."""
    swapped(t, [{"destination": "/vol/dir/sub", "type": "tmpfs", "source": "marked"}])


@case()
def a_bound_directory_lands_inside(t):
    """R. Removed to see it fail: the target's descriptor in `bind::mount`; it went by path."""
    os.makedirs(f"{t.directory}/marked")
    swapped(t, [{"destination": "/vol/dir/sub", "type": "bind", "source": f"{t.directory}/marked", "options": ["bind"]}])


@case(runc="1.1.5 makes them outside: CVE-2024-45310")
def missing_targets_are_made_inside(t):
    """R; CVE-2024-45310: directories and files for mounts to go on. Removed to see it fail: IN_ROOT in `Root::openat2`."""
    t.file("marked-file", "x\n")
    swapped(
        t,
        [
            {"destination": "/vol/dir/made/deep", "type": "tmpfs", "source": "marked"},
            {"destination": "/vol/dir/file", "type": "bind", "source": f"{t.directory}/marked-file", "options": ["bind"]},
        ],
    )
