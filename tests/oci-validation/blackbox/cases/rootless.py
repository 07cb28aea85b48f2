"""The runtime run by a user who is not root: with her own id mapped alone, and with her subordinate ids."""

import errno
import json
import os
import shutil
import subprocess

import user
from cases.seccomp_notify import Agent, notify
from suite import Skipped, case, console_socket


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def unmount(path):
    subprocess.run(["umount", path], check=True)


@case()
def out_of_the_box(t):
    user.become(t)
    said = t.sh("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; hostname").out.split()
    own = lambda id: ["0", str(id), "1"]
    t.equal(said, ["0", "0", *own(user.UID), *own(user.GID), "deny", "runc"])
    t.none_left()


@case(crun="1.8.1 enters nothing that was not started")
def its_life(t):
    user.become(t)
    t.create("/bin/sleep", "1000")
    t.equal(t.state()["status"], "created")
    # Before it is started, too: a user has no way into a process that hides from him.
    t.equal(t.exec(t.id, "/bin/sh", "-c", "echo $PPID $(id -u)").out, "0 0\n")
    t.rt("start", t.id)
    t.equal(t.state()["status"], "running")
    t.contains(t.rt("list").out, user.NAME)
    t.equal(t.exec(t.id, "/bin/sh", "-c", "exit 7", code=7).code, 7)
    t.ends()


@case(runc="runc has an environment of its own there")
def what_waits_for_start_shows_no_environment(t):
    user.become(t)
    t.create("/bin/true", env={**t.env, "SECRET": "do-not-show"})
    shown = t.exec(t.id, "/bin/cat", "/proc/1/environ", code=None).said
    t.lacks(shown, "do-not-show")


@case()
def terminals(t):
    user.become(t)
    t.process["terminal"] = True
    t.process["args"] = ["/bin/sh", "-c", "tty; echo done"]
    code, shown = t.terminal("run", t.id)
    t.equal(code, 0, shown)
    t.contains(shown, "/dev/pts/0")
    t.process["terminal"] = False
    t.sleeper()
    code, shown = t.terminal("exec", "-t", t.id, "/bin/tty")
    t.equal(code, 0, shown)
    t.contains(shown, "/dev/pts/")
    t.ends()


@case()
def a_terminal_goes_to_its_receiver(t):
    user.become(t)
    t.process["terminal"] = True
    path = f"{t.directory}/console"
    with console_socket(path) as receiver:
        os.chmod(path, 0o777)
        t.create("/bin/sleep", "1000", options=["--console-socket", path])
        master = receiver.master()
    t.ends()
    os.close(master)


@case()
def devices_are_the_hosts(t):
    user.become(t)
    said = t.sh("for name in null zero full random urandom tty; do stat -c '%t:%T' /dev/$name; done; echo x >/dev/null").out
    t.equal(said.split(), ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"])


@case()
def masks_and_read_only_paths(t):
    user.become(t)
    said = t.sh("wc -c </proc/keys; ls /sys/firmware | wc -l; echo x >/proc/sys/kernel/hostname; touch /x; true").said
    t.contains(said, "0\n0\n")
    t.equal(said.count("Read-only file system"), 2, said)


@case()
def seccomp_sysctl_and_no_new_privileges(t):
    user.become(t)
    t.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    t.linux["sysctl"] = {"kernel.msgmax": "4096"}
    said = t.sh("mkdir /dev/shm/x; cat /proc/sys/kernel/msgmax; grep -E 'Seccomp:|NoNewPrivs' /proc/self/status").said
    t.contains(said, "Operation not permitted")
    t.contains(said, "4096")
    t.matches(said, r"Seccomp:\s2")
    t.matches(said, r"NoNewPrivs:\s1")


@case(runc="runc 1.1 may not take the listener out of its init")
def a_seccomp_agent_is_asked(t):
    user.become(t)
    for no_new_privileges in (True, False):
        t.process["noNewPrivileges"] = no_new_privileges
        with Agent(t, errno.ENOMEDIUM) as agent:
            os.chmod(agent.path, 0o777)
            notify(t, agent)
            t.sleeper()
            t.contains(t.exec(t.id, "mkdir", "/dev/shm/x", code=1).err, "No medium found")
            t.equal(len(agent.states), 2, "listeners")
            t.ends()
        os.unlink(agent.path)


@case(runc="runc 1.1 wants maps of a namespace that it joins")
def joining_ones_own_namespaces(t):
    user.become(t)
    pid = t.sleeper()
    second = f"{t.id}-second"
    for kind in ("user", "ipc", "uts"):
        t.namespace(kind, f"/proc/{pid}/ns/{kind}")
    del t.linux["uidMappings"], t.linux["gidMappings"], t.config["hostname"]
    t.process["args"] = ["/bin/sh", "-c", "readlink /proc/self/ns/user; id -u; hostname"]
    t.save()
    said = t.rt("run", second).out.split()
    t.equal(said, [os.readlink(f"/proc/{pid}/ns/user"), "0", "runc"])
    t.ends()


@case()
def hooks_run_as_the_user(t):
    user.become(t)
    script = t.file("hook", '#!/bin/sh\necho "$1 $(id -u)" >>"$2"\n', 0o755)
    log = f"{t.directory}/log"
    user.own(t)
    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    t.config["hooks"] = {kind: [{"path": script, "args": ["hook", kind, log]}] for kind in kinds}
    t.sleeper()
    t.ends()
    lines = [line.split() for line in open(log)]
    t.equal([kind for kind, _ in lines], kinds)
    t.equal({uid for kind, uid in lines if kind != "createContainer"}, {str(user.UID)})


@case(runc="runc before 1.2 wants the locked options to be repeated")
def bind_mounts_keep_what_is_locked(t):
    """What the host has mounted nodev and noexec stays so, whatever is asked for; read-only can be added."""
    user.become(t)
    source = f"{t.directory}/source"
    os.makedirs(source)
    mount("-t", "tmpfs", "-o", "nosuid,nodev,noexec,mode=777", "tmpfs", source)
    try:
        t.mount("/mnt", type="bind", source=source, options=["rbind", "ro"])
        os.makedirs(f"{t.rootfs}/mnt", exist_ok=True)
        said = t.sh("grep ' /mnt ' /proc/self/mounts; touch /mnt/x 2>&1; true").out
        t.matches(said, r"ro,nosuid,nodev,noexec")
        t.contains(said, "Read-only file system")
    finally:
        unmount(source)


@case(runc="runc leaves them writable below /sys", crun="1.8.1 leaves them writable")
def the_hosts_cgroups_are_read_only(t):
    """CVE-2023-25809: a cgroup of the user's would be one of the container's root."""
    user.become(t)
    own = "/sys/fs/cgroup/pids/tess"
    if not os.path.isdir("/sys/fs/cgroup/pids"):
        own = "/sys/fs/cgroup/tess"
    os.mkdir(own)
    try:
        os.chown(own, user.UID, user.GID)
        t.config["mounts"] = [m for m in t.config["mounts"] if m["destination"] != "/sys/fs/cgroup"]
        t.linux["namespaces"] = [n for n in t.linux["namespaces"] if n["type"] != "cgroup"]
        t.contains(t.sh(f"mkdir {own}/x; true").said, "Read-only file system")
        t.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]})
        t.contains(t.sh(f"mkdir /sys/fs/cgroup/x {own}/x; true").said, "Read-only file system")
    finally:
        os.rmdir(own)


@case(runc="runc makes no bind of it", crun="1.8.1 makes no bind of it")
def sysfs_where_the_network_is_the_hosts(t):
    user.become(t)
    for mount in t.config["mounts"]:
        if mount["destination"] == "/sys":
            mount.update(type="sysfs", source="sysfs", options=["nosuid", "noexec", "nodev"])
    said = t.sh("ls /sys/class/net; mkdir /sys/x 2>&1; grep ' /sys ' /proc/self/mounts").said
    t.contains(said, "lo")
    t.matches(said, r"sysfs /sys sysfs ro")
    # With one of its own it has a sysfs of its own.
    t.linux["namespaces"].append({"type": "network"})
    t.equal(t.sh("ls /sys/class/net").out.split(), ["lo"])


@case(runc="runc before 1.2 has no time namespaces", crun="1.8.1 does not set the clocks then")
def time_namespace(t):
    user.become(t)
    t.linux["namespaces"].append({"type": "time"})
    t.linux["timeOffsets"] = {"boottime": {"secs": 1000000}}
    up = float(t.sh("cat /proc/uptime").out.split()[0])
    t.true(abs(up - 1000000 - float(open("/proc/uptime").read().split()[0])) < 60, f"up for {up} s")


@case(crun="1.8.1 leaves the limit out")
def a_limit_without_a_cgroup_is_refused(t):
    user.become(t)
    t.linux["resources"] = {"pids": {"limit": 5}}
    t.refused("limit")


@case(runc="its words are others", crun="its words are others")
def what_needs_a_cgroup_says_that_there_is_none(t):
    user.become(t)
    t.sleeper()
    for command in (["pause"], ["update", "--pids-limit", "5"], ["ps"], ["events", "--stats"]):
        t.contains(t.rt(*command, t.id, code=1).said, "the container has no cgroup")
    t.contains(t.rt("kill", "--all", t.id, "TERM", code=1).said, "the container has no cgroup")
    t.rt("kill", "--all", t.id, "KILL")
    t.wait("stopped")


@case(runc="runc 1.1 sets limits in no hierarchy then", crun="1.8.1 uses no cgroup of v1 without root")
def a_delegated_v1_cgroup_takes_limits(t):
    """By name, in the hierarchies that were given to her."""
    if not os.path.isdir("/sys/fs/cgroup/pids"):
        raise Skipped("the pids hierarchy of v1 is not mounted")
    user.become(t)
    place = "/sys/fs/cgroup/pids"
    os.chown(place, user.UID, user.GID)
    try:
        t.linux["resources"] = {"pids": {"limit": 17}}
        t.sleeper()
        t.equal(open(f"{place}/{t.id}/pids.max").read().strip(), "17")
        t.rt("update", "--pids-limit", "19", t.id)
        t.equal(open(f"{place}/{t.id}/pids.max").read().strip(), "19")
        t.contains(t.rt("ps", t.id).out, "sleep")
        t.ends()
    finally:
        os.chown(place, 0, 0)


@case()
def the_oom_score_can_be_raised_and_not_lowered(t):
    user.become(t)
    t.process["oomScoreAdj"] = 500
    t.equal(t.sh("cat /proc/self/oom_score_adj").out, "500\n")
    t.process["oomScoreAdj"] = -500
    t.refused("oom_score_adj")


@case()
def a_resource_limit_cannot_be_raised(t):
    user.become(t)
    t.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 9999999, "hard": 9999999}]
    t.refused("RLIMIT_NOFILE" if "creel" in t.runtime else "rlimit")


@case(crun="1.8.1 leaves the groups out")
def groups_and_unmapped_users_are_refused(t):
    user.become(t)
    t.process["user"]["additionalGids"] = [7]
    t.refused("groups")
    t.process["user"] = {"uid": 7, "gid": 0}
    t.refused("")


@case(crun="1.8.1 makes one of its own")
def without_a_user_namespace_it_is_refused(t):
    user.become(t)
    t.remove_namespace("user")
    del t.linux["uidMappings"], t.linux["gidMappings"]
    t.refused("user namespace")


@case(runc="runc says where it could not write only", crun="its words are others")
def without_a_place_for_its_state(t):
    user.become(t)
    t.root = "/run/creel-of-root"
    t.contains(t.run("/bin/true", code=1).said, "XDG_RUNTIME_DIR")
    t.root = user.ROOT


@case(runc="runc takes it", crun="1.8.1 takes it")
def state_that_others_may_write_is_refused(t):
    user.become(t)
    os.chmod(user.ROOT, 0o777)
    try:
        t.contains(t.run("/bin/true", code=1).said, "others may write to it")
    finally:
        os.chmod(user.ROOT, 0o755)
    os.chown(user.ROOT, 7, 7)
    os.chmod(user.ROOT, 0o1777)
    try:
        t.contains(t.run("/bin/true", code=1).said, "it belongs to user 7")
    finally:
        os.chown(user.ROOT, user.UID, user.GID)
        os.chmod(user.ROOT, 0o755)


@case()
def user_namespaces_forbidden(t):
    """In a user namespace of its own, whose limit it may set."""
    user.become(t)
    holder = subprocess.Popen(["unshare", "--user", "sleep", "1000"])
    try:
        own = os.readlink("/proc/self/ns/user")
        t.until(lambda: os.readlink(f"/proc/{holder.pid}/ns/user") != own, "the user namespace")
        for name, id, first in (("uid", user.UID, user.SUBUIDS), ("gid", user.GID, user.SUBGIDS)):
            with open(f"/proc/{holder.pid}/{name}_map", "w") as file:
                file.write(f"0 {first} 1\n1 {id} 1\n")
            t.linux[f"{name}Mappings"][0]["hostID"] = 1
        enter = ["nsenter", "--user", "--target", str(holder.pid)]
        subprocess.run([*enter, "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces"], check=True)
        t.prefix = [*enter, "setpriv", "--reuid", "1", "--regid", "1", "--clear-groups"]
        said = t.run("/bin/true", code=1).said
        if "creel" in t.runtime:
            t.contains(said, "user.max_user_namespaces is 0 (sysctl user.max_user_namespaces=15000, as root)")
    finally:
        holder.kill()
        holder.wait()


# --- subordinate ids


def fails(t, *words):
    """As `t.refused`, while something of the case's own is mounted."""
    said = t.run("/bin/true", code=1).said
    for word in words:
        t.contains(said, word)


@case()
def subordinate_ids(t):
    user.become(t, subordinate=True)
    t.config["root"]["readonly"] = False
    t.process["user"] = {"uid": 7, "gid": 8}
    said = t.sh("id -u; id -g; cat /proc/self/setgroups").out.split()
    t.equal(said, ["7", "8", "allow"])
    t.process["user"] = {"uid": 0, "gid": 0}
    t.process["capabilities"] = {set: ["CAP_CHOWN"] for set in ("bounding", "effective", "permitted")}
    t.sh("echo x >/made; chown 5:6 /made")
    stat = os.stat(f"{t.rootfs}/made")
    t.equal((stat.st_uid, stat.st_gid), (user.SUBUIDS + 4, user.SUBGIDS + 5))


@case(runc="runc sets no groups for users", crun="1.8.1 leaves the groups out")
def subordinate_groups(t):
    user.become(t, subordinate=True)
    t.process["user"] = {"uid": 7, "gid": 8, "additionalGids": [9, 10]}
    t.sleeper()
    t.equal(t.exec(t.id, "/bin/id", "-G").out.split(), ["8", "9", "10"])
    t.contains(t.exec("--additional-gids", "11", t.id, "/bin/id", "-G").out.split(), "11")
    status = open(f"/proc/{t.state()['pid']}/status").read()
    t.matches(status, rf"Groups:\s{user.SUBGIDS + 8} {user.SUBGIDS + 9} ")
    t.ends()


@case(runc="its words are others", crun="its words are others")
def no_range_of_ids(t):
    user.become(t, subordinate=True)
    empty = t.file("empty")
    mount("--bind", empty, "/etc/subuid")
    try:
        fails(t, "newuidmap failed", "/etc/subuid gives tess no ids, 500000-565535 are wanted", "--add-subuids")
    finally:
        unmount("/etc/subuid")
    mount("--bind", empty, "/etc/subgid")
    try:
        fails(t, "newgidmap failed", "/etc/subgid gives tess no ids, 600000-665535 are wanted", "--add-subgids")
    finally:
        unmount("/etc/subgid")


@case(runc="its words are others", crun="its words are others")
def a_mapping_beyond_the_range(t):
    user.become(t, subordinate=True)
    t.linux["uidMappings"][1]["size"] += 1
    t.refused("500000-565536 are wanted, /etc/subuid gives tess 500000-565535")


@case(runc="its words are others", crun="its words are others")
def helpers_that_cannot_help(t):
    user.become(t, subordinate=True)
    helper = shutil.which("newuidmap")
    plain = f"{t.directory}/newuidmap"
    shutil.copy(helper, plain)
    os.chmod(plain, 0o755)
    # Not set-user-id.
    mount("--bind", plain, helper)
    try:
        fails(t, "has neither the set-user-id bit", f"chmod u+s {helper}")
    finally:
        unmount(helper)
    # Not there: what is no program is not found.
    os.chmod(plain, 0o644)
    mount("--bind", plain, helper)
    try:
        fails(t, "takes newuidmap, which is not installed (install the package uidmap")
    finally:
        unmount(helper)
    # Deprived of its privilege.
    t.prefix = [*t.prefix, "--no-new-privs"]
    t.refused("no_new_privs is set here")


@case(runc="its words are others", crun="its words are others")
def helpers_on_a_nosuid_mount(t):
    user.become(t, subordinate=True)
    helper = shutil.which("newuidmap")
    mount("--bind", helper, helper)
    try:
        mount("-o", "remount,bind,nosuid", helper)
        fails(t, "is on a mount with the option nosuid")
    finally:
        unmount(helper)


# --- in another container's user namespace

NESTED = [
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP CAP_NET_ADMIN CAP_SYS_CHROOT".split(),
    "CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_MKNOD CAP_SYS_RESOURCE CAP_AUDIT_WRITE CAP_NET_BIND_SERVICE".split(),
]


def nest(t, change=lambda inner: None, masked=True, without=(), seccomp=None):
    """What a container says that is made inside a user's container, from the config.json that `spec` writes there."""
    user.become(t, subordinate=True)
    bundle = f"{t.directory}/inner"
    os.makedirs(bundle)
    subprocess.run(["cp", "-a", t.rootfs, f"{bundle}/rootfs"], check=True)
    subprocess.run([t.runtime, "spec", "--bundle", bundle], check=True)
    inner = json.load(open(f"{bundle}/config.json"))
    script = "id -u; stat -c %t:%T /dev/null; mkdir /sys/fs/cgroup/x; cat /proc/self/uid_map; exit 5"
    inner["process"].update(terminal=False, args=["/bin/sh", "-c", script])
    change(inner)
    json.dump(inner, open(f"{bundle}/config.json", "w"))
    user.own(t)
    capabilities = [name for name in sum(NESTED, []) if name not in without]
    t.process["capabilities"] = {set: capabilities for set in ("bounding", "effective", "permitted")}
    t.config["root"]["readonly"] = False
    if seccomp:
        t.linux["seccomp"] = seccomp
    if not masked:
        t.linux["maskedPaths"] = t.linux["readonlyPaths"] = []
    t.mount("/tmp", type="tmpfs", source="tmpfs")
    t.mount("/tmp/inner", type="bind", source=bundle, options=["rbind"])
    t.mount("/tmp/runtime", type="bind", source=t.runtime, options=["bind", "ro"])
    return t.sh("exec /tmp/runtime --root /tmp/state run --bundle /tmp/inner n1", code=None)


def own_user_namespace(inner):
    inner["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        inner["linux"][name] = [{"containerID": 0, "hostID": 1, "size": 1000}]


DYNAMIC = "it is linked dynamically, and the container has no libraries"


@case(runc=DYNAMIC, crun=DYNAMIC)
def nested_as_an_engine_does_it(t):
    """As root of a user namespace that somebody else has made: devices are bound, cgroups left out."""
    result = nest(t)
    t.equal(result.code, 5, result.said)
    t.equal(result.out.split()[:2], ["0", "1:3"])
    t.contains(result.err, "Read-only file system")


@case(runc=DYNAMIC, crun=DYNAMIC)
def nested_in_a_user_namespace_of_its_own(t):
    result = nest(t, own_user_namespace, masked=False)
    # What is root's of the outer container is nobody's in the inner one.
    t.equal(result.code, 5, result.said)
    t.equal(result.out.split(), ["0", "1:3", "0", "1", "1000"])


@case(runc=DYNAMIC, crun=DYNAMIC)
def nested_limits_are_refused(t):
    def change(inner):
        inner["linux"]["resources"] = {"pids": {"limit": 5}}

    result = nest(t, change)
    t.equal(result.code, 1, result.said)
    t.contains(result.said, "linux.resources.pids.limit: this user may not make the cgroup")


@case(runc=DYNAMIC, crun=DYNAMIC)
def nested_where_proc_is_masked(t):
    """The kernel lets nobody see through a user namespace of his own what was hidden from him."""

    result = nest(t, own_user_namespace)
    t.equal(result.code, 1, result.said)
    t.contains(result.said, "(/proc)")
    t.contains(result.said, "operation not permitted")


@case(runc=DYNAMIC, crun=DYNAMIC)
def nested_without_the_capabilities(t):
    """What root of an engine's container has not got, by default."""
    for name, said in (("CAP_SYS_ADMIN", "clone3: operation not permitted: making namespaces"), ("CAP_NET_ADMIN", "lo: ioctl(SIOCSIFFLAGS)")):
        result = nest(t, without=[name])
        t.equal(result.code, 1, result.said)
        t.contains(result.said, said)
        t.contains(result.said, f"needs {name}, which root of an outer container may lack (")
        t.contains(result.said, "creel spec --rootless)")
        shutil.rmtree(f"{t.directory}/inner")


@case(runc=DYNAMIC, crun=DYNAMIC)
def nested_in_a_filter_that_forbids_names(t):
    """As that of podman, for a container without CAP_SYS_ADMIN."""
    rule = {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}

    def change(inner):
        own_user_namespace(inner)
        inner["hostname"] = "inner"

    result = nest(t, change, masked=False, seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    t.equal(result.code, 1, result.said)
    t.contains(result.said, "inner: sethostname: operation not permitted: a seccomp filter around the runtime forbids it")
    t.contains(result.said, "(leave out hostname and domainname, or run the outer container with CAP_SYS_ADMIN")
