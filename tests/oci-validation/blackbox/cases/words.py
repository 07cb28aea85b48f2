"""Phrases of runc's that its users, and their scripts, look for in messages, in the help and in the log."""

import os

from suite import Skipped, case

V1 = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
OWN = "1.8.1 has words of its own"
NEWER = "1.1.5 has it in other words, or not at all"


@case(crun=OWN)
def help_begins_with_the_name(t):
    program = os.path.basename(t.runtime)
    for arguments, title in (
        (["--help"], f"{t.name} - "),
        (["run", "-h"], f"{program} run - "),
        (["exec", "--help"], f"{program} exec - "),
    ):
        first, second = t.rt(*arguments).out.splitlines()[:2]
        t.equal(first, "NAME:")
        t.contains(second, title)


@case(crun="1.8.1 logs nothing of this")
def debug_tells_the_steps_of_run(t):
    t.globals = ["--debug"]
    said = t.run("echo", "hello").said
    for step in ("level=debug", "nsexec container setup", "child process in init()", "init: closing the pipe to signal completion"):
        t.contains(said, step)
    t.contains(said, "hello\n")


@case(crun="1.8.1 logs nothing of this")
def debug_tells_the_steps_of_exec_in_the_log(t):
    t.sleeper()
    log = f"{t.directory}/log"
    t.globals = ["--debug", "--log", log, "--log-format", "json"]
    t.equal(t.exec(t.id, "echo", "hello").said, "hello\n")
    text = open(log).read()
    for step in ('"level":"debug"', "nsexec container setup", "child process in init()", "setns_init: about to exec"):
        t.contains(text, step)


@case(runc="1.1.5 has no execCPUAffinity", crun="1.8.1 has no execCPUAffinity")
def debug_tells_the_cpus_that_exec_begins_on(t):
    if not os.path.exists("/sys/devices/system/cpu/cpu1"):
        raise Skipped("needs two CPUs")
    t.process["execCPUAffinity"] = {"initial": "1"}
    t.sleeper()
    t.globals = ["--debug"]
    t.matches(t.exec(t.id, "true").err, r"nsexec\[\d+\]: affinity: 0x2\b")


@case(runc=NEWER, crun="1.8.1 logs nothing of this")
def debug_tells_the_flags_of_the_filter(t):
    t.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
    t.globals = ["--debug"]
    for flags, number in (([], 0), (["SECCOMP_FILTER_FLAG_LOG"], 2), (["SECCOMP_FILTER_FLAG_SPEC_ALLOW"], 4)):
        t.linux["seccomp"]["flags"] = flags
        t.contains(t.run("true").err, f'"seccomp filter flags: {number}"')


@case()
def without_debug_no_step_is_told(t):
    t.equal(t.run("true").said, "")


@case(runc="1.1.5 says it on stderr of the container only", crun=OWN)
def an_interpreter_that_is_missing_has_the_kernels_words(t):
    t.file("/script", "#!/nope/interpreter\n", 0o755)
    words = "exec /script: no such file or directory"
    t.contains(t.run("/script", code=1).err, words)
    t.sleeper()
    t.contains(t.exec(t.id, "/script", code=255).err, words)


@case(crun=OWN)
def a_cgroup_that_is_not_there_to_exec_in(t):
    t.sleeper()
    for place in ("nonexistent", "memory:nonexistent") if V1 else ("nonexistent",):
        t.matches(t.exec("--cgroup", place, t.id, "true", code=255).err, " cgroup.*no such file or directory")
        if V1:
            t.matches(t.exec("--cgroup", place, t.id, "true", code=255).err, " adding pid .*no such file or directory")


@case(crun=OWN)
def unified_on_v1_is_an_invalid_configuration(t):
    if not V1:
        raise Skipped("v1 only")
    t.linux["resources"]["unified"] = {"memory.high": "1000000"}
    t.refused("invalid configuration")


@case(runc="1.1.5 has no memoryPolicy", crun="1.8.1 has no memoryPolicy")
def a_wrong_memory_policy_is_called_so(t):
    for policy, words in (
        ({"nodes": "0"}, "invalid memory policy mode"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["bogus"]}, "invalid memory policy flag"),
        ({"mode": "MPOL_BIND", "nodes": "0-9876543210"}, "invalid memory policy node"),
        ({"mode": "MPOL_DEFAULT", "nodes": "0-7"}, "mode requires 0 nodes but got 8"),
    ):
        t.linux["memoryPolicy"] = policy
        t.refused(words)


@case(runc="1.1.5 has no scheduler", crun="1.8.1 has no scheduler")
def a_deadline_on_some_cpus(t):
    if not os.path.exists("/sys/devices/system/cpu/cpu1"):
        raise Skipped("needs two CPUs")
    t.process["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 20_000_000, "period": 20_000_000}
    t.linux["resources"]["cpu"] = {"cpus": "0", "mems": "0"}
    t.refused("process scheduler can't be used together with AllowedCPUs")
