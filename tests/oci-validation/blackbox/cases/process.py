"""config.json's `process`, hostname, domainname and sysctl."""

from suite import case

CAPABILITY_BITS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10, "CAP_AUDIT_WRITE": 29}


def status(t, field):
    """A field of /proc/self/status in the container."""
    return t.matches(t.run("cat", "/proc/self/status").out, rf"^{field}:\s+(.*)$")[1]


def mask(*names):
    return sum(1 << CAPABILITY_BITS[name] for name in names)


@case()
def args_are_passed_as_they_are(t):
    arguments = ["sh", "-c", 'printf "[%s]" "$@"', "sh", "", "a b", "*", "ü", "-x"]
    t.equal(t.run(*arguments).out, "[][a b][*][ü][-x]")


@case()
def env_is_exactly_the_given_one(t):
    t.process["env"] = ["PATH=/bin", "EMPTY=", "TWO=a=b", "HOME=/here"]
    t.equal(sorted(t.run("env").out.splitlines()), ["EMPTY=", "HOME=/here", "PATH=/bin", "TWO=a=b"])


@case()
def the_callers_env_does_not_get_in(t):
    import os

    out = t.run("env", env={**os.environ, "SECRET": "x"}).out
    t.lacks(out, "SECRET")


@case()
def home_comes_from_passwd(t):
    t.contains(t.run("env").out.splitlines(), "HOME=/root")


@case()
def the_executable_is_found_in_path(t):
    t.process["env"] = ["PATH=/nope:/opt/x:/bin"]
    t.file("/opt/x/tool", "#!/bin/sh\necho found $0\n", 0o755)
    t.equal(t.run("tool").out, "found /opt/x/tool\n")


@case()
def a_relative_executable_is_relative_to_cwd(t):
    t.process["cwd"] = "/opt"
    t.file("/opt/x/tool", "#!/bin/sh\necho found\n", 0o755)
    t.equal(t.run("x/tool").out, "found\n")


@case()
def cwd_is_entered_and_made(t):
    t.process["cwd"] = "/deep/er"
    t.equal(t.run("pwd").out, "/deep/er\n")


@case()
def user_and_groups(t):
    t.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 1002]}
    t.equal(t.sh("id -u; id -g; id -G").out, "1000\n1001\n1001 5 1002\n")


@case()
def without_additional_gids_there_are_none(t):
    t.equal(t.run("id", "-G").out, "0\n")


@case()
def a_user_may_not_be_in_passwd(t):
    t.process["user"] = {"uid": 4242, "gid": 4242}
    t.equal(t.run("id", "-u").out, "4242\n")


@case()
def umask(t):
    t.process["user"]["umask"] = 0o027
    t.equal(t.sh("umask").out, "0027\n")


@case()
def umask_is_0022_by_default(t):
    t.equal(t.sh("umask").out, "0022\n")


@case()
def stdio_can_be_reopened_by_the_user(t):
    t.process["user"] = {"uid": 1000, "gid": 1000}
    t.equal(t.sh("echo again > /proc/self/fd/1").out, "again\n")


@case()
def five_capability_sets(t):
    t.process["noNewPrivileges"] = False
    t.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETPCAP", "CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "ambient": ["CAP_NET_BIND_SERVICE"],
    }
    t.process["user"] = {"uid": 1000, "gid": 1000}
    out = t.run("cat", "/proc/self/status").out
    value = lambda field: int(t.matches(out, rf"^{field}:\s+(\w+)$")[1], 16)
    t.equal(value("CapBnd"), mask(*t.process["capabilities"]["bounding"]), "bounding")
    t.equal(value("CapInh"), mask("CAP_KILL", "CAP_NET_BIND_SERVICE"), "inheritable")
    t.equal(value("CapAmb"), mask("CAP_NET_BIND_SERVICE"), "ambient")
    # execve(2) gives a user without privileges the ambient set only.
    t.equal(value("CapPrm"), mask("CAP_NET_BIND_SERVICE"), "permitted")
    t.equal(value("CapEff"), mask("CAP_NET_BIND_SERVICE"), "effective")


@case()
def root_gets_the_bounding_set(t):
    t.process["noNewPrivileges"] = False
    t.process["capabilities"] = {kind: ["CAP_CHOWN", "CAP_KILL"] for kind in ("bounding", "permitted", "effective")}
    t.equal(int(status(t, "CapEff"), 16), mask("CAP_CHOWN", "CAP_KILL"))


@case()
def no_capabilities_at_all(t):
    t.process["capabilities"] = {}
    out = t.run("cat", "/proc/self/status").out
    for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        t.matches(out, rf"^{field}:\s+0000000000000000$")


@case()
def an_unknown_capability_is_only_warned_of(t):
    t.process["capabilities"]["bounding"].append("CAP_NEW_IN_LINUX_9")
    result = t.run("echo", "goes on")
    t.equal(result.out, "goes on\n")
    if t.name != "crun":
        t.contains(result.err, "CAP_NEW_IN_LINUX_9")


@case()
def rlimits(t):
    t.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
        {"type": "RLIMIT_NPROC", "soft": 50, "hard": 60},
    ]
    out = t.run("cat", "/proc/self/limits").out
    t.matches(out, r"^Max open files +100 +200 ")
    t.matches(out, r"^Max core file size +0 +4096 ")
    t.matches(out, r"^Max processes +50 +60 ")


@case()
def no_new_privileges(t):
    for value, shown in ((True, "1"), (False, "0")):
        t.process["noNewPrivileges"] = value
        t.equal(status(t, "NoNewPrivs"), shown)


@case()
def oom_score_adj(t):
    t.process["oomScoreAdj"] = 321
    t.equal(t.run("cat", "/proc/self/oom_score_adj").out, "321\n")


@case()
def oom_score_adj_stays_without_the_field(t):
    t.equal(t.run("cat", "/proc/self/oom_score_adj").out, open("/proc/self/oom_score_adj").read())


@case()
def hostname(t):
    t.config["hostname"] = "my-host.example"
    t.equal(t.run("hostname").out, "my-host.example\n")


@case(runc="1.1.5 is older than the field")
def domainname(t):
    t.config["domainname"] = "my.domain"
    t.equal(t.run("cat", "/proc/sys/kernel/domainname").out, "my.domain\n")


@case()
def sysctl(t):
    t.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "123", "net/ipv4/ip_default_ttl": "33"}
    out = t.run("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmni", "/proc/sys/net/ipv4/ip_default_ttl").out
    t.equal(out, "1\n123\n33\n")


@case()
def signals_are_as_new(t):
    out = t.run("cat", "/proc/self/status").out
    for field in ("SigBlk", "SigIgn", "SigCgt"):
        value = int(t.matches(out, rf"^{field}:\s+(\w+)$")[1], 16)
        # glibc's posix_spawn (make uses it) has its children ignore 32 and 33, its own; programs cannot tell.
        t.equal(value & ~(0b11 << 31), 0, field)


@case()
def the_process_leads_a_session(t):
    pid = t.sleeper()
    fields = open(f"/proc/{pid}/stat").read().rsplit(")")[1].split()
    t.equal((fields[2], fields[3]), (str(pid), str(pid)), "process group and session")


@case()
def annotations_reach_the_state_only(t):
    t.config["annotations"] = {"org.example.a": "1", "b": ""}
    t.sleeper()
    t.equal(t.state()["annotations"], {"org.example.a": "1", "b": ""})
