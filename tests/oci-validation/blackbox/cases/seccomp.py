"""linux.seccomp: actions, operators, flags, and when the filter is loaded."""

import os
import shutil

from suite import case

SIGSYS = 31
ARCHITECTURES = {"x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "aarch64": ["SCMP_ARCH_AARCH64"]}


def seccomp(t, *rules, default="SCMP_ACT_ALLOW", **more):
    t.linux["seccomp"] = {
        "defaultAction": default,
        "architectures": ARCHITECTURES[os.uname().machine],
        "syscalls": list(rules),
        **more,
    }


def rule(names, action="SCMP_ACT_ERRNO", **more):
    return {"names": names.split(), "action": action, **more}


MKDIR = "mkdir mkdirat"


@case()
def the_filter_is_on(t):
    seccomp(t, rule(MKDIR))
    t.matches(t.run("cat", "/proc/self/status").out, r"^Seccomp:\s+2$")


@case()
def without_a_profile_there_is_no_filter(t):
    t.matches(t.run("cat", "/proc/self/status").out, rf"^Seccomp:\s+{own('Seccomp')}$")


def own(field):
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith(f"{field}:"))


@case()
def errno_is_eperm_by_default(t):
    seccomp(t, rule(MKDIR))
    t.matches(t.run("mkdir", "/x", code=1).err, "not permitted")


@case()
def errno_can_be_chosen(t):
    seccomp(t, rule(MKDIR, errnoRet=28))
    t.matches(t.run("mkdir", "/x", code=1).err, "No space left")


@case(runc="1.1.5: busybox dies of SIGSEGV now and then; why has not been looked into")
def the_default_action_may_deny(t):
    allowed = "execve exit exit_group write writev read brk arch_prctl mmap munmap mprotect set_tid_address set_robust_list rseq "
    allowed += "prlimit64 getrandom readlink readlinkat getuid geteuid getgid getegid prctl close fstat newfstatat futex "
    allowed += "openat open capget capset setgroups setuid setgid chdir fchdir getcwd fcntl rt_sigaction rt_sigprocmask "
    allowed += "epoll_pwait epoll_ctl nanosleep sigaltstack gettid getpid tgkill clone clone3 mremap fstatfs statfs stat lstat "
    allowed += "setresuid setresgid getdents64 openat2 faccessat2 faccessat access dup dup2 dup3 ioctl seccomp close_range "
    allowed += "madvise sched_yield pipe2 sched_getaffinity statx ppoll poll umask setsid execveat keyctl recvmsg sendmsg recvfrom sendto"
    seccomp(t, rule(allowed, "SCMP_ACT_ALLOW"), default="SCMP_ACT_ERRNO", defaultErrnoRet=38)
    t.equal(t.run("echo", "fine").out, "fine\n")
    t.matches(t.run("mkdir", "/x", code=1).err, "not implemented")


@case()
def kill_process_and_trap_end_with_sigsys(t):
    for action in ("SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"):
        seccomp(t, rule(MKDIR, action))
        t.sh("mkdir /x; exit $?", code=128 + SIGSYS)


@case()
def log_and_allow_let_through(t):
    for action in ("SCMP_ACT_LOG", "SCMP_ACT_ALLOW"):
        seccomp(t, rule(MKDIR, action), default="SCMP_ACT_ALLOW" if action == "SCMP_ACT_LOG" else "SCMP_ACT_LOG")
        t.run("mkdir", f"/{action}")


@case()
def trace_without_a_tracer_is_enosys(t):
    seccomp(t, rule(MKDIR, "SCMP_ACT_TRACE", errnoRet=1))
    t.matches(t.run("mkdir", "/x", code=1).err, "not implemented")


def chmod_rules(operator, value, two=0):
    """chmod(2) is one of two system calls here, with the mode at index 1 or 2."""
    argument = {"value": value, "valueTwo": two, "op": operator}
    return [
        rule("chmod fchmod", args=[{"index": 1, **argument}]),
        rule("fchmodat fchmodat2", args=[{"index": 2, **argument}]),
    ]


@case()
def operators_compare_arguments(t):
    for operator, value, two, denied in (
        ("SCMP_CMP_EQ", 0o600, 0, "600"),
        ("SCMP_CMP_NE", 0o600, 0, "500 700"),
        ("SCMP_CMP_LT", 0o600, 0, "500"),
        ("SCMP_CMP_LE", 0o600, 0, "500 600"),
        ("SCMP_CMP_GT", 0o600, 0, "700"),
        ("SCMP_CMP_GE", 0o600, 0, "600 700"),
        ("SCMP_CMP_MASKED_EQ", 0o100, 0o100, "500 700"),
    ):
        seccomp(t, *chmod_rules(operator, value, two))
        got = t.sh("touch /f; for m in 500 600 700; do chmod $m /f 2>/dev/null || echo $m; done").out.split()
        t.equal(got, denied.split(), operator)


@case()
def all_arguments_of_a_rule_must_match(t):
    same = [{"index": 1, "value": 0o600, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 0o600, "op": "SCMP_CMP_EQ"}]
    seccomp(t, rule("fchmodat", args=same))
    t.sh("touch /f; chmod 600 /f")


@case()
def conditions_on_one_argument_are_alternatives_as_in_runc(t):
    both = lambda index: [{"index": index, "value": v, "op": "SCMP_CMP_EQ"} for v in (0o500, 0o600)]
    seccomp(t, rule("chmod fchmod", args=both(1)), rule("fchmodat fchmodat2", args=both(2)))
    got = t.sh("touch /f; for m in 500 600 700; do chmod $m /f 2>/dev/null || echo $m; done").out.split()
    t.equal(got, ["500", "600"])


@case()
def unknown_system_calls_are_skipped(t):
    seccomp(t, rule("no_such_call mkdir mkdirat"))
    t.matches(t.run("mkdir", "/x", code=1).err, "not permitted")


@case()
def unknown_actions_operators_and_architectures_are_refused(t):
    seccomp(t, rule(MKDIR, "SCMP_ACT_BOGUS"))
    t.refused("SCMP_ACT_BOGUS")
    seccomp(t, rule("chmod", args=[{"index": 1, "value": 1, "op": "SCMP_CMP_BOGUS"}]))
    t.refused()
    seccomp(t, rule(MKDIR), architectures=["SCMP_ARCH_BOGUS"])
    t.refused("BOGUS")


@case()
def it_works_without_no_new_privileges(t):
    t.process["noNewPrivileges"] = False
    seccomp(t, rule(MKDIR))
    t.matches(t.run("mkdir", "/x", code=1).err, "not permitted")
    t.process["user"] = {"uid": 1000, "gid": 1000}
    t.matches(t.sh("mkdir /dev/shm/x", code=1).err, "not permitted")


@case()
def with_no_new_privileges_it_may_deny_what_the_runtime_did_before(t):
    seccomp(t, rule("setgroups setresuid setresgid setuid setgid capset chdir mount umount2 pivot_root sethostname"))
    t.process["user"] = {"uid": 1000, "gid": 1000}
    t.equal(t.run("id", "-u").out, "1000\n")


@case(runc="1.1.5 calls getcwd after it has loaded the filter")
def it_may_deny_getcwd(t):
    t.process["noNewPrivileges"] = False
    seccomp(t, rule("getcwd"))
    t.equal(t.run("echo", "fine").out, "fine\n")


@case(runc="1.1.5 knows no flags")
def flags(t):
    for flag in ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"):
        seccomp(t, rule(MKDIR), flags=[flag])
        t.matches(t.run("mkdir", "/x", code=1).err, "not permitted")


@case()
def an_unknown_flag_is_refused(t):
    seccomp(t, rule(MKDIR), flags=["SECCOMP_FILTER_FLAG_BOGUS"])
    t.refused()


@case()
def exec_is_filtered_too(t):
    seccomp(t, rule(MKDIR))
    t.sleeper()
    t.matches(t.exec(t.id, "mkdir", "/x", code=1).err, "not permitted")


CACHE = "/run/creel-filters"


@case(runc="has no cache", crun="1.8.1 has none; later ones have it elsewhere")
def a_large_profile_is_compiled_once(t):
    names = "acct add_key bpf delete_module finit_module init_module kexec_load keyctl lookup_dcookie mount move_mount move_pages "
    names += "name_to_handle_at nfsservctl open_by_handle_at perf_event_open pivot_root process_vm_readv process_vm_writev ptrace "
    names += "quotactl reboot request_key setdomainname sethostname setns settimeofday stime swapoff swapon sysfs umount umount2 "
    # An error number of its own, so that nobody else has compiled this profile.
    seccomp(t, rule(names + MKDIR, errnoRet=28))
    before = entries()
    t.matches(t.run("mkdir", "/x", code=1).err, "No space left")
    t.equal(os.stat(CACHE).st_mode & 0o7777, 0o700, "the cache's mode")
    for new in entries() - before:
        t.equal(os.stat(new).st_mode & 0o7777, 0o600, "an entry's mode")
    compiled = entries()
    t.sleeper()
    t.matches(t.exec(t.id, "mkdir", "/x", code=1).err, "No space left")
    t.equal(entries(), compiled, "entries after an exec")
    # Whatever happens to the cache, the filter is right.
    for entry in compiled:
        with open(entry, "r+b") as file:
            file.seek(40)
            file.write(b"damage")
    t.matches(t.exec(t.id, "mkdir", "/x", code=1).err, "No space left")
    shutil.rmtree(CACHE)
    t.matches(t.exec(t.id, "mkdir", "/x", code=1).err, "No space left")


def entries():
    return {entry.path for entry in os.scandir(CACHE)} if os.path.exists(CACHE) else set()
