"""--systemd-cgroup: the container's cgroup is a unit of systemd's. Runs on this very host (`run.py --this-host`), since
systemd must know the processes; elsewhere, and where systemd does not run, every case is skipped."""

import glob
import json
import os
import signal
import subprocess
import time

from suite import Failure, Skipped, case

V1 = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
OLD = "before 1.2 it takes whatever unit has the name for its own"
SUB = "up to 1.8 the container is in a sub-cgroup of the unit's, and so are limits"


def systemctl(*arguments):
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def show(unit, name):
    return systemctl("show", "--value", "--property", name, unit)


def with_systemd(t, path="", **resources):
    """Every command of this case is for systemd's driver; gives the unit's name."""
    if not os.path.exists("/run/systemd/private"):
        raise Skipped("systemd is not running here")
    if V1:  # in the hierarchies that systemd does not handle a slice stays, as with runc
        t.before.groups |= {f"{hierarchy}/system.slice" for hierarchy in glob.glob("/sys/fs/cgroup/*")}
    t.globals = ["--systemd-cgroup"]
    t.linux["cgroupsPath"] = path
    t.linux["resources"].update(resources)
    if not path:
        return f"{t.name}-{t.id}.scope"
    _, prefix, name = path.split(":")
    return f"{prefix}-{name}.scope"


def gone(t, unit):
    t.until(lambda: show(unit, "LoadState") == "not-found", f"{unit} is gone")
    t.none_left()


def groups(pid):
    return dict(line.strip().split(":", 2)[1:] for line in open(f"/proc/{pid}/cgroup"))


def group(t, controller):
    for controllers, path in groups(t.state()["pid"]).items():
        if controller in controllers.split(",") and V1:
            return f"/sys/fs/cgroup/{controller}{path}"
        if not controllers and not V1:
            return f"/sys/fs/cgroup{path}"
    raise Skipped(f"the {controller} controller is not mounted")


def value(t, controller, v1, v2):
    return open(f"{group(t, controller)}/{v1 if V1 else v2}").read().strip()


@case(crun=SUB)
def without_a_path_the_unit_is_named_after_the_container(t):
    unit = with_systemd(t)
    pid = t.sleeper()
    t.equal(show(unit, "ActiveState"), "active")
    t.equal(show(unit, "Slice"), "system.slice")
    t.equal(show(unit, "Delegate"), "yes")
    for controllers, path in groups(pid).items():
        t.equal(path, f"/system.slice/{unit}", controllers)
    t.ends()
    gone(t, unit)


@case(crun=SUB)
def a_slice_stands_for_its_directories(t):
    unit = with_systemd(t, f"creeltest-a-b.slice:pre:{t.id}")
    pid = t.sleeper()
    path = f"/creeltest.slice/creeltest-a.slice/creeltest-a-b.slice/{unit}"
    t.equal(set(groups(pid).values()), {path})
    t.rt("delete", "--force", t.id)
    systemctl("stop", "creeltest.slice")
    if V1:
        t.scrub()
    else:
        gone(t, unit)


@case(crun=SUB)
def limits_are_properties_and_files_and_stay(t):
    limits = {
        "memory": {"limit": 64 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 2048, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 50},
    }
    unit = with_systemd(t, **limits)
    t.sleeper()

    def check(when):
        t.equal(show(unit, "TasksMax"), "50", when)
        t.equal(show(unit, "MemoryLimit" if V1 else "MemoryMax"), str(64 << 20), when)
        t.equal(show(unit, "CPUShares" if V1 else "CPUWeight"), "2048" if V1 else value(t, "cpu", "", "cpu.weight"), when)
        t.equal(show(unit, "CPUQuotaPerSecUSec"), "500ms", when)
        t.equal(show(unit, "AllowedCPUs"), "0", when)
        t.equal(show(unit, "DevicePolicy"), "strict", when)
        t.equal(value(t, "memory", "memory.limit_in_bytes", "memory.max"), str(64 << 20), when)
        t.equal(value(t, "memory", "memory.soft_limit_in_bytes", "memory.low"), str(32 << 20), when)
        t.equal(value(t, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0], "50000", when)
        t.equal(value(t, "pids", "pids.max", "pids.max"), "50", when)
        t.equal(value(t, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0", when)

    check("at first")
    systemctl("daemon-reload")
    check("after daemon-reload")
    t.ends()
    gone(t, unit)


@case()
def devices_stay_as_they_are_at_a_daemon_reload(t):
    unit = with_systemd(t)
    t.linux["resources"]["devices"] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
    ]
    t.process["capabilities"] = {kind: ["CAP_MKNOD"] for kind in ("bounding", "effective", "permitted")}
    t.sleeper()
    script = (
        "cd /dev && rm -f k l && mknod k c 1 11 && mknod l c 10 237"
        " && (exec 3<k) && ! (exec 3>k) && ! (exec 3<l) && (exec 3<>/dev/null)"
    )
    t.exec(t.id, "/bin/sh", "-c", script)
    systemctl("daemon-reload")
    t.exec(t.id, "/bin/sh", "-c", script)
    t.ends()
    gone(t, unit)


@case()
def annotations_are_properties(t):
    unit = with_systemd(t)
    t.config["annotations"] = {
        "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.RuntimeMaxSec": "uint64 900",
    }
    t.sleeper()
    t.equal(show(unit, "TimeoutStopUSec"), "2min 3.456789s")
    t.equal(show(unit, "CollectMode"), "inactive-or-failed")
    t.equal(show(unit, "RuntimeMaxUSec"), "15min")
    t.ends()
    gone(t, unit)


@case(runc="it says less", crun="it says less")
def what_systemd_does_not_take_is_told(t):
    with_systemd(t)
    for name, text, why in (
        ("NoSuchThing", "1", "NoSuchThing"),
        ("MemoryMax", "'much'", "org.systemd.property"),
        ("MemoryMax", "1G", "a number that fits type"),
    ):
        t.config["annotations"] = {f"org.systemd.property.{name}": text}
        t.refused(why)


@case(crun="its message is another")
def other_paths_are_refused(t):
    with_systemd(t)
    for path in ("/a/b", "a:b", "a:b:c", "a--b.slice:c:d", "user.slice/x.slice:c:d"):
        t.linux["cgroupsPath"] = path
        t.refused("slice")


@case()
def exec_is_in_the_unit(t):
    unit = with_systemd(t)
    pid = t.sleeper()
    t.exec("--detach", t.id, "/bin/sleep", "1000")
    pids = open(f"{group(t, 'memory')}/cgroup.procs").read().split()
    t.equal(len(pids), 2)
    for other in pids:
        t.equal(groups(other), groups(pid))
    t.ends()
    gone(t, unit)


@case()
def run_removes_the_unit(t):
    unit = with_systemd(t)
    t.equal(t.sh("cat /proc/self/cgroup; exit 7", code=7).out.count("/"), len(open("/proc/self/cgroup").readlines()))
    gone(t, unit)


@case()
def a_created_container_can_be_deleted(t):
    unit = with_systemd(t)
    t.create("/bin/true")
    t.equal(show(unit, "ActiveState"), "active")
    t.rt("delete", t.id) if t.name != "runc" else t.rt("delete", "--force", t.id)
    gone(t, unit)


@case()
def a_container_that_has_ended_has_no_unit(t):
    unit = with_systemd(t)
    t.create("/bin/true")
    t.rt("start", t.id)
    t.wait("stopped")
    t.until(lambda: show(unit, "ActiveState") == "inactive", "the scope ends with its last process")
    t.rt("delete", t.id)
    gone(t, unit)


@case()
def sub_cgroups_of_the_payload_go_too(t):
    unit = with_systemd(t)
    t.sleeper()
    for controller in ("memory", "pids"):
        os.makedirs(f"{group(t, controller)}/sub/deep", exist_ok=True)
    t.ends()
    gone(t, unit)


@case()
def without_a_pid_namespace_all_processes_end(t):
    unit = with_systemd(t)
    t.remove_namespace("pid")
    t.sleeper(command=("/bin/sh", "-c", "/bin/sleep 1000 & /bin/sleep 1000"))
    t.rt("delete", "--force", t.id)
    gone(t, unit)


@case(crun=SUB)
def a_joined_pid_namespace(t):
    unit = with_systemd(t)
    holder = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "1000"])
    try:
        children = f"/proc/{holder.pid}/task/{holder.pid}/children"
        t.until(lambda: open(children).read().split(), "the namespace")
        inner = open(children).read().split()[0]
        t.namespace("pid", f"/proc/{inner}/ns/pid")
        pid = t.sleeper()
        t.equal(os.readlink(f"/proc/{pid}/ns/pid"), os.readlink(f"/proc/{inner}/ns/pid"))
        t.equal(set(groups(pid).values()), {f"/system.slice/{unit}"})
        t.rt("delete", "--force", t.id)
    finally:
        holder.kill()
        holder.wait()
    gone(t, unit)


@case()
def one_process_is_enough(t):
    unit = with_systemd(t, pids={"limit": 1})
    if t.name != "creel":
        raise Skipped("runtimes in Go and crun need more")
    t.sleeper()
    t.equal(value(t, "pids", "pids.max", "pids.max"), "1")
    t.ends()
    gone(t, unit)


@case(runc=OLD)
def a_unit_of_that_name_is_refused_and_left_alone(t):
    unit = with_systemd(t, f"machine.slice:pre:{t.id}")
    other = subprocess.Popen(
        ["systemd-run", "--quiet", "--scope", f"--unit={unit}", "sleep", "1000"], stderr=subprocess.DEVNULL
    )
    try:
        t.until(lambda: show(unit, "ActiveState") == "active", "the other unit")
        t.save()
        result = t.rt("create", t.id, code=1)
        t.contains(result.said, unit)
        t.equal(show(unit, "ActiveState"), "active")
        t.equal(other.poll(), None, "its process")
        t.equal(os.listdir(t.root), [])
    finally:
        other.kill()
        other.wait()
    gone(t, unit)


@case(runc=OLD)
def a_failed_unit_is_replaced(t):
    unit = with_systemd(t)
    subprocess.run(
        ["systemd-run", "--quiet", "--scope", f"--unit={unit}", "--property=RuntimeMaxSec=1", "sleep", "1000"],
        stderr=subprocess.DEVNULL,
    )
    t.until(lambda: show(unit, "ActiveState") == "failed", "the left-over")
    t.sleeper()
    t.equal(show(unit, "ActiveState"), "active")
    t.ends()
    gone(t, unit)


def killed_while(t, hook):
    """Kills the runtime with SIGKILL while a hook of its create runs."""
    mark = f"{t.directory}/mark"
    script = t.file("hook", f"#!/bin/sh\ntouch {mark}\nexec sleep 1000 <&- >&- 2>&-\n", mode=0o755)
    t.config["hooks"] = {hook: [{"path": script}]}
    t.save()
    process = t.start_rt("create", t.id)
    t.until(lambda: os.path.exists(mark), "the hook runs")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(["pkill", "--session", str(process.pid), "sleep"])


@case()
def a_create_that_was_killed_is_cleared_away(t):
    unit = with_systemd(t)
    killed_while(t, "createRuntime")
    t.rt("delete", "--force", t.id)
    gone(t, unit)


@case()
def a_create_killed_at_any_moment_is_cleared_away(t):
    unit = with_systemd(t)
    begin = time.monotonic()
    t.create("/bin/true")
    seconds = time.monotonic() - begin
    t.rt("delete", "--force", t.id)
    for step in range(10):
        process = t.start_rt("create", t.id)
        time.sleep(seconds * step / 10)
        process.kill()
        process.wait()
        t.rt("delete", "--force", t.id, code=None)
        gone(t, unit)


def without_sockets(t, sockets, *arguments):
    """Runs the runtime where these sockets cannot be reached."""
    hide = "; ".join(f"mount --bind /dev/null {socket}" for socket in sockets)
    command = [t.runtime, "--root", t.root, *t.globals, *arguments]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        cwd=t.bundle,
    )


PRIVATE, BUS = "/run/systemd/private", "/run/dbus/system_bus_socket"


@case()
def the_bus_will_do(t):
    unit = with_systemd(t, pids={"limit": 50})
    t.process["args"] = ["/bin/true"]
    t.save()
    result = without_sockets(t, [PRIVATE], "run", t.id)
    t.equal((result.returncode, result.stderr), (0, ""))
    gone(t, unit)


@case(runc="it says nothing of it", crun="it says nothing of it")
def deleting_needs_no_bus(t):
    unit = with_systemd(t)
    t.sleeper()
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    result = without_sockets(t, [PRIVATE, BUS], "delete", t.id)
    t.equal(result.returncode, 0)
    t.contains(result.stderr, "systemd is not running here")
    gone(t, unit)


@case(runc="its message is another", crun="its message is another")
def without_systemd_it_is_told(t):
    if os.path.exists("/run/systemd/private"):
        raise Skipped("systemd is running here")
    t.globals = ["--systemd-cgroup"]
    t.linux["cgroupsPath"] = ""
    t.refused("systemd is not running here", "leave out --systemd-cgroup")


@case()
def memory_that_runs_out_leaves_nothing(t):
    unit = with_systemd(t, memory={"limit": 24 << 20, "swap": 24 << 20})
    t.create("/bin/sh", "-c", "x=aaaaaaaa; while :; do x=$x$x; done")
    t.rt("start", t.id)
    t.wait("stopped")
    t.rt("delete", t.id)
    if show(unit, "LoadState") != "not-found" and t.name == "creel":
        raise Failure(f"{unit} is {show(unit, 'ActiveState')}")
    systemctl("reset-failed")
    gone(t, unit)


@case(runc="stops the unit by its name", crun="stops the unit by its name")
def a_unit_of_another_slice_is_left_alone(t):
    """Names are unique in a manager, not in a slice: the first container's unit has gone when the second one starts."""
    unit = with_systemd(t, f"creela.slice:creel-test:{t.id}")
    t.process["args"] = ["/bin/true"]
    t.save()
    t.rt("create", t.id)
    t.rt("start", t.id)
    t.wait("stopped")
    t.until(lambda: show(unit, "LoadState") == "not-found", "the first unit has gone")
    second = f"{t.id}-second"
    t.linux["cgroupsPath"] = f"creelb.slice:creel-test:{t.id}"
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()
    t.rt("run", "--detach", second)
    t.rt("delete", "--force", t.id)
    t.equal(t.state(second)["status"], "running")
    t.equal(show(unit, "ActiveState"), "active")
    t.rt("delete", "--force", second)
    for hierarchy in glob.glob("/sys/fs/cgroup/*/") + ["/sys/fs/cgroup/"]:
        t.before.groups |= {f"{hierarchy}{slice}.slice" for slice in ("creela", "creelb")}
    subprocess.run(["systemctl", "stop", "creela.slice", "creelb.slice"], capture_output=True)
    gone(t, unit)


@case(runc="ignores devices", crun="has no such update")
def a_device_that_was_taken_away_stays_away(t):
    """What a unit's list of devices is set to is added to what is there, unless it is emptied before."""
    kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"}
    none = {"allow": False, "access": "rwm"}
    unit = with_systemd(t, f":creel-test:{t.id}", devices=[none, kmsg])
    t.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    t.sleeper()
    opens = lambda: t.exec(t.id, "sh", "-c", "exec 3</dev/kmsg", code=None).code == 0
    t.true(opens(), "it is allowed at first")
    t.rt("update", "-r", "-", t.id, text=json.dumps({"devices": [none]}))
    t.true(not opens(), "it is allowed after the update")
    t.lacks(show(unit, "DeviceAllow"), "/dev/char/1:11")
    systemctl("daemon-reload")
    t.true(not opens(), "it is allowed after a reload")


@case(runc="knows none of crun's annotations")
def a_subgroup_of_the_unit_has_the_container(t):
    """The unit's own cgroup then may pass controllers on, and so has no processes."""
    if V1:
        raise Skipped("v2 only")
    unit = with_systemd(t, memory={"limit": 64 << 20}, pids={"limit": 20})
    t.config["annotations"] = {"run.oci.systemd.subgroup": "inner/most", "run.oci.delegate-cgroup": "payload"}
    pid = t.sleeper()
    top = f"/sys/fs/cgroup/system.slice/{unit}"
    t.equal(groups(pid)[""], f"/system.slice/{unit}/inner/most/payload")
    t.equal(open(f"{top}/inner/most/memory.max").read().strip(), str(64 << 20))
    t.equal(open(f"{top}/inner/most/pids.max").read().strip(), "20")
    t.equal(show(unit, "MemoryMax"), str(64 << 20))
    t.contains(open(f"{top}/inner/most/payload/cgroup.controllers").read(), "memory")
    for passing in (top, f"{top}/inner", f"{top}/inner/most"):
        t.equal(open(f"{passing}/cgroup.procs").read(), "", passing)
    t.contains(t.exec(t.id, "/bin/cat", "/proc/self/cgroup").out, "0::/payload")
    t.rt("update", "--memory", str(32 << 20), t.id)
    t.equal(open(f"{top}/inner/most/memory.max").read().strip(), str(32 << 20))
    systemctl("daemon-reload")
    t.equal(groups(pid)[""], f"/system.slice/{unit}/inner/most/payload")
    t.ends()
    gone(t, unit)
    t.true(not os.path.exists(top), top)


@case(runc="knows none of crun's annotations", crun="makes it in the slice")
def a_slice_has_no_subgroup(t):
    with_systemd(t, path="::creel-none.slice")
    if V1:
        raise Skipped("v2 only")
    t.config["annotations"] = {"run.oci.systemd.subgroup": "inner"}
    t.refused("run.oci.systemd.subgroup")


@case(runc="knows none of crun's annotations", crun="makes it")
def on_v1_a_subgroup_has_no_effect_which_is_told(t):
    if not V1:
        raise Skipped("v1 only")
    unit = with_systemd(t)
    t.config["annotations"] = {"run.oci.systemd.subgroup": "inner"}
    said = t.run("true").said
    t.contains(said, "run.oci.systemd.subgroup")
    gone(t, unit)


@case(runc="has no such flag", crun="1.8.1 has no ID for the commands that take no container")
def the_journal_has_the_log(t):
    with_systemd(t)
    t.globals = ["--log", f"journald:{t.id}-log"]
    t.rt("state", "no-such-container", code=1)
    command = ["journalctl", "--output", "json", f"ID={t.id}-log"]
    entries = lambda: subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    t.until(entries, "the journal has the entry")
    (entry,) = map(json.loads, entries())
    t.contains(entry["MESSAGE"], "no-such-container")
    t.equal((entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]), ("3", "creel"))
