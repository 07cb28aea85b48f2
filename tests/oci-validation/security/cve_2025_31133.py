"""CVE-2025-31133, CVE-2025-62161 (youki): a link in the place of /dev/null is what masked paths are covered with."""

import os

from security.harness import Canaries, own_dev, race, refused
from suite import case


def masked(t):
    t.file("/secret", "secret\n")
    t.linux["maskedPaths"] = ["/secret", "/proc/meminfo"]
    t.process["args"] = ["cat", "/secret", "/proc/meminfo"]


def covered_or_refused(t, *words):
    """creel refuses; whoever does not has masked with something else."""
    if t.name == "creel":
        return refused(t, *words)
    result = t.run(code=None)
    t.true(result.code != 0 or result.out == "", f"what is masked: {result.out!r}")


@case()
def a_link_as_null_masks_nothing(t):
    """S. Removed to see it fail: `check_existing` in rootfs/devices.rs together with `open_null`'s own check."""
    canaries = Canaries(t)
    own_dev(t)
    masked(t)
    os.symlink("/proc/version", f"{t.rootfs}/dev/null")
    covered_or_refused(t, "device /dev/null", "something else is there already")
    canaries.untouched()


@case(runc="1.1.5 masks with it")
def a_volume_as_dev_masks_nothing_with_its_null(t):
    """S, where the runtime makes no devices. Removed to see it fail: the check of 1:3 in `open_null` (rootfs/devices.rs)."""
    canaries = Canaries(t)
    own_dev(t)
    masked(t)
    os.mkdir(f"{t.directory}/dev")
    t.mount("/dev", type="bind", source=f"{t.directory}/dev", options=["bind"])
    for target in ("/proc/version", "/secret", canaries.path + "/null"):
        os.symlink(target, f"{t.directory}/dev/null")
        nowhere = target.startswith("/run")  # inside it does not exist
        covered_or_refused(t, "linux.maskedPaths", "/dev/null" if nowhere else "is not the null device (1:3)")
        os.unlink(f"{t.directory}/dev/null")
    canaries.untouched()


@case(runc="1.1.5 masks with it")
def a_null_that_is_swapped_masks_or_fails(t):
    """R. Removed to see it fail: as above."""
    canaries = Canaries(t)
    own_dev(t)
    masked(t)
    volume = f"{t.directory}/dev"
    os.mkdir(volume)
    os.mknod(f"{volume}/null", 0o020666, os.makedev(1, 3))
    os.symlink("/proc/version", f"{volume}/other")
    t.mount("/dev", type="bind", source=volume, options=["bind"])

    def check(result):
        if result.code == 0:
            t.equal(result.out, "", "what is masked")

    codes = race(t, f"{volume}/null", f"{volume}/other", check)
    t.true(t.name != "creel" or codes == {0, 1}, f"both outcomes: {codes}")
    canaries.untouched()
