"""CVE-2024-21626: a descriptor of the host's leaks into the container, and a path through /proc/self/fd leads out by it."""

import os

from security.harness import WHOLE, install
from suite import case

NUMBERS = range(256) if WHOLE else [*range(40), *range(40, 256, 16)]


@case()
def no_descriptor_leads_a_working_directory_out(t):
    """Attack 1. Removed to see it fail: `let_go_of_the_host` and `check_inside` in process/payload.rs."""
    install(t)
    for number in NUMBERS:
        t.process["cwd"] = f"/proc/self/fd/{number}"
        t.run("/payload", "here", code={0, 1})


@case()
def no_descriptor_leads_an_execs_working_directory_out(t):
    """Attack 2. Removed to see it fail: as above, with the one in process/exec.rs as well."""
    install(t)
    t.sleeper()
    for number in NUMBERS:
        t.exec("--cwd", f"/proc/self/fd/{number}", t.id, "/payload", "here", code={0, 1, 126, 127, 255})


@case()
def no_descriptor_leads_to_the_hosts_executables(t):
    """Attack 3b, for run and exec: the program's own path. Removed to see it fail: as above."""
    t.file("outside/program", "#!/bin/sh\necho escaped\n", 0o755)
    t.sleeper()
    other = f"{t.id}-other"
    for number in NUMBERS:
        for up in ("", "/..", "/../../.."):
            path = f"/proc/self/fd/{number}{up}{t.directory}/outside/program"
            t.exec(t.id, path, code={1, 126, 127, 255})
            if up:
                continue
            t.process["args"] = [path]
            t.save()
            t.rt("run", other, code=1)


@case()
def a_working_directory_that_is_swapped_leads_nowhere(t):
    """The image's link, in place of the configuration's path. Removed to see it fail: as for the first."""
    install(t)
    for number in range(3, 32):
        link = f"{t.rootfs}/way"
        os.symlink(f"/proc/self/fd/{number}", link)
        t.process["cwd"] = "/way"
        t.run("/payload", "here", code={0, 1})
        os.unlink(link)
