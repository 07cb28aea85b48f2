"""CVE-2026-41579, CVE-2026-47766 (crun): an image's /dev is a link, and device nodes and links are made, or removed, on the
host."""

import os

from security.harness import Canaries, own_dev
from suite import case


def linked(t, target):
    canaries = Canaries(t)
    own_dev(t)
    os.rmdir(f"{t.rootfs}/dev")
    os.symlink(target(canaries), f"{t.rootfs}/dev")
    t.linux["maskedPaths"] = []
    t.linux["devices"] = [{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 7, "gid": 7}]
    t.process["args"] = ["/bin/true"]
    t.save()
    t.rt("run", t.id, code=None)
    canaries.untouched()


@case(runc="1.1.5 makes them there", crun="1.8.1 makes them there: CVE-2026-47766")
def an_absolute_link_makes_nothing_outside(t):
    """S. Removed to see it fail: IN_ROOT in `Root::openat2` (paths.rs)."""
    linked(t, lambda canaries: f"{canaries.path}/sub")


@case(runc="1.1.5 makes them there", crun="1.8.1 makes them there: CVE-2026-47766")
def a_relative_link_makes_nothing_outside(t):
    """S. Removed to see it fail: as above."""
    linked(t, lambda _: "../../outside/sub")


@case()
def a_link_in_a_devices_path_makes_nothing_outside(t):
    """S. Removed to see it fail: as above."""
    canaries = Canaries(t)
    own_dev(t)
    os.symlink(f"{canaries.path}/sub", f"{t.rootfs}/dev/below")
    t.linux["devices"] = [{"path": "/dev/below/extra", "type": "c", "major": 1, "minor": 3}]
    t.process["args"] = ["/bin/true"]
    t.save()
    t.rt("run", t.id, code=None)
    canaries.untouched()
