"""When and where a process runs, and in which execution domain: scheduler, I/O priority, CPUs, memory policy, personality."""

import ctypes
import json
import os
import platform
import subprocess

from suite import Skipped, case

OLD = "1.1.5 is older than the field"
NEW = "1.8.1 is older than the field"
POLICIES = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5, "SCHED_DEADLINE": 6}
IOPRIO_WHO_PROCESS = 1
IOPRIO_GET = {"x86_64": 252, "aarch64": 31}


def scheduling(pid):
    """(policy, nice, real-time priority) of a process: proc_pid_stat(5)."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return int(fields[41 - 3]), int(fields[19 - 3]), int(fields[40 - 3])


def io_priority(pid):
    """(class, level) of a process."""
    value = ctypes.CDLL(None).syscall(IOPRIO_GET[platform.machine()], IOPRIO_WHO_PROCESS, pid)
    return value >> 13, value & 7


def joined(t, **process):
    """A sleeping process in the container, given as a file; its pid."""
    whole = {"args": ["/bin/sleep", "1000"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"], **process}
    path = t.file("process.json", json.dumps(whole))
    t.exec("--detach", "--pid-file", f"{t.directory}/pid", "--process", path, t.id)
    return int(open(f"{t.directory}/pid").read())


@case(runc=OLD, crun=NEW)
def a_scheduler_is_for_init_and_for_what_joins(t):
    t.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 19}
    pid = t.sleeper()
    t.equal(scheduling(pid), (POLICIES["SCHED_BATCH"], 19, 0), "init")
    t.equal(scheduling(joined(t)), (POLICIES["SCHED_BATCH"], 19, 0), "exec")
    other = {"policy": "SCHED_OTHER", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    t.equal(scheduling(joined(t, scheduler=other)), (POLICIES["SCHED_OTHER"], 5, 0), "exec with its own")


@case(runc=OLD, crun=NEW)
def a_scheduler_of_no_priority(t):
    t.process["scheduler"] = {"policy": "SCHED_IDLE"}
    t.equal(scheduling(t.sleeper())[0], POLICIES["SCHED_IDLE"])


@case(runc=OLD, crun=NEW)
def a_deadline_scheduler(t):
    t.sleeper()
    deadline = {"policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1000000, "period": 1000000}
    pid = joined(t, scheduler={**deadline, "flags": ["SCHED_FLAG_RESET_ON_FORK"]})
    t.equal(scheduling(pid)[0], POLICIES["SCHED_DEADLINE"])
    shown = subprocess.run(["chrt", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    t.contains(shown, "42000/1000000/1000000")


@case(runc=OLD, crun=NEW)
def a_wrong_scheduler_is_refused(t):
    for scheduler, word in (
        ({"policy": "SCHED_BOGUS"}, "SCHED_BOGUS"),
        ({"policy": "SCHED_OTHER", "nice": 20}, "nice"),
        ({"policy": "SCHED_BATCH", "priority": 1}, "priority"),
        ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_BOGUS"]}, "SCHED_FLAG_BOGUS"),
        ({"policy": "SCHED_OTHER", "runtime": 1}, "runtime"),
    ):
        t.process["scheduler"] = scheduler
        t.refused(word)


@case(runc=OLD, crun=NEW)
def an_io_priority_is_for_init_and_for_what_joins(t):
    t.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    t.equal(io_priority(t.sleeper()), (2, 6), "init")
    t.equal(io_priority(joined(t)), (2, 6), "exec")
    t.equal(io_priority(joined(t, ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0})), (3, 0), "its own")


@case(runc=OLD, crun=NEW)
def a_wrong_io_priority_is_refused(t):
    for wrong in ({"class": "IOPRIO_CLASS_BE", "priority": 8}, {"class": "BOGUS", "priority": 0}):
        t.process["ioPriority"] = wrong
        t.refused()


def allowed(text):
    return next(line.split()[1] for line in text.splitlines() if line.startswith("Cpus_allowed_list:"))


def two_cpus():
    """The CPUs that this very process may run on, if there are two."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Skipped("there is one CPU only")
    return cpus


@case(runc=OLD, crun=NEW)
def cpus_of_a_process_that_joins(t):
    first, second = two_cpus()[:2]
    t.process["execCPUAffinity"] = {"initial": str(first), "final": str(second)}
    t.equal(allowed(open(f"/proc/{t.sleeper()}/status").read()), allowed(open("/proc/self/status").read()), "init")
    t.equal(allowed(t.exec(t.id, "cat", "/proc/self/status").out), str(second), "of the config")
    status = lambda **cpus: allowed(open(f"/proc/{joined(t, execCPUAffinity=cpus)}/status").read())
    t.equal(status(initial=str(first)), str(first), "initial only")
    t.equal(status(final=str(first)), str(first), "final only")
    t.equal(status(initial=str(first), final=f"{first},{second}"), status(final=f"{first}-{second}"), "both")


@case(runc="1.1.5 keeps them", crun="1.8.1 keeps them")
def the_callers_cpus_are_not_the_containers(t):
    cpus = two_cpus()
    all_of_them = allowed(open("/proc/self/status").read())
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()
    confined = f"taskset -p -c {cpus[0]} $$ >/dev/null"
    t.rt("run", "--detach", t.id, shell=confined)
    t.equal(allowed(open(f"/proc/{t.state()['pid']}/status").read()), all_of_them, "init")
    out = t.exec(t.id, "cat", "/proc/self/status", shell=confined).out
    t.equal(allowed(out), all_of_them, "exec")


@case(runc=OLD, crun=NEW)
def wrong_cpus_are_refused(t):
    t.sleeper()
    for wrong in ("x", "3-1", "65536"):
        whole = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": {"initial": wrong}}
        t.exec("--process", t.file("process.json", json.dumps(whole)), t.id, code={1, 255})


def policy(t, **policy):
    t.linux["memoryPolicy"] = policy
    return t.sh("head -n 1 /proc/self/numa_maps").out.split()[1]


@case(runc=OLD, crun=NEW)
def a_memory_policy(t):
    if not os.path.exists("/proc/self/numa_maps"):
        raise Skipped("this kernel has no NUMA memory policies")
    t.equal(policy(t, mode="MPOL_INTERLEAVE", nodes="0"), "interleave:0")
    t.equal(policy(t, mode="MPOL_BIND", nodes="0", flags=["MPOL_F_STATIC_NODES"]), "bind=static:0")
    t.equal(policy(t, mode="MPOL_PREFERRED", nodes="0", flags=["MPOL_F_RELATIVE_NODES"]), "prefer=relative:0")
    t.equal(policy(t, mode="MPOL_DEFAULT"), "default")
    t.equal(policy(t, mode="MPOL_LOCAL"), "local")


@case(runc=OLD, crun=NEW)
def a_memory_policy_is_for_what_joins_too(t):
    if not os.path.exists("/proc/self/numa_maps"):
        raise Skipped("this kernel has no NUMA memory policies")
    t.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0"}
    t.sleeper()
    t.contains(t.exec(t.id, "head", "-n", "1", "/proc/self/numa_maps").out, " bind:0 ")


@case(runc=OLD, crun=NEW)
def a_wrong_memory_policy_is_refused(t):
    for wrong in (
        {},
        {"nodes": "0"},
        {"mode": "INTERLEAVE", "nodes": "0"},
        {"mode": "MPOL_BIND"},
        {"mode": "MPOL_DEFAULT", "nodes": "0-7"},
        {"mode": "MPOL_BIND", "nodes": "0-9876543210"},
        {"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["bogus"]},
    ):
        t.linux["memoryPolicy"] = wrong
        t.refused("memory")


@case(runc=OLD)
def a_personality_changes_the_machines_name(t):
    t.linux["personality"] = {"domain": "LINUX32", "flags": []}
    t.sleeper()
    t.true(not t.exec(t.id, "uname", "-m").out.strip().endswith("64"), "exec")
    t.rt("delete", "-f", t.id)
    t.true(not t.run("uname", "-m").out.strip().endswith("64"), "init")
    t.linux["personality"] = {"domain": "LINUX"}
    t.equal(t.run("uname", "-m").out.strip(), os.uname().machine)


@case(runc=OLD)
def a_personality_is_had_where_seccomp_forbids_it(t):
    t.linux["personality"] = {"domain": "LINUX32"}
    t.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}],
    }
    t.true(not t.run("uname", "-m").out.strip().endswith("64"), "the domain")


@case(runc=OLD)
def a_wrong_personality_is_refused(t):
    t.linux["personality"] = {"domain": "BSD"}
    t.refused()
