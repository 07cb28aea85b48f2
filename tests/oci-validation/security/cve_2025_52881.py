"""CVE-2025-52881, CVE-2025-62596 (youki): a mount that is swapped in sends writes for /proc/self/attr and /proc/sys
elsewhere."""

import ctypes
import os

from cases.hooks import hook, script
from security.harness import Canaries, race
from suite import Skipped, case

KEY, FILE = "net.ipv4.ping_group_range", "/proc/sys/net/ipv4/ping_group_range"
CLONE_NEWNET = 0x40000000


def of_namespace(pid, file):
    """What the kernel has for the network namespace of this process, whatever is mounted in its /proc."""
    read, write = os.pipe()
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    child = os.fork()
    if child == 0:
        if ctypes.CDLL(None).setns(namespace, CLONE_NEWNET) == 0:
            os.write(write, open(file, "rb").read())
        os._exit(0)
    os.close(write)
    os.close(namespace)
    os.waitpid(child, 0)
    with os.fdopen(read) as file:
        return file.read().split()


@case(runc="1.1.5 writes to the file that was put there")
def a_parameter_reaches_the_kernel_whatever_covers_proc_sys(t):
    """The hook stands for whoever wins the race. Removed to see it fail: the private /proc in `sysctl::apply`, which opened
    the container's own instead."""
    t.linux["sysctl"] = {KEY: "7 9"}
    t.file("cover", "old\n")
    hook(t, "createContainer", script(t, f"mount --bind {t.directory}/cover {t.rootfs}{FILE}"))
    pid = t.sleeper()
    t.equal(of_namespace(pid, FILE), ["7", "9"])
    t.equal(open(f"{t.directory}/cover").read(), "old\n")


@case()
def labels_are_those_that_were_asked_for(t):
    """P, read on the host, for init and for exec. Removed to see it fail: `lsm::label_next_exec` in each of the two."""
    profiles = "/sys/kernel/security/apparmor/profiles"
    if not os.path.exists(profiles):
        raise Skipped("the kernel has no AppArmor: CONFIG_SECURITY_APPARMOR, lsm=apparmor")
    loaded = [line.split()[0] for line in open(profiles) if line.endswith("(enforce)\n") and "//" not in line]
    profile = sorted(loaded)[0]
    t.process["apparmorProfile"] = profile
    pid = t.sleeper()
    t.equal(open(f"/proc/{pid}/attr/current").read().strip(), f"{profile} (enforce)")
    t.exec("--detach", "--pid-file", f"{t.directory}/pid", t.id, "/bin/sleep", "1000")
    pid = open(f"{t.directory}/pid").read()
    t.equal(open(f"/proc/{pid}/attr/current").read().strip(), f"{profile} (enforce)")


@case(runc="1.1.5 loses such races", crun="1.8.1 loses such races")
def a_swapped_volume_redirects_no_parameter(t):
    """R. Removed to see it fail: procfs in `target::check`, and the private /proc as above."""
    canaries = Canaries(t)
    os.makedirs(f"{t.directory}/volume/real")
    os.symlink("/proc/sys/net/ipv4", f"{t.directory}/volume/other")
    t.linux["sysctl"] = {KEY: "7 9"}
    t.linux["readonlyPaths"] = []
    t.mount("/vol", type="bind", source=f"{t.directory}/volume", options=["bind"])
    t.mount("/vol/real", type="tmpfs", source="tmpfs")
    t.process["args"] = ["sh", "-c", f"cat {FILE}; grep -c /proc/sys /proc/self/mountinfo; true"]

    def check(result):
        if result.code == 0:
            t.equal(result.out.split(), ["7", "9", "0"], "the parameter, and mounts below /proc/sys")

    codes = race(t, f"{t.directory}/volume/real", f"{t.directory}/volume/other", check)
    t.equal(codes, {0, 1}, "both outcomes")
    canaries.untouched()
