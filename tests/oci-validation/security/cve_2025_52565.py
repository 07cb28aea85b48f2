"""CVE-2025-52565, CVE-2026-88264 (crun): /dev/console or /dev/pts/N is a link, and the terminal is bound to where it
leads."""

import os

from security.harness import RUNS, Canaries, Report, flipping, install, own_dev
from suite import case


def on_a_terminal(t):
    """An image with a /dev of its own, devpts mounted in it, and a container that says what is mounted where."""
    install(t)
    own_dev(t)
    os.mkdir(f"{t.rootfs}/dev/pts")
    t.mount("/dev/pts", type="devpts", source="devpts", options=["newinstance", "ptmxmode=0666", "mode=0620"])
    t.file("/victim", "untouched\n")
    t.process.update(terminal=True, args=["/payload", "report"])


def terminals(text):
    """Where the container has a terminal mounted: the files of devpts, not its directory."""
    return {mount[1] for mount in Report(text).mounts() if mount[3] == "devpts" and mount[0] != "/"}


@case(runc="1.1.5 binds the terminal to it", crun="1.8.1 binds the terminal to it")
def a_link_as_console_is_refused(t):
    """S. Removed to see it fail: the check of the target's kind, and NOFOLLOW, in `bind_console` (terminal/apply.rs)."""
    on_a_terminal(t)
    canaries = Canaries(t)
    for target in ("/victim", "/proc/sys/kernel/core_pattern", canaries.path + "/console"):
        os.symlink(target, f"{t.rootfs}/dev/console")
        code, shown = t.terminal("run", t.id)
        t.equal(code, 1, shown)
        if t.name == "creel":
            t.contains(shown, "/dev/console: it is a symbolic link or a directory")
        os.unlink(f"{t.rootfs}/dev/console")
    canaries.untouched()


@case(runc="1.1.5 binds the terminal to it", crun="1.8.1 binds the terminal to it")
def a_console_that_is_swapped_takes_the_terminal_nowhere(t):
    """R, in a shared volume. Removed to see it fail: the descriptor in `bind_console`; it went by path."""
    on_a_terminal(t)
    canaries = Canaries(t)
    volume = f"{t.directory}/dev"
    os.makedirs(f"{volume}/pts")
    open(f"{volume}/console", "w").close()
    os.symlink("/victim", f"{volume}/other")
    os.symlink("pts/ptmx", f"{volume}/ptmx")
    os.mknod(f"{volume}/null", 0o020666, os.makedev(1, 3))
    t.config["mounts"].insert(1, {"destination": "/dev", "type": "bind", "source": volume, "options": ["bind"]})

    with flipping(f"{volume}/console", f"{volume}/other"):
        for _ in range(RUNS):
            code, shown = t.terminal("run", t.id)
            if code == 0:
                t.equal(terminals(shown) - {"/dev/console", "/dev/other"}, set(), "where the terminal is")
    canaries.untouched()


@case()
def another_multiplexer_is_refused(t):
    """S. Removed to see it fail: the check of 5:2 and devpts in `open_multiplexer` (terminal/apply.rs);
    the kernel's ENOTTY is then all that is left."""
    on_a_terminal(t)
    canaries = Canaries(t)
    volume = f"{t.directory}/dev"
    os.makedirs(f"{volume}/pts")
    os.mknod(f"{volume}/null", 0o020666, os.makedev(1, 3))
    t.config["mounts"].insert(1, {"destination": "/dev", "type": "bind", "source": volume, "options": ["bind"]})
    for target in ("/victim", "/proc/version"):
        os.symlink(target, f"{volume}/ptmx")
        code, shown = t.terminal("run", t.id)
        t.equal(code, 1, shown)
        if t.name == "creel":
            t.contains(shown, "it is not the multiplexer of a devpts")
        os.unlink(f"{volume}/ptmx")
    t.equal(open(f"{t.rootfs}/victim").read(), "untouched\n")
    canaries.untouched()
