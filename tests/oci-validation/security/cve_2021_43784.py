"""CVE-2021-43784: a length that does not fit into its field, so that what follows is read as something else: here the
message from the parent to the process in the namespaces, which creel does not have; the kernel's own limits remain."""

from suite import case

LONG = 1 << 16
FILES = {"network": "net", "mount": "mnt"}  # below /proc/self/ns, where the name is another one


def overlong(text):
    """So much longer that a length of 16 bits, as netlink has them, says it ends where `text` does."""
    return text + "n" * LONG


@case()
def a_path_of_64_kib_is_refused(t):
    """Cut off, it is the runtime's own namespace. Removed to see it fail: the length that `open_one` (namespaces/apply.rs)
    leaves to the string, of which it then opened `len as u16` bytes."""
    for kind in ("network", "pid", "ipc", "uts", "mount"):
        t.namespace(kind, overlong(f"/proc/self/ns/{FILES.get(kind, kind)}"))
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
    """Hostname, working directory, argument: whatever the kernel does not take is told, and nothing is left. Removed to see
    it fail: the lengths, one by one, as above: in `set_names` (process/init.rs), `change_directory` and `find_payload`
    (process/payload.rs)."""
    t.config["hostname"] = overlong("box")
    t.refused()
    t.config["hostname"] = "box"
    t.process["cwd"] = overlong("/")
    t.refused()
    t.process["cwd"] = "/"
    t.process["args"] = [overlong("/bin/true")]
    t.refused()
