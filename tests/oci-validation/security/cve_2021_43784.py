"""CVE-2021-43784: a length that does not fit into its field, so that what follows is read as something else: here the
message from the parent to the process in the namespaces, which creel does not have; the kernel's own limits remain."""

from suite import case

LONG = 70 * 1024


@case()
def a_path_of_70_kib_is_refused(t):
    """Removed to see it fail: nothing can be removed; the length has no field. What is seen is a clean refusal."""
    for kind in ("network", "pid", "ipc", "uts", "mount"):
        t.namespace(kind, "/proc/self/ns/" + "n" * LONG)
        result = t.refused(*(["linux.namespaces", "name too long"] if t.name == "creel" else []))
        t.lacks(result.said, "panicked")
        t.linux["namespaces"] = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")]


@case(runc="1.1.5: refused by netlink, without the field", crun="1.8.1: by the kernel, without the field")
def maps_of_70_kib_are_refused(t):
    """Removed to see it fail: MOST_LINES in userns/plan.rs: the kernel's EINVAL then names no field."""
    t.linux["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        t.linux[ids] = [{"containerID": n, "hostID": 100000 + n, "size": 1} for n in range(5000)]
    t.refused("linux.uidMappings", "1 to 340 ranges, not 5000")


@case()
def other_long_inputs_are_refused(t):
    """Hostname, working directory, argument: whatever the kernel does not take is told, and nothing is left."""
    t.config["hostname"] = "h" * LONG
    t.refused()
    t.config["hostname"] = "box"
    t.process["cwd"] = "/" + "c" * LONG
    t.refused()
    t.process["cwd"] = "/"
    t.process["args"] = ["/bin/" + "a" * LONG]
    t.refused()
