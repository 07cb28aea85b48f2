"""CVE-2016-9962: a joining process can be looked at from inside, and its descriptors of the host taken out of it."""

import time

from security.harness import Canaries, install, many
from suite import PATIENCE, case

EXECS = many(500)


def watcher(t, capabilities, act="watch"):
    """A container that looks at all processes it can see, with a file for what it finds."""
    install(t)
    for kind in ("bounding", "effective", "permitted"):
        t.process["capabilities"][kind] += capabilities
    t.process["args"] = ["/bin/sh", "-c", f"exec /payload {act} /stop {Canaries(t).path}/secret > /seen"]
    t.save()
    t.rt("run", "--detach", t.id)
    t.until(lambda: "watch" in open(f"/proc/{t.state()['pid']}/cmdline").read(), "the watcher")


def seen(t):
    time.sleep(0.1 * PATIENCE)
    t.file("/stop")
    t.wait("stopped")
    return open(f"{t.rootfs}/seen").read()


@case()
def five_hundred_execs_show_no_host_object_to_a_tracer(t):
    """Removed to see it fail: `close_all_but` at the top of `Joiner::prepare` (process/exec.rs)."""
    watcher(t, ["CAP_SYS_PTRACE"])
    for _ in range(EXECS):
        t.exec(t.id, "/payload", "nothing")
    t.equal(seen(t), "")


@case()
def a_tracer_of_a_user_namespace_sees_nothing_at_all(t):
    """Not even that it is the runtime: what is not dumpable belongs to the user namespace that executed it. Removed to see
    it fail: `hide` in `Joiner::prepare`."""
    t.linux["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        t.linux[ids] = [{"containerID": 0, "hostID": 0, "size": 1000}]
    watcher(t, ["CAP_SYS_PTRACE"], "watch-all")
    for _ in range(EXECS):
        t.exec(t.id, "/payload", "nothing")
    t.equal(seen(t), "")
