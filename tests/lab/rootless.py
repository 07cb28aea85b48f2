#!/usr/bin/env python3
"""Containers of a user with a systemd manager of his own, on cgroup v2; run by him in his login session, and by root for
what only root can take away.

    rootless.py RUNTIME

Prints a JSON line for each case: [name, "pass", "FAIL" or "skip", why, seconds]. The machine is thrown away afterwards.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback

REPOSITORY = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/../..")
PATIENCE = float(os.environ.get("BLACKBOX_PATIENCE", 1))
USER = "tester"


class Skipped(Exception):
    """This machine cannot run the case; says why."""


class Bundle:
    """A bundle as `spec --rootless` makes it, and the commands on its container."""

    number = 0

    def __init__(self, runtime, prefix=()):
        Bundle.number += 1
        self.runtime, self.prefix, self.id = runtime, list(prefix), f"r{Bundle.number}"
        self.path = tempfile.mkdtemp(prefix="creel-", dir=os.environ.get("XDG_RUNTIME_DIR", "/var/tmp"))
        environment = {**os.environ, "ROOTFS_ONLY": "1"}
        subprocess.run([f"{REPOSITORY}/hack/bundle.sh", self.path], env=environment, check=True)
        os.chmod(self.path, 0o777)
        self.rt("spec", "--rootless")
        self.config = json.load(open(f"{self.path}/config.json"))
        self.config["process"]["terminal"] = False
        os.remove(f"{self.path}/config.json")

    def rt(self, *arguments, code=0):
        with tempfile.TemporaryFile("w+") as said:  # a container may hold it open
            command = [*self.prefix, self.runtime, *arguments]
            done = subprocess.run(
                command, cwd=self.path, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, timeout=60 * PATIENCE
            )
            said.seek(0)
            text = said.read()
        assert done.returncode == code, f"{' '.join(arguments)} exited with {done.returncode}: {text}"
        return text

    def save(self, *command):
        self.config["process"]["args"] = list(command)
        with open(f"{self.path}/config.json", "w") as file:
            json.dump(self.config, file)

    def run(self, *command, flags=(), code=0):
        self.save(*command)
        return self.rt(*flags, "run", self.id, code=code)

    def cgroup(self):
        pid = json.loads(self.rt("state", self.id))["pid"]
        (line,) = (line for line in open(f"/proc/{pid}/cgroup") if line.startswith("0::"))
        return f"/sys/fs/cgroup{line.strip()[3:]}"


def is_in(part, text):
    assert part in text, f"{part!r} is not in {text!r}"


def read(path):
    return open(path).read().strip()


def out_of_the_box(runtime):
    said = Bundle(runtime).run("sh", "-c", "id -u; cat /proc/self/uid_map; mkdir /sys/fs/cgroup/x; true")
    assert said.split()[:4] == ["0", "0", str(os.getuid()), "1"], said
    is_in("Read-only file system", said)


def subordinate_ids(runtime):
    bundle = Bundle(runtime)
    for name in ("uid", "gid"):
        first = next(line.split(":") for line in open(f"/etc/sub{name}") if line.startswith(f"{USER}:"))
        bundle.config["linux"][f"{name}Mappings"].append({"containerID": 1, "hostID": int(first[1]), "size": int(first[2])})
    bundle.config["process"]["user"] = {"uid": 7, "gid": 8, "additionalGids": [9]}
    assert bundle.run("sh", "-c", "echo $(id -u) $(id -G)") == "7 8 9\n"


def limits_through_systemd(runtime):
    bundle = Bundle(runtime)
    bundle.config["linux"]["resources"] = {"pids": {"limit": 20}, "memory": {"limit": 64 << 20}}
    bundle.save("sleep", "1000")
    bundle.rt("--systemd-cgroup", "run", "--detach", bundle.id)
    try:
        group = bundle.cgroup()
        is_in(f"/user@{os.getuid()}.service/", group)
        assert (read(f"{group}/pids.max"), read(f"{group}/memory.max")) == ("20", str(64 << 20)), group
        unit = os.path.basename(group)
        is_in("TasksMax=20", subprocess.run(["systemctl", "--user", "show", unit], capture_output=True, text=True).stdout)
        assert bundle.rt("exec", bundle.id, "cat", "/proc/self/cgroup") == "0::/\n"
        bundle.rt("update", "--pids-limit", "30", bundle.id)
        assert read(f"{group}/pids.max") == "30"
        bundle.rt("pause", bundle.id)
        is_in("frozen 1", read(f"{group}/cgroup.events"))
        bundle.rt("resume", bundle.id)
        is_in("sleep", bundle.rt("ps", bundle.id))
        assert json.loads(bundle.rt("events", "--stats", bundle.id))["data"]["pids"]["current"] == 1
    finally:
        bundle.rt("delete", "--force", bundle.id)
    assert not os.path.exists(group), f"{group} is still there"


def cgroups_to_divide(runtime):
    """systemd has to fetch the process from the login session's cgroup into a sub-cgroup of the scope's."""
    bundle = Bundle(runtime)
    bundle.config["annotations"] = {"run.oci.systemd.subgroup": "inner", "run.oci.delegate-cgroup": "payload"}
    bundle.config["linux"]["resources"] = {"pids": {"limit": 20}}
    bundle.save("sleep", "1000")
    bundle.rt("--systemd-cgroup", "run", "--detach", bundle.id)
    try:
        group = bundle.cgroup()
        is_in(".scope/inner/payload", group)
        assert read(f"{os.path.dirname(group)}/pids.max") == "20", group
        assert (os.stat(group).st_uid, read(f"{group}/pids.max")) == (os.getuid(), "max"), group
        assert bundle.rt("exec", bundle.id, "cat", "/proc/self/cgroup") == "0::/payload\n"
    finally:
        bundle.rt("delete", "--force", bundle.id)
    scope = os.path.dirname(os.path.dirname(group))
    assert not os.path.exists(scope), f"{scope} is still there"


def lack_of_memory(runtime):
    """The limit holds; the scope goes with its last process, and nothing else stays."""
    bundle = Bundle(runtime)
    bundle.config["linux"]["resources"] = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    bundle.run("sh", "-c", "x=aaaaaaaa; while :; do x=$x$x; done", flags=["--systemd-cgroup"], code=137)
    assert bundle.id not in bundle.rt("list", "--quiet").split()
    assert not [line for line in os.walk("/sys/fs/cgroup/user.slice") if f"-{bundle.id}.scope" in line[0]]


def a_limit_without_delegation(runtime):
    """The login session's cgroup is not the user's."""
    bundle = Bundle(runtime)
    bundle.config["linux"]["resources"] = {"pids": {"limit": 20}}
    said = bundle.run("true", code=1)
    is_in("linux.resources.pids.limit: this user may not make the cgroup", said)
    is_in("--systemd-cgroup", said)


def limits_in_a_delegated_cgroup(runtime):
    """The file-system driver, where the caller is below a cgroup of the user's."""
    bundle = Bundle(runtime, ["systemd-run", "--user", "--scope", "--quiet"])
    bundle.config["linux"]["resources"] = {"pids": {"limit": 20}}
    bundle.save("sleep", "1000")
    bundle.rt("run", "--detach", bundle.id)
    try:
        assert read(f"{bundle.cgroup()}/pids.max") == "20"
    finally:
        bundle.rt("delete", "--force", bundle.id)


def of_tester(runtime):
    """A bundle that root runs as the user."""
    bundle = Bundle(runtime, ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "env", "XDG_RUNTIME_DIR=/tmp"])
    for name in ("uid", "gid"):
        bundle.config["linux"][f"{name}Mappings"][0]["hostID"] = 1000
    subprocess.run(["chown", "-hR", "1000:1000", bundle.path], check=True)
    return bundle


def forbidden_by(switch, value, bundle, words):
    before = read(switch)
    try:
        with open(switch, "w") as file:
            file.write(value)
        is_in(words, bundle.run("true", code=1))
    finally:
        with open(switch, "w") as file:
            file.write(before)


def user_namespaces_are_forbidden(runtime):
    """By Debian's sysctl, which only root can set."""
    bundle = of_tester(runtime)
    said = "kernel.unprivileged_userns_clone is 0 (sysctl kernel.unprivileged_userns_clone=1, as root)"
    forbidden_by("/proc/sys/kernel/unprivileged_userns_clone", "0", bundle, said)
    bundle.run("true")


# What a runtime needs, but for the right to make user namespaces.
PROFILE = """abi <abi/4.0>,
profile creel-confined RUNTIME flags=(attach_disconnected, mediate_deleted) {
  capability, network, mount, umount, pivot_root, signal, ptrace, unix, file,
  /** ix,
}
"""


def confined(profile):
    """AppArmor takes it from here on."""
    subprocess.run(["apparmor_parser", "--replace"], input=profile, text=True, check=True)


def user_namespaces_are_forbidden_by_apparmor(runtime):
    """By a profile without the rule, which counts since Linux 6.7; and by the sysctl of Ubuntu's kernels."""
    switch = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
    features = "/sys/kernel/security/apparmor/features/namespaces/mask"
    if not os.path.exists(features) or "userns_create" not in read(features):
        raise Skipped("AppArmor of this kernel knows no user namespaces (Linux 6.7)")
    bundle = of_tester(runtime)
    profile = PROFILE.replace("RUNTIME", runtime)
    confined(profile)
    try:
        said = bundle.run("true", code=1).replace("\\", "")  # which quote the log's quotes
        is_in('permission denied: AppArmor\'s profile "creel-confined"', said)
        is_in('does not let it make user namespaces (add the rule "userns," to the profile)', said)
        confined(profile.replace("  /** ix", "  userns,\n  /** ix"))
        bundle.run("true")
    finally:
        subprocess.run(["apparmor_parser", "--remove"], input=profile, text=True, check=True)
    if os.path.exists(switch):
        forbidden_by(switch, "1", bundle, "kernel.apparmor_restrict_unprivileged_userns is 1 (sysctl kernel.apparmor_restrict_unprivileged_userns=0, as root")
    bundle.run("true")


def a_users_container_has_its_apparmor_profile(runtime):
    """Of the user's own, in a user namespace; exec has it too, or another."""
    if not os.path.exists("/sys/kernel/security/apparmor/profiles"):
        raise Skipped("no AppArmor here")
    profile = "profile creel-users flags=(attach_disconnected) { file, signal, deny /etc/group r, }\nprofile creel-other { file, signal, }\n"
    confined(profile)
    try:
        bundle = of_tester(runtime)
        bundle.config["process"]["apparmorProfile"] = "creel-users"
        bundle.save("sleep", "1000")
        bundle.rt("run", "--detach", bundle.id)
        current = ("cat", "/proc/self/attr/current", "/etc/passwd", "/etc/group")
        said = bundle.rt("exec", bundle.id, *current, code=1)
        assert said.startswith("creel-users (enforce)\nroot:") and "/etc/group" in said, said
        said = bundle.rt("exec", "--apparmor", "creel-other", bundle.id, *current)
        assert said.startswith("creel-other (enforce)\n"), said
        is_in("creel-users", read(f"/proc/{json.loads(bundle.rt('state', bundle.id))['pid']}/attr/current"))
        bundle.rt("delete", "--force", bundle.id)
        bundle.config["process"]["apparmorProfile"] = "creel-nowhere"
        is_in("process.apparmorProfile", bundle.run("true", code=1))
    finally:
        subprocess.run(["apparmor_parser", "--remove"], input=profile, text=True, check=True)


def a_users_container_has_its_selinux_labels(runtime):
    """Of the user's own, in a user namespace: process, exec and mounts."""
    if not os.path.exists("/sys/fs/selinux/enforce"):
        raise Skipped("no SELinux here")
    process, files = "system_u:system_r:container_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2"
    bundle = of_tester(runtime)
    bundle.config["process"]["selinuxLabel"], bundle.config["linux"]["mountLabel"] = process, files
    bundle.save("sleep", "1000")
    bundle.rt("run", "--detach", bundle.id)
    pid = json.loads(bundle.rt("state", bundle.id))["pid"]
    for label in (read(f"/proc/{pid}/attr/current"), bundle.rt("exec", bundle.id, "cat", "/proc/self/attr/current")):
        assert label.rstrip("\0") == process, label
    for path in ("/dev", "/dev/shm", "/dev/pts", "/dev/mqueue"):
        label = os.getxattr(f"/proc/{pid}/root{path}", "security.selinux").decode().rstrip("\0")
        assert label == files, f"{path}: {label}"
    bundle.rt("delete", "--force", bundle.id)


AS_USER = [
    out_of_the_box,
    subordinate_ids,
    limits_through_systemd,
    cgroups_to_divide,
    lack_of_memory,
    a_limit_without_delegation,
    limits_in_a_delegated_cgroup,
]
AS_ROOT = [
    user_namespaces_are_forbidden,
    user_namespaces_are_forbidden_by_apparmor,
    a_users_container_has_its_apparmor_profile,
    a_users_container_has_its_selinux_labels,
]


def main():
    for case in AS_USER if os.geteuid() else AS_ROOT:
        begin = time.monotonic()
        try:
            case(sys.argv[1])
            result, why = "pass", ""
        except Skipped as skipped:
            result, why = "skip", str(skipped)
        except Exception:
            result, why = "FAIL", traceback.format_exc()
        print(json.dumps([f"rootless.{case.__name__}", result, why, time.monotonic() - begin]), flush=True)


if __name__ == "__main__":
    main()
