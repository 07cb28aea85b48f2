"""exec and its flags."""

import json
import os

from suite import case


@case()
def exec_gives_the_exit_code(t):
    t.sleeper()
    t.exec(t.id, "sh", "-c", "exit 9", code=9)


@case()
def exec_gives_128_plus_the_signal(t):
    t.sleeper()
    t.exec(t.id, "sh", "-c", "kill -TERM $$", code=143)


@case()
def exec_passes_stdin_and_keeps_outputs_apart(t):
    t.sleeper()
    result = t.exec(t.id, "sh", "-c", "cat; echo err >&2", text="hello")
    t.equal((result.out, result.err), ("hello", "err\n"))


@case()
def exec_runs_in_the_containers_namespaces(t):
    pid = t.sleeper()
    for kind in ("pid", "mnt", "net", "ipc", "uts", "cgroup"):
        here = t.exec(t.id, "readlink", f"/proc/self/ns/{kind}").out.strip()
        t.equal(here, os.readlink(f"/proc/{pid}/ns/{kind}"), kind)


@case()
def exec_runs_in_the_containers_cgroups(t):
    pid = t.sleeper()
    path = f"{t.directory}/pid"
    t.exec("--detach", "--pid-file", path, t.id, "sleep", "1001")
    groups = lambda p: sorted(open(f"/proc/{p}/cgroup").read().splitlines())
    t.equal(groups(open(path).read()), groups(pid))


@case()
def exec_sees_the_containers_processes(t):
    t.sleeper()
    shown = t.exec(t.id, "ps", "-o", "pid,args").out
    t.matches(shown, r"^ *1 /bin/sleep 1000$")


@case(crun="1.8.1: --env replaces the environment, PATH included")
def exec_env(t):
    t.process["env"] = ["PATH=/bin", "A=1", "B=2"]
    t.sleeper()
    out = t.exec("--env", "B=3", "--env", "C=4=5", t.id, "env").out.splitlines()
    for line in ("PATH=/bin", "A=1", "C=4=5"):
        t.contains(out, line)
    t.equal([line for line in out if line.startswith("B=")][-1], "B=3")
    t.contains(t.exec("-e", "D=6", t.id, "env").out.splitlines(), "D=6")


@case()
def exec_cwd(t):
    t.sleeper()
    t.equal(t.exec("--cwd", "/etc", t.id, "pwd").out, "/etc\n")
    t.equal(t.exec(t.id, "pwd").out, "/\n")


@case()
def exec_user(t):
    t.sleeper()
    t.equal(t.exec("--user", "1000:1001", t.id, "sh", "-c", "id -u; id -g").out, "1000\n1001\n")
    t.equal(t.exec("-u", "7", t.id, "id", "-u").out, "7\n")


@case(crun="1.8.1 has no such flag")
def exec_additional_gids(t):
    t.sleeper()
    t.equal(t.exec("--additional-gids", "7", "--additional-gids", "8", t.id, "id", "-G").out, "0 7 8\n")


@case()
def exec_cap(t):
    t.sleeper()
    effective = lambda *flags: int(t.matches(t.exec(*flags, t.id, "cat", "/proc/self/status").out, r"CapEff:\s+(\w+)")[1], 16)
    without = effective()
    with_it = effective("--cap", "CAP_SYS_PTRACE")
    t.equal(with_it & 1 << 19, 1 << 19, "CAP_SYS_PTRACE")
    t.equal(without & 1 << 19, 0, "CAP_SYS_PTRACE without the flag")


@case()
def exec_no_new_privs(t):
    t.process["noNewPrivileges"] = False
    t.sleeper()
    value = lambda *flags: t.matches(t.exec(*flags, t.id, "cat", "/proc/self/status").out, r"NoNewPrivs:\s+(\d)")[1]
    t.equal((value(), value("--no-new-privs")), ("0", "1"))


@case()
def exec_detach_and_pid_file(t):
    t.sleeper()
    path = f"{t.directory}/pid"
    t.exec("--detach", "--pid-file", path, t.id, "sleep", "1001")
    t.contains(open(f"/proc/{open(path).read()}/cmdline").read(), "sleep\x001001")
    t.exec("-d", t.id, "touch", "/done")
    t.until(lambda: os.path.exists(f"{t.rootfs}/done"), "the detached process")


@case()
def exec_pid_file_while_attached(t):
    t.sleeper()
    path = f"{t.directory}/pid"
    t.exec("--pid-file", path, t.id, "true")
    t.matches(open(path).read(), r"^\d+$")


@case()
def exec_process_from_a_file(t):
    t.sleeper()
    process = {
        "args": ["sh", "-c", "id -u; pwd; echo $X; cat /proc/self/status"],
        "user": {"uid": 5, "gid": 6},
        "cwd": "/etc",
        "env": ["PATH=/bin", "X=y"],
        "noNewPrivileges": True,
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": [], "effective": []},
    }
    path = t.file("process.json", json.dumps(process))
    for flag in (["--process", path], ["-p", path]):
        out = t.exec(*flag, t.id).out
        t.equal(out.splitlines()[:3], ["5", "/etc", "y"])
        t.matches(out, r"CapBnd:\s+0000000000000020")


@case()
def exec_options_end_at_the_id(t):
    t.sleeper()
    t.equal(t.exec(t.id, "echo", "-d", "--env").out, "-d --env\n")
    t.equal(t.exec("--cwd", "/etc", t.id, "sh", "-c", "pwd").out, "/etc\n")


@case(crun="1.8.1: exec has the limits of its caller")
def exec_keeps_the_limits_of_the_container(t):
    t.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 256}]
    t.sleeper()
    t.equal(t.exec(t.id, "sh", "-c", "ulimit -Sn; ulimit -Hn").out, "256\n512\n")


@case()
def exec_does_not_leak_descriptors(t):
    t.sleeper()
    out = t.exec(t.id, "ls", "/proc/self/fd", shell="exec 5</dev/null 9</dev/null").out.split()
    t.equal(out, ["0", "1", "2", "3"], "descriptors (3 is ls's own)")


@case()
def exec_preserve_fds(t):
    t.sleeper()
    path = t.file("kept")
    t.exec("--preserve-fds", "2", t.id, "sh", "-c", "echo hello >&4", shell=f"exec 3</dev/null 4>{path}")
    t.equal(open(path).read(), "hello\n")


@case()
def exec_of_a_missing_executable(t):
    t.sleeper()
    for name in ("nonexistent", "/nonexistent"):
        t.contains(t.exec(t.id, name, code={255, 127}).err, "nonexistent")
    t.equal(t.state()["status"], "running")


@case()
def exec_of_what_is_not_executable(t):
    t.sleeper()
    t.contains(t.exec(t.id, "/etc/passwd", code={255, 126}).err.lower(), "permission denied")


@case(crun="exits with 1")
def exec_without_a_command_is_refused(t):
    t.sleeper()
    t.exec(t.id, code=255)


@case()
def exec_in_a_created_container(t):
    t.create("sleep", "1000")
    t.equal(t.exec(t.id, "echo", "early").out, "early\n")


@case(crun="exits with 1")
def exec_where_it_cannot_be(t):
    t.exec("nobody", "true", code=255)
    t.sleeper()
    t.rt("pause", t.id)
    t.contains(t.exec(t.id, "true", code=255).err, "paused")
    t.rt("resume", t.id)
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    t.contains(t.exec(t.id, "true", code=255).err, "stopped")


@case()
def exec_leaves_nothing(t):
    t.sleeper()
    before = t.rt("ps", "-f", "json", t.id).out
    for _ in range(5):
        t.exec(t.id, "true")
    t.equal(t.rt("ps", "-f", "json", t.id).out, before)


@case()
def exec_ends_with_the_container(t):
    t.sleeper()
    running = t.start_rt("exec", t.id, "sleep", "1001")
    t.until(lambda: "sleep 1001" in t.exec(t.id, "ps").out, "the second sleep")
    t.rt("kill", t.id, "KILL")
    t.finish(running, code=137)
