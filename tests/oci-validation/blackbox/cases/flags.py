"""Flags that change how a command works, one by one."""

import array
import contextlib
import json
import os
import signal
import socket

from suite import TIMEOUT, case

NO_REGEX = "1.1.5 has no --regex"
NO_PIDFD = "1.1.5 has no --pidfd-socket"
CRUN_NO_PIDFD = "1.8.1 has no --pidfd-socket"


def sleepers(t, *ids):
    t.process["args"] = ["sleep", "1000"]
    t.save()
    for id in ids:
        t.rt("run", "--detach", id)


def ids(t):
    return t.rt("list", "--quiet").out.split()


# --- --regex


@case(runc=NO_REGEX)
def kill_regex_reaches_all_that_match(t):
    sleepers(t, "web-1", "web-22", "other-1")
    t.rt("kill", "--regex", "^web-[0-9]+$", "KILL")
    for id in ("web-1", "web-22"):
        t.wait("stopped", id)
    t.equal(t.state("other-1")["status"], "running")


@case(runc=NO_REGEX)
def kill_regex_sends_term_by_default_and_minds_no_stopped_ones(t):
    t.process["args"] = ["sh", "-c", "trap 'exit 0' TERM; touch /ready; while :; do sleep 0.05; done"]
    t.save()
    t.rt("run", "-d", "a1")
    t.until(lambda: os.path.exists(f"{t.rootfs}/ready"), "the trap")
    t.process["args"] = ["true"]
    t.save()
    t.rt("run", "-d", "a2")
    t.wait("stopped", "a2")
    t.rt("kill", "-r", "^a")
    t.wait("stopped", "a1")


@case(runc=NO_REGEX)
def delete_regex_deletes_all_that_match(t):
    t.process["args"] = ["true"]
    t.save()
    for id in ("a1", "a2", "b1"):
        t.rt("create", id)
    t.rt("delete", "-r", "a")
    t.equal(ids(t), ["b1"])
    sleepers(t, "a3", "a4")
    t.rt("delete", "--force", "--regex", "^(a|b)")
    t.equal(ids(t), [])
    t.none_left()


@case(runc=NO_REGEX)
def a_regex_that_matches_nothing_is_no_error(t):
    sleepers(t, "a1")
    t.rt("delete", "--force", "--regex", "^nobody$")
    t.rt("kill", "--regex", "^nobody$")
    t.equal((ids(t), t.state("a1")["status"]), (["a1"], "running"))


@case(runc=NO_REGEX, crun="1.8.1 exits with 0")
def delete_regex_tells_which_it_could_not_delete(t):
    sleepers(t, "a1")
    t.process["args"] = ["true"]
    t.save()
    t.rt("create", "a2")
    t.contains(t.rt("delete", "--regex", "^a", code=1).said, "a1")
    t.equal((ids(t), t.state("a1")["status"]), (["a1"], "running"), "the other one is deleted")


@case(runc=NO_REGEX, crun="1.8.1 takes what cannot be compiled for what matches")
def a_regex_that_is_none_is_refused(t):
    sleepers(t, "a1")
    for command in ("kill", "delete"):
        t.contains(t.rt(command, "--regex", "a(", code=1).said, "regular expression")
    t.equal(t.state("a1")["status"], "running")


# --- --pidfd-socket


@contextlib.contextmanager
def pidfd_socket(t):
    """Listens as an engine does; the value's `pid()` is the process that the descriptor it gets stands for."""
    path = f"{t.directory}/pidfd"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(TIMEOUT)

        class Receiver:
            socket = path

            def pid(self):
                connection, _ = listener.accept()
                with connection:
                    _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
                fds = array.array("i")
                fds.frombytes(ancillary[0][2][:4])
                try:
                    lines = open(f"/proc/self/fdinfo/{fds[0]}").read().splitlines()
                    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
                finally:
                    os.close(fds[0])

        yield Receiver()
    os.unlink(path)


@case(runc=NO_PIDFD, crun=CRUN_NO_PIDFD)
def pidfd_socket_gets_inits_pidfd(t):
    t.process["args"] = ["sleep", "1000"]
    t.save()
    for command in (["create"], ["run", "--detach"]):
        with pidfd_socket(t) as receiver:
            t.rt(*command, "--pidfd-socket", receiver.socket, t.id)
            t.equal(receiver.pid(), t.state()["pid"], str(command))
        t.rt("delete", "--force", t.id)


@case(runc=NO_PIDFD, crun=CRUN_NO_PIDFD)
def pidfd_socket_gets_the_executed_processs_pidfd(t):
    t.sleeper()
    with pidfd_socket(t) as receiver:
        pid_file = f"{t.directory}/exec.pid"
        options = ("--detach", "--pid-file", pid_file, "--pidfd-socket", receiver.socket)
        t.exec(*options, t.id, "sleep", "1001")
        t.equal(receiver.pid(), int(open(pid_file).read()))


@case(runc=NO_PIDFD, crun=CRUN_NO_PIDFD)
def a_pidfd_socket_that_nobody_listens_on_is_refused(t):
    t.process["args"] = ["true"]
    t.save()
    result = t.rt("create", "--pidfd-socket", f"{t.directory}/nobody", t.id, code=1)
    t.contains(result.said, "nobody")
    t.none_left()


# --- session keyring


def keyrings(text):
    return [line.split()[-2].rstrip(":") for line in text.splitlines() if " keyring " in line]


@case(crun="1.8.1 gives the keyring the id as its name")
def a_session_keyring_of_its_own(t):
    """The container's processes share it; with --no-new-keyring they keep the caller's."""
    t.linux["maskedPaths"].remove("/proc/keys")
    t.sleeper()
    t.true(f"_ses.{t.id}" in keyrings(t.exec(t.id, "cat", "/proc/keys").out), "exec is in another session")
    t.rt("delete", "--force", t.id)
    out = t.run("cat", "/proc/keys").out
    t.true(f"_ses.{t.id}" in keyrings(out), out)
    # Another id, since the kernel may list the keyrings of those who have ended for a moment.
    out = t.rt("run", "--no-new-keyring", f"{t.id}-without").out
    t.true(not any("without" in name for name in keyrings(out)), out)


# --- exec


def own_groups(t):
    """Of the container: the directory in each hierarchy, by the names in /proc/PID/cgroup."""
    lines = [line.rstrip("\n").split(":", 2) for line in open(f"/proc/{t.state()['pid']}/cgroup")]
    return {names: path for _, names, path in lines}


@contextlib.contextmanager
def sub_group(t, directory):
    os.mkdir(directory)
    try:
        yield
    finally:
        t.until(lambda: not open(f"{directory}/cgroup.procs").read(), "the end of what ran there")
        os.rmdir(directory)


@case(crun="1.8.1 takes a path only")
def exec_in_a_sub_cgroup_of_one_controller(t):
    if not os.path.isdir("/sys/fs/cgroup/memory"):
        return exec_in_a_sub_cgroup_on_v2(t)
    t.sleeper()
    path = own_groups(t)["memory"]
    with sub_group(t, f"/sys/fs/cgroup/memory{path}/sub"):
        groups = t.exec("--cgroup", "memory:sub", t.id, "cat", "/proc/self/cgroup").out
        t.matches(groups, f":memory:.*{t.id}/sub$|:memory:.*/sub$")
        t.matches(groups, ":pids:(?!.*/sub)")


def exec_in_a_sub_cgroup_on_v2(t):
    t.sleeper()
    with sub_group(t, f"/sys/fs/cgroup{own_groups(t)['']}/sub"):
        t.matches(t.exec("--cgroup", "sub", t.id, "cat", "/proc/self/cgroup").out, "^0::.*/sub$")


@case(crun="1.8.1 takes any path and any text for one")
def exec_in_a_sub_cgroup_that_is_wrong(t):
    t.sleeper()
    v1 = os.path.isdir("/sys/fs/cgroup/memory")
    for flags in (["--cgroup", "nonexistent"], ["--cgroup", "memory:a", "--cgroup", "b"], ["--cgroup", ":a"]):
        t.exec(*flags, t.id, "true", code=255)
    for flag in ("memory:nonexistent", "nosuch:a") if v1 else ():
        t.exec("--cgroup", flag, t.id, "true", code=255)


@case(runc="1.1.5 has 0022 for each exec", crun="1.8.1 has 0022 for each exec")
def exec_has_the_containers_umask(t):
    t.process["user"]["umask"] = 0o27
    t.sleeper()
    t.equal(t.exec(t.id, "sh", "-c", "umask").out, "0027\n")


@case()
def exec_forwards_signals(t):
    t.sleeper()
    script = "trap 'exit 6' USR1; echo ready; while :; do sleep 0.05; done"
    running = t.start_rt("exec", t.id, "sh", "-c", script)
    t.until(lambda: open(f"{running.stamp}.out").read() == "ready\n", "the trap")
    running.send_signal(signal.SIGUSR1)
    t.finish(running, code=6)


@case()
def a_forwarded_signal_that_ends_the_process_is_told(t):
    t.process["args"] = ["sh", "-c", "echo ready; exec sleep 1000"]
    t.remove_namespace("pid")  # process 1 of a namespace would ignore it
    t.save()
    running = t.start_rt("run", t.id)
    t.until(lambda: open(f"{running.stamp}.out").read() == "ready\n", "the process")
    t.until(lambda: "sleep" in open(f"/proc/{t.state()['pid']}/cmdline").read(), "sleep")
    running.send_signal(signal.SIGTERM)
    t.finish(running, code=143)
    t.none_left()


@case(crun="1.8.1 does not tell of a label that cannot be")
def exec_apparmor_where_there_is_none(t):
    t.sleeper()
    enabled = "/sys/module/apparmor/parameters/enabled"
    if os.path.exists(enabled) and open(enabled).read().startswith("Y"):
        t.contains(t.exec("--apparmor", "unconfined", t.id, "cat", "/proc/self/attr/current").out, "unconfined")
    else:
        t.contains(t.exec("--apparmor", "some-profile", t.id, "true", code=255).said.lower(), "apparmor")


# --- global flags


@case(crun="has no --criu")
def criu_is_accepted_and_ignored(t):
    t.globals = ["--criu", "/nowhere/criu"]
    t.equal(t.run("echo", "yes").out, "yes\n")


@case(crun="1.8.1 takes any value")
def rootless_is_true_false_or_auto(t):
    t.process["args"] = ["true"]
    t.save()
    for value in ("auto", "false"):
        t.globals = ["--rootless", value]
        t.rt("run", t.id)
    t.globals = ["--rootless", "perhaps"]
    t.contains(t.rt("run", t.id, code=1).said, "perhaps")


@case()
def a_flag_may_have_its_value_after_an_equals_sign(t):
    t.globals = [f"--log={t.directory}/log", "--log-format=json"]
    t.process["args"] = ["true"]
    t.save()
    t.rt("run", f"--bundle={t.bundle}", f"--pid-file={t.directory}/pid", t.id, cwd="/")
    t.true(int(open(f"{t.directory}/pid").read()) > 0, "a pid")


@case(crun="knows options as getopt has them")
def one_dash_is_as_good_as_two(t):
    t.process["args"] = ["sleep", "1000"]
    t.save()
    t.rt("run", "-detach", "-bundle", t.bundle, t.id, cwd="/")
    t.equal(json.loads(t.rt("list", "-format", "json").out)[0]["id"], t.id)


@case(crun="1.8.1 lets runc's word through")
def a_switch_can_be_switched_off(t):
    t.process["args"] = ["echo", "attached"]
    t.save()
    t.equal(t.rt("run", "--detach=false", t.id).out, "attached\n")
