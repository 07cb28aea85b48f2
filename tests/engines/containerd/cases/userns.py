"""Containers in a user namespace of their own, by ctr's maps."""

import os

from suite import Skipped, case, check, equal

FIRST = 100000
MAPS = ["--uidmap", f"0:{FIRST}:65536", "--gidmap", f"0:{FIRST + 7}:65536"]
LOOK = "id -u; id -g; stat -c %u:%g / /bin/busybox; echo x > /file; stat -c %u:%g /file"


def root_is_nobody(e, flags):
    with e.running("c", flags=flags) as pid:
        output = e.exec("c", "e", "sh", "-c", LOOK)
        equal((output.status, output.out.split(), output.err), (0, ["0", "0", *3 * ["0:0"]], ""), "inside")
        for kind, first in (("uid", FIRST), ("gid", FIRST + 7)):
            with open(f"/proc/{pid}/{kind}_map") as ids:
                equal(ids.read().split(), ["0", str(first), "65536"], f"{kind}_map")
        for path in ("file", "bin/busybox"):
            found = os.stat(f"/proc/{pid}/root/{path}")
            equal((found.st_uid, found.st_gid), (FIRST, FIRST + 7), f"the owner of {path} on the host")
        check(os.stat(f"/proc/{pid}").st_uid == FIRST, "whose init is on the host")


@case
def on_a_copy_with_other_owners(e):
    root_is_nobody(e, MAPS)


@case
def on_layers_that_are_mapped(e):
    if e.version < (2,):
        raise Skipped("containerd's overlays have mapped layers since 2.0")
    root_is_nobody(e, [*MAPS, "--remap-labels"])


@case
def from_its_begin_to_its_end(e):
    output = e.run("c", "sh", "-c", "echo out; id -u; exit 3", flags=MAPS)
    equal((output.status, output.out), (3, "out\n0\n"), "the end and the output")


@case
def on_a_terminal(e):
    flags = ["run", "--rm", "-t", "--runtime", e.runtime, *MAPS, "docker.io/library/busybox:test", "c"]
    status, shown = e.in_terminal(*flags, "sh", "-c", "tty; stat -c %u:%g $(tty) /dev/console; exit 4")
    equal((status, shown.split()[:2]), (4, ["/dev/pts/0", "0:5"]), f"the end and the terminal of {shown!r}")
