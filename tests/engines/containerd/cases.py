"""What containerd's users do with a runtime; each case is right for containerd's own shim with runc too, unless it says why not."""

import os
import re
import signal
import stat
import time

from engine import Failure, check, equal, eventually

CASES = []


def case(function=None, *, runc=None, creel=None):
    """`runc` or `creel`: why it does not hold there."""

    def add(function):
        CASES.append((function, {"runc": runc, "creel": creel}))
        return function

    return add(function) if function else add


@case
def status_and_streams(e):
    output = e.run("c", "sh", "-c", "echo out; echo err >&2; exit 3")
    equal((output.status, output.out), (3, "out\n"), "status and stdout")
    check("err\n" in output.err, f"stderr: {output!r}")


@case
def a_fast_exit_loses_neither_status_nor_output(e):
    for number in range(15):
        output = e.run(f"c{number}", "sh", "-c", f"echo {number}; exit {number}")
        equal((output.status, output.out), (number, f"{number}\n"), f"run {number}")


@case
def input_reaches_the_process_and_ends(e):
    equal(e.run("c", "cat", stdin="some\ninput\n").out, "some\ninput\n", "what cat got")


@case
def much_output_is_complete(e):
    out = e.run("c", "seq", "1", "200000").out
    equal(out.split(), [str(number) for number in range(1, 200001)], "the numbers")


@case
def a_missing_executable_is_told_and_leaves_nothing(e):
    output = e.run("c", "no-such-thing")
    check(output.status != 0 and "executable file not found in $PATH" in output.err, repr(output))
    check("OCI runtime create failed" in output.err, repr(output))
    e.try_ctr("container", "rm", "c")


@case
def killed_by_a_signal(e):
    equal(e.run("c", "sh", "-c", "kill -9 $$; echo no").status, 0, "a signal that process 1 sends itself has no effect")
    with e.running("d"):
        e.ctr("task", "kill", "-s", "KILL", "d")
        eventually(lambda: e.status("d") == "STOPPED", "the end")
        output = e.try_ctr("task", "rm", "d")
        check("137" in output.err, repr(output))


@case
def a_signal_reaches_the_process(e):
    with e.running("c", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done"):
        time.sleep(0.3)
        e.ctr("task", "kill", "-s", "TERM", "c")
        eventually(lambda: e.status("c") == "STOPPED", "the end")
        output = e.try_ctr("task", "kill", "-s", "TERM", "c")
        check(output.status != 0 and "process already finished" in output.err, repr(output))


@case
def exec_status_and_streams(e):
    with e.running("c"):
        output = e.exec("c", "e", "sh", "-c", "echo out; echo err >&2; exit 7")
        equal((output.status, output.out), (7, "out\n"), "status and stdout")
        equal(e.exec("c", "e", "cat", stdin="typed\n").out, "typed\n", "what cat got")
        output = e.exec("c", "e", "no-such-thing")
        check(output.status != 0 and "executable file not found in $PATH" in output.err, repr(output))
        for number in range(10):
            output = e.exec("c", f"e{number}", "echo", str(number))
            equal((output.status, output.out), (0, f"{number}\n"), f"exec {number}")


@case
def an_exec_that_does_not_exist_is_not_found(e):
    with e.running("c"):
        output = e.try_ctr("task", "kill", "--exec-id", "none", "c")
        check(output.status != 0 and re.search("not found|does not exist", output.err), repr(output))


@case
def a_terminal(e):
    status, shown = e.in_terminal("run", "--rm", "-t", "--runtime", e.runtime, "docker.io/library/busybox:test", "c",
                                  "sh", "-c", "sleep 0.5; tty; stty size; exit 9", size=(33, 101))  # fmt: skip
    equal(status, 9, f"status (shown: {shown!r})")
    # ctr leaves its own terminal's output modes alone, so that a second "\r" comes from there.
    check(re.search("/dev/pts/0\r+\n33 101\r+\n", shown), f"{shown!r}")


@case
def a_terminal_of_an_exec(e):
    with e.running("c"):
        status, shown = e.in_terminal("task", "exec", "-t", "--exec-id", "e", "c", "sh", "-c", "read a; echo got-$a", typed=b"line\r")
        check(status == 0 and re.search("got-line\r+\n", shown), f"{status} {shown!r}")


@case
def a_terminals_output_is_complete(e):
    _, shown = e.in_terminal("run", "--rm", "-t", "--runtime", e.runtime, "docker.io/library/busybox:test", "c", "seq", "1", "20000")
    numbers = re.findall(r"\d+", shown)
    equal(len(numbers), 20000, "the numbers")


@case
def pause_and_resume(e):
    with e.running("c"):
        e.ctr("task", "pause", "c")
        equal(e.status("c"), "PAUSED", "status")
        output = e.exec("c", "e", "true")
        check(output.status != 0, f"an exec in a paused container: {output!r}")
        e.ctr("task", "resume", "c")
        equal(e.status("c"), "RUNNING", "status")
        equal(e.exec("c", "f", "true").status, 0, "an exec after resume")


@case
def a_paused_container_can_be_killed(e):
    with e.running("c"):
        e.ctr("task", "pause", "c")
        e.ctr("task", "kill", "-s", "KILL", "c")
        eventually(lambda: e.status("c") == "STOPPED", "the end")


@case
def its_processes_are_listed(e):
    with e.running("c", "sh", "-c", "sleep 1000 & wait") as pid:
        eventually(lambda: len(e.ctr("task", "ps", "c").splitlines()) == 3, "two processes")
        check(str(pid) in e.ctr("task", "ps", "c"), "init is one of them")


@case
def a_running_container_is_not_deleted(e):
    with e.running("c"):
        output = e.try_ctr("task", "rm", "c")
        check(output.status != 0, repr(output))
        equal(e.status("c"), "RUNNING", "status")


def topics(lines, name="c"):
    return [re.search(r"(/tasks/\S+)", line).group(1) for line in lines if f'"{name}"' in line and "/tasks/" in line]


@case
def events_in_order(e):
    with e.events() as lines:
        with e.running("c"):
            e.exec("c", "e", "true")
            e.ctr("task", "pause", "c")
            e.ctr("task", "resume", "c")
        eventually(lambda: "/tasks/delete" in topics(lines)[-1:], f"the last event of {lines}")
    found = topics(lines)
    expected = ["create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"]
    equal(found, [f"/tasks/{name}" for name in expected], "the events")


@case
def statistics(e):
    with e.running("c", "sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 1000"):
        time.sleep(0.5)
        metrics = e.ctr("task", "metrics", "--format", "json", "c")
        found = re.search(r'"(?:total|usage_usec|usageUsec)":\s*"?(\d+)', metrics)
        check(found and int(found.group(1)) > 0, f"processor time in {metrics}")
        check(re.search(r'"pids":\s*{\s*"current":\s*"?1', metrics), f"one process in {metrics}")


@case
def running_out_of_memory_is_told_before_the_end(e):
    with e.events() as lines:
        output = e.run("c", "tail", "/dev/zero", flags=["--memory-limit", "16777216"])
        equal(output.status, 137, f"status ({output!r})")
        eventually(lambda: "/tasks/delete" in topics(lines), f"the last of {lines}")
    found = topics(lines)
    check("/tasks/oom" in found, f"{found}")
    check(found.index("/tasks/oom") < found.index("/tasks/exit"), f"the order of {found}")


@case
def limits_can_be_changed(e):
    with e.running("c", flags=["--memory-limit", "67108864"]):
        resources = b'\x0a\x01x\x12\x26{"memory":{"limit":33554432},"cpu":{}}'
        equal(len(resources), 5 + 0x26, "the length")
        equal(e.call("Update", (1, "c"), (2, resources))[0], 0, "the code")
        files = ["/sys/fs/cgroup/memory/default/c/memory.limit_in_bytes", f"{e.cgroup('c')}/memory.max"]
        (found,) = [open(path).read().strip() for path in files if os.path.exists(path)]
        equal(found, "33554432", "the limit")


@case(runc="containerd 1.6's has one version, 2's the other")
def both_versions_of_the_task_api_and_nothing_else(e):
    with e.running("c"):
        for version in (2, 3):
            service = f"containerd.task.v{version}.Task"
            equal(e.call("Connect", (1, "c"), service=service)[0], 0, service)
            code, answer = e.call("State", (1, "none"), service=service)
            equal((code, b"container not created" in answer), (5, True), "not found")
        equal(e.call("Checkpoint", (1, "c"))[0], 12, "unimplemented")
        equal(e.call("Connect", (1, "c"), service="containerd.task.v9.Task")[0], 12, "unimplemented")
        equal(e.call("Nonsense", (1, "c"))[0], 12, "unimplemented")


@case
def the_end_of_an_exec_precedes_that_of_init(e):
    with e.events() as lines:
        with e.running("c"):
            for number in range(3):
                e.ctr("task", "exec", "-d", "--exec-id", f"e{number}", "c", "sleep", "1000")
            e.ctr("task", "kill", "-s", "KILL", "c")
            eventually(lambda: topics(lines).count("/tasks/exit") == 4, f"four ends in {lines}")
    ids = [re.search(r'"id":"(\w+)"', line).group(1) for line in lines if "/tasks/exit" in line]
    equal((sorted(ids[:3]), ids[3]), (["e0", "e1", "e2"], "c"), "the order of the ends")


@case
def output_to_a_file(e):
    log = f"{e.work}/log/out"
    with e.running("c", "sh", "-c", "echo one; echo two >&2; sleep 1000", flags=[f"--log-uri=file://{log}"]):
        eventually(lambda: os.path.exists(log) and sorted(open(log).read().split()) == ["one", "two"], "both lines")
        equal(os.stat(log).st_uid, 0, "the owner")
    with e.running("c", "sh", "-c", "echo three; sleep 1000", flags=[f"--log-uri=file://{log}"]):
        eventually(lambda: "three" in open(log).read(), "the third line")
        check("one" in open(log).read(), "it was appended")


@case
def output_to_a_logger(e):
    logger, log = f"{e.work}/logger", f"{e.work}/logged"
    with open(logger, "w") as script:
        script.write('#!/bin/sh\nexec 6>"$2"\necho "$1 $CONTAINER_ID $CONTAINER_NAMESPACE" >&6\nexec 5>&-\n'
                     "cat <&4 >&6 &\ncat <&3 >&6\nwait\n")  # fmt: skip
    os.chmod(logger, 0o755)
    with e.running("c", "sh", "-c", "echo one; echo two >&2", flags=[f"--log-uri=binary://{logger}?path={log}"]):
        eventually(lambda: os.path.exists(log) and {"one", "two", "path"} <= set(open(log).read().split()), "all lines")
        check("path c default" in open(log).read(), open(log).read())


@case
def a_logger_that_cannot_be_started_is_told(e):
    output = e.try_ctr("run", "-d", "--runtime", e.runtime, "--log-uri=binary:///no/such/logger", "docker.io/library/busybox:test", "c", "true")
    check(output.status != 0 and "no such file" in output.err, repr(output))
    e.try_ctr("container", "rm", "c")


@case
def processes_of_a_shared_pid_namespace_end_with_init(e):
    with e.running("c", "sh", "-c", "sleep 4321 & sleep 0.5", flags=["--with-ns", f"pid:/proc/{e.daemon.pid}/ns/pid"]):
        eventually(lambda: e.status("c") == "STOPPED", "the end")
        check(not with_argument("4321"), "the process in the background is gone")


def with_argument(argument):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if argument.encode() in file.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            pass
    return found


@case
def containers_of_a_group_share_a_shim(e):
    group = ["--annotation", "io.containerd.runc.v2.group=pod"]
    with e.running("c", flags=group), e.running("d", flags=group):
        equal(len(e.shims()), 1, "shims")
        e.remove("c")
        equal((e.status("c"), e.status("d")), (None, "RUNNING"), "the other one goes on")
        equal(e.exec("d", "e", "echo", "there").out, "there\n", "exec")


@case
def the_state_is_not_for_others(e):
    with e.running("c"):
        for path in os.listdir("/run/containerd/s"):
            equal(stat.S_IMODE(os.stat(f"/run/containerd/s/{path}").st_mode) & 0o077, 0, f"mode of {path}")
        with open("/proc/net/unix") as sockets:
            check(not any("@/containerd-shim" in line for line in sockets), "no abstract socket")


@case(runc="it has a dozen threads")
def one_thread(e):
    with e.running("c"):
        e.exec("c", "e", "true")
        with open(f"/proc/{e.shim_of('c')}/status") as status:
            check("Threads:\t1\n" in status.read(), "one thread")


@case
def containerd_is_killed_and_comes_back(e):
    log = f"{e.work}/log/out"
    flags = [f"--log-uri=file://{log}"]
    with e.running("c", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done", flags=flags) as pid:
        e.kill()
        try:
            before = len(open(log).read().split())
            time.sleep(0.5)
            check(len(open(log).read().split()) > before, "the container's output goes on without containerd")
        finally:
            e.start()
        equal((e.status("c"), e.pid("c")), ("RUNNING", pid), "the task")
        equal(e.exec("c", "e", "echo", "there").out, "there\n", "exec")


@case
def an_end_while_containerd_is_away_is_told_when_it_is_back(e):
    with e.running("c", "sh", "-c", "sleep 1; exit 6"):
        e.kill()
        try:
            time.sleep(1.5)
        finally:
            e.start()
        if e.version >= (1, 7):
            # It takes a task without processes for one that was never created, and cleans up.
            return eventually(lambda: e.status("c") is None, "the end")
        eventually(lambda: e.status("c") == "STOPPED", "the end")
        output = e.try_ctr("task", "rm", "c")
        check("6" in output.err, repr(output))


@case
def a_client_that_goes_away_does_not_kill_the_container(e):
    client = e.popen("run", "--rm", "--runtime", e.runtime, "docker.io/library/busybox:test", "c",
                     "sh", "-c", "while :; do echo line; sleep 0.05; done", stdout=open(os.devnull, "w"))  # fmt: skip
    try:
        eventually(lambda: e.status("c") == "RUNNING", "the task")
        client.kill()
        client.wait()
        time.sleep(0.5)
        equal(e.status("c"), "RUNNING", "the task")
    finally:
        e.remove("c")


@case(runc="containerd forgets shims that it has started and not used yet, and they stay")
def containerd_is_killed_in_the_middle_of_calls(e):
    for step in range(12):
        name = f"c{step}"
        client = e.popen("run", "-d", "--null-io", "--runtime", e.runtime, "docker.io/library/busybox:test", name,
                         "sleep", "1000", stdout=-3, stderr=-3)  # fmt: skip
        time.sleep(0.02 * step)
        e.kill()
        client.wait()
        e.start()
        if e.status(name) == "RUNNING":
            equal(e.exec(name, "e", "echo", "there").out, "there\n", f"exec after step {step}")
        e.remove(name)
        # The client may have made it and not come to the container that it is for.
        e.try_ctr("snapshot", "rm", name)
        eventually(lambda: not with_argument("1000"), f"the end of the processes after step {step}")
    # containerd may forget a shim that it has started and not used yet. Ours ends by itself after a minute.
    eventually(lambda: not e.left(), f"nothing left: {e.left()}", 80)


@case(runc="it leaves its socket")
def a_shim_that_is_killed_leaves_nothing(e):
    with e.events() as lines:
        e.detach("c", "sleep", "1000")
        pid = e.pid("c")
        os.kill(e.shim_of("c"), signal.SIGKILL)
        eventually(lambda: e.status("c") is None, "the task's end")
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the process's end")
        eventually(lambda: topics(lines)[-2:] == ["/tasks/exit", "/tasks/delete"], f"the events in {lines}")
    e.try_ctr("container", "rm", "c")


@case
def calls_are_served_while_another_waits(e):
    with e.running("c"), e.running("d"):
        e.ctr("task", "exec", "-d", "--exec-id", "long", "c", "sleep", "1000")
        began = time.monotonic()
        equal(e.exec("c", "short", "echo", "x").out, "x\n", "exec")
        check(time.monotonic() - began < 5, "it took long")


@case
def a_reader_that_stops_does_not_stop_the_other_stream(e):
    client = e.popen("run", "--rm", "--runtime", e.runtime, "docker.io/library/busybox:test", "c", "sh", "-c",
                     "(while :; do echo full; done) & while :; do echo alive >&2; sleep 0.05; done",
                     stdout=-1, stderr=-1)  # fmt: skip
    try:
        lines = (line for line in client.stderr if "DEPRECATION" not in line)
        for _ in range(20):
            check("alive" in next(lines, ""), "stderr goes on")
    finally:
        e.remove("c")
        client.kill()
        client.communicate()


@case
def failing_execs_do_not_make_it_grow(e):
    with e.running("c"):
        shim = e.shim_of("c")
        counts = []
        for round in range(2):
            for number in range(15):
                e.exec("c", f"e{round}-{number}", "no-such-thing")
            counts.append((len(os.listdir(f"/proc/{shim}/fd")), len(os.listdir(f"/proc/{shim}/task"))))
        # Go's runtime may add a thread or two at its leisure.
        check(counts[1][0] <= counts[0][0] + 2, f"descriptors and threads: {counts}")
