"""What a container does, by whom it is made: each row is a part of its life, each column a way to have (or not to have) a
user namespace. A column is data: what it changes on a case before the row runs, and who cannot pass it. A user who runs the
suite in his login session has the columns without root, with the cgroups that his systemd manager delegates to him."""

import contextlib
import json
import os
from dataclasses import dataclass, field

import user
from cases.idmap import maps, user_namespace
from cases.userns import RUNC, joins
from suite import CASES, ROOT, Case, console_socket, read_until


@dataclass
class Column:
    name: str
    # Called with the case; a context manager around the row.
    enter: object
    # Whom the container's root is outside.
    root: int
    skip: dict = field(default_factory=dict)
    # Rows that cannot be: name -> why.
    without: dict = field(default_factory=dict)
    # Takes no root.
    anyone: bool = False


@contextlib.contextmanager
def as_root(t):
    yield


@contextlib.contextmanager
def with_new(t):
    user_namespace(t)
    yield


@contextlib.contextmanager
def with_joined(t):
    """A holder with its own user namespace, whose maps are several, is joined."""
    user_namespace(t)
    ranges = maps((0, 100000, 1000), (1000, 201000, 1000))
    t.linux.update(uidMappings=ranges, gidMappings=ranges)
    holder, t.id = t.id, f"{t.id}-holder"
    args = list(t.process["args"])
    joins(t, f"/proc/{t.sleeper()}/ns/user")
    t.id, t.process["args"] = holder, args
    yield


@contextlib.contextmanager
def as_user(t, subordinate=False):
    """What `spec --rootless` writes, but with a network of its own, and a root that can be written to as in the other columns. All
    that a row puts into the bundle is hers before the runtime sees it."""
    user.become(t, subordinate)
    t.config["root"]["readonly"] = False
    t.linux["namespaces"].append({"type": "network"})
    t.config["mounts"] = [mount for mount in t.config["mounts"] if mount["destination"] != "/sys"]
    t.mount("/sys", type="sysfs", source="sysfs", options=["nosuid", "noexec", "nodev", "ro"])
    run = t.rt

    def run_owned(*arguments, **more):
        user.own(t)
        return run(*arguments, **more)

    t.rt = run_owned
    yield


def as_user_with_ranges(t):
    return as_user(t, subordinate=True)


NO_CGROUP = dict.fromkeys(("creel", "runc", "crun"), "a user has no cgroup here; rootless.py has what is said then, the lab a user who has")
ONE_ID = dict.fromkeys(("creel", "runc", "crun"), "one id is mapped, and these are others")
WITHOUT_CGROUP = dict.fromkeys(("paused_and_resumed", "limits_are_updated", "processes_are_listed"), NO_CGROUP) if ROOT else {}
# In a login session, whose own cgroup is not the user's.
STAYS = {"crun": "1.8.1 cannot take a process out of the session's cgroup"}
IN_SESSION = {} if ROOT else dict.fromkeys(("limits_are_updated", "executed_in", "executed_on_a_terminal"), STAYS)
if not ROOT:
    IN_SESSION["a_read_only_root_and_mounts_in_it"] = {"runc": "1.1.5 cannot make a bind read only that is nosuid by its source"}
WITHOUT_ROOT = {**WITHOUT_CGROUP, **IN_SESSION, "devices": {"crun": "1.8.1 mounts them before it has a user namespace"}}

COLUMNS = [
    Column("root", as_root, 0),
    Column("root_userns", with_new, 100000),
    Column("joined", with_joined, 100000, skip={"runc": RUNC}),
    Column(
        "rootless",
        as_user,
        user.UID,
        without={**WITHOUT_ROOT, "another_user_with_groups_and_capabilities": ONE_ID, "executed_in": ONE_ID},
        anyone=True,
    ),
    Column(
        "rootless_subuid",
        as_user_with_ranges,
        user.UID,
        without={**WITHOUT_ROOT, "another_user_with_groups_and_capabilities": {"runc": "1.1.5 gives no groups without root"}},
        anyone=True,
    ),
]
ROWS = []


def row(**skip):
    def register(function):
        ROWS.append((function, skip))
        return function

    return register


def outside(t, path):
    """Whom a file made by the container belongs to."""
    return os.stat(t.rootfs + path).st_uid


@row()
def create_start_kill_delete(t, column):
    t.create("/bin/sh", "-c", "echo x >/made; exec sleep 1000")
    t.equal(t.state()["status"], "created")
    t.true(not os.path.exists(f"{t.rootfs}/made"), "it runs before it was started")
    t.rt("start", t.id)
    t.until(lambda: os.path.exists(f"{t.rootfs}/made"), "it runs")
    t.equal(t.state()["status"], "running")
    t.equal(outside(t, "/made"), column.root)
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    t.rt("delete", t.id)
    t.rt("state", t.id, code=1)


@row()
def a_signal_is_handled_and_the_status_told(t, column):
    t.create("/bin/sh", "-c", 'trap "exit 7" TERM; echo x >/ready; while :; do sleep 0.1; done')
    t.rt("start", t.id)
    t.until(lambda: os.path.exists(f"{t.rootfs}/ready"), "it is ready")
    t.rt("kill", t.id, "TERM")
    t.wait("stopped")
    t.rt("delete", t.id)
    t.equal(t.run("/bin/sh", "-c", "exit 9", code=9).code, 9)


@row()
def paused_and_resumed(t, column):
    t.sleeper()
    t.rt("pause", t.id)
    t.equal(t.state()["status"], "paused")
    t.rt("resume", t.id)
    t.equal(t.state()["status"], "running")


@row()
def limits_are_updated(t, column):
    t.linux["resources"] = {"pids": {"limit": 50}}
    t.sleeper()
    t.rt("update", "--pids-limit", "33", t.id)
    t.equal(t.exec(t.id, "id", "-u").out, "0\n")


@row()
def executed_in(t, column):
    pid = t.sleeper()
    t.equal(t.exec(t.id, "sh", "-c", "id -u; id -g; pwd; cat /proc/self/uid_map").out.split()[:3], ["0", "0", "/"])
    t.equal(t.exec("--user", "5:6", t.id, "sh", "-c", "id -u; id -g").out.split(), ["5", "6"])
    t.equal(t.exec(t.id, "sh", "-c", "exit 11", code=11).code, 11)
    for kind in ("user", "pid", "net", "ipc", "uts", "mnt", "cgroup"):
        t.equal(t.exec(t.id, "readlink", f"/proc/self/ns/{kind}").out.strip(), os.readlink(f"/proc/{pid}/ns/{kind}"), kind)


@row(crun="1.8.1 does not give it the caller's size")
def on_a_terminal(t, column):
    t.process["terminal"] = True
    t.process["args"] = ["/bin/sh", "-c", "tty; stat -c %u $(tty); stty size; echo done"]
    code, shown = t.terminal("run", t.id, size=(33, 77))
    t.equal(code, 0)
    t.equal(shown.split(), ["/dev/pts/0", "0", "33", "77", "done"])


@row()
def on_a_terminal_that_is_handed_over(t, column):
    t.process["terminal"] = True
    with console_socket(f"{t.directory}/console") as receiver:
        t.create("/bin/sh", "-c", "read line; echo got $line", options=["--console-socket", f"{t.directory}/console"])
        master = receiver.master()
    t.rt("start", t.id)
    os.write(master, b"word\n")
    t.contains(read_until(master, "got word"), "got word")
    os.close(master)
    t.wait("stopped")


@row()
def executed_on_a_terminal(t, column):
    t.sleeper()
    code, shown = t.terminal("exec", "--tty", t.id, "sh", "-c", "test -t 0 && stat -c %u $(tty)")
    t.equal((code, shown.strip()), (0, "0"))


@row()
def another_user_with_groups_and_capabilities(t, column):
    t.process["user"] = {"uid": 7, "gid": 8, "additionalGids": [9, 11]}
    t.process["capabilities"] = {kind: ["CAP_CHOWN", "CAP_KILL"] for kind in ("bounding", "effective", "permitted")}
    t.equal(t.sh("id -u; id -g; id -G").out.split("\n")[:3], ["7", "8", "8 9 11"])
    t.process["user"] = {"uid": 0, "gid": 0}
    t.matches(t.sh("cat /proc/self/status").out, r"^CapEff:\t0000000000000021$")


@row()
def a_seccomp_filter(t, column):
    for no_new_privileges in (True, False):
        t.process["noNewPrivileges"] = no_new_privileges
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
        t.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
        script = "mkdir /tmp-x 2>&1; grep ^Seccomp: /proc/self/status"
        said = t.sh(script).out
        t.contains(said, "not supported")
        t.matches(said, r"^Seccomp:\t2$")


@row()
def paths_are_masked_and_read_only(t, column):
    t.file("/secret", "x")
    t.file("/dir/secret", "x")
    t.file("/fixed", "x")
    t.linux["maskedPaths"] += ["/secret", "/dir", "/proc/kcore"]
    t.linux["readonlyPaths"] += ["/fixed", "/proc/sys"]
    script = """cat /secret | wc -c; ls /dir | wc -l; head -c 1 /proc/kcore | wc -c
        (echo y >/fixed) 2>/dev/null || echo fixed; (echo 1 >/proc/sys/kernel/domainname) 2>/dev/null || echo fixed"""
    t.equal(t.sh(script).out.split(), ["0", "0", "0", "fixed", "fixed"])


@row()
def a_read_only_root_and_mounts_in_it(t, column):
    t.config["root"]["readonly"] = True
    data = os.path.dirname(t.file("data/one"))
    os.chmod(data, 0o777)
    t.file("/mnt/rw/.keep"), t.file("/mnt/ro/.keep"), t.file("/mnt/tmp/.keep")
    t.mount("/mnt/rw", source=data, options=["bind"])
    t.mount("/mnt/ro", source=data, options=["bind", "ro"])
    t.mount("/mnt/tmp", type="tmpfs", source="t", options=["size=64k", "mode=700"])
    script = "for d in / /mnt/ro /mnt/rw /mnt/tmp; do touch $d/x 2>/dev/null && echo $d; done; stat -c %u /mnt/tmp"
    t.equal(t.sh(script).out.split(), ["/mnt/rw", "/mnt/tmp", "0"])
    t.equal(os.stat(f"{data}/x").st_uid, column.root)


@row()
def the_usual_filesystems(t, column):
    script = "stat -f -c %t /proc /sys /dev /dev/pts /dev/mqueue; ls /sys/class/net; cat /proc/sys/kernel/ostype"
    t.equal(t.sh(script).out.split(), ["9fa0", "62656572", "1021994", "1cd1", "19800202", "lo", "Linux"])


@row()
def devices(t, column):
    device = {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0}
    t.linux["devices"] = [{**device, "path": "/dev/null"}] if column.root else [device]
    t.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "access": "rwm"}]}
    script = "echo x >/dev/null && head -c 3 /dev/zero | wc -c && ls /dev/full /dev/random /dev/tty /dev/urandom /dev/ptmx | wc -l; readlink /dev/fd"
    t.equal(t.sh(script).out.split(), ["3", "5", "/proc/self/fd"])


@row()
def sysctls(t, column):
    t.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "kernel.msgmax": "4242"}
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced /proc/sys/kernel/msgmax"
    t.equal(t.sh(script).out.split(), ["1", "1", "4242"])


@row()
def all_hooks(t, column):
    log, inside = f"{t.directory}/hooks", "/hooks"
    open(log, "w").close(), t.file(inside, mode=0o666)
    os.chmod(log, 0o666)

    def hook(name, path, place):
        return {"path": path, "args": ["sh", "-c", f"cat >/dev/null; echo {name} >>{place}"], "env": ["PATH=/bin:/usr/bin"]}

    hooks = {name: [hook(name, "/bin/sh", log)] for name in ("prestart", "createRuntime", "poststart", "poststop")}
    hooks["createContainer"] = [hook("createContainer", "/bin/sh", f"{t.rootfs}{inside}")]
    hooks["startContainer"] = [hook("startContainer", "/bin/sh", inside)]
    t.config["hooks"] = hooks
    t.run("/bin/true")
    t.equal(open(log).read().split(), ["prestart", "createRuntime", "poststart", "poststop"])
    t.equal(open(t.rootfs + inside).read().split(), ["createContainer", "startContainer"])


@row()
def names_and_limits(t, column):
    t.config["hostname"] = "box"
    t.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    t.process["oomScoreAdj"] = 300
    t.equal(t.sh("hostname; ulimit -n; cat /proc/self/oom_score_adj").out.split(), ["box", "100", "300"])


@row()
def processes_are_listed(t, column):
    pid = t.sleeper()
    t.contains(json.loads(t.rt("ps", "-f", "json", t.id).out), pid)
    t.equal([c["id"] for c in json.loads(t.rt("list", "-f", "json").out) if c["pid"] == pid], [t.id])


@row()
def a_failure_leaves_nothing(t, column):
    t.before = t.before.now(t.root)
    t.true(t.run("/bin/nope", code=None).code != 0, "it ran")
    t.config["mounts"].append({"destination": "/x", "source": "/nope", "options": ["bind"]})
    t.refused()


def register(column, function, skip):
    def run(t):
        with column.enter(t):
            function(t, column)

    run.__module__ = "cases.userns_matrix"
    run.__name__ = f"{column.name}__{function.__name__}"
    CASES.append(Case(run, {**column.skip, **skip, **column.without.get(function.__name__, {})}, column.anyone))


for one_column in COLUMNS:
    for one_row, one_skip in ROWS:
        register(one_column, one_row, one_skip)
