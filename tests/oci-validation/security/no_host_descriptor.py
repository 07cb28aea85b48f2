"""No descriptor of the host's inside the container, whatever the command and its mode: an audit. (CVE-2024-21626)

What may be open besides stdio: what --preserve-fds names, in order; in the created state the two FIFOs of the start
gate, through which nothing can be reached. Removed to see each fail: `close_all_but` and `close_on_exec_from` (sys/fd.rs) did nothing."""

import contextlib
import os
import re

from cases.hooks import hook
from cases.seccomp_notify import Agent, notify
from cases.systemd import gone, with_systemd
from security.harness import Report, host_objects, install, report
from suite import case, console_socket

GATE = re.compile(r"/exec\.\w+$")


# What the runtime is started with besides; SHELL for `t.rt`, `inherited` for `t.terminal`.
SHELL = "exec 5</ 9</etc/passwd"


@contextlib.contextmanager
def inherited():
    directory = os.open("/", os.O_RDONLY)
    os.set_inheritable(directory, True)
    try:
        yield
    finally:
        os.close(directory)


def only_stdio(t, report, more=()):
    t.equal(sorted(report.fds()), [0, 1, 2, *more], f"descriptors {report.fds()}")


@case()
def of_run(t):
    only_stdio(t, report(t, shell=SHELL))


@case()
def of_run_on_a_terminal(t):
    install(t)
    t.process.update(terminal=True, args=["/payload", "report"])
    with inherited():
        found = Report(t.terminal("run", t.id)[1])
    only_stdio(t, found)
    t.equal(set(found.fds().values()) - {"/dev/pts/0", "/dev/console"}, set())


@case()
def of_run_with_more_descriptors(t):
    shell = "exec 3</dev/null 4</dev/null 5</ 9</"
    only_stdio(t, report(t, options=["--preserve-fds", "2"], shell=shell), more=[3, 4])


@case(crun="1.8.1 leaves its caller's open until the start")
def of_a_created_container(t):
    t.create("sleep", "1000", shell="exec 7</ 9</etc/passwd")
    found = host_objects(t, t.state()["pid"])
    t.equal([line for line in found if not GATE.search(line)], [])
    t.rt("start", t.id)
    t.until(lambda: "sleep" in open(f"/proc/{t.state()['pid']}/cmdline").read(), "the payload")
    t.equal(host_objects(t, t.state()["pid"]), [])
    t.equal(sorted(os.listdir(f"/proc/{t.state()['pid']}/fd")), ["0", "1", "2"])


@case(crun="1.8.1 leaves its caller's open until the start")
def of_a_created_container_with_a_terminal(t):
    t.process["terminal"] = True
    with console_socket(f"{t.directory}/socket") as receiver:
        t.create("sleep", "1000", options=["--console-socket", f"{t.directory}/socket"], shell=SHELL)
        master = receiver.master()
        found = host_objects(t, t.state()["pid"])
        t.equal([line for line in found if not GATE.search(line)], [])
        t.rt("start", t.id)
        t.until(lambda: "sleep" in open(f"/proc/{t.state()['pid']}/cmdline").read(), "the payload")
        t.equal(sorted(os.listdir(f"/proc/{t.state()['pid']}/fd")), ["0", "1", "2"])
        os.close(master)


@case()
def of_exec(t):
    install(t)
    t.sleeper()
    only_stdio(t, Report(t.exec(t.id, "/payload", "report", shell=SHELL).out))
    shell = "exec 3</dev/null 5</ 9</"
    only_stdio(t, Report(t.exec("--preserve-fds", "1", t.id, "/payload", "report", shell=shell).out), more=[3])


@case()
def of_exec_on_a_terminal(t):
    install(t)
    t.sleeper()
    with inherited():
        only_stdio(t, Report(t.terminal("exec", "--tty", t.id, "/payload", "report")[1]))


@case()
def of_exec_in_a_created_container(t):
    install(t)
    t.create("sleep", "1000")
    only_stdio(t, Report(t.exec(t.id, "/payload", "report", shell=SHELL).out))


@case()
def of_hooks_inside_the_container(t):
    install(t)
    t.file("/hook.sh", "#!/bin/sh\n/payload report > /hook\n", 0o755)
    hook(t, "startContainer", "/hook.sh")
    t.run("/bin/true", shell=SHELL)
    only_stdio(t, Report(open(f"{t.rootfs}/hook").read()))


@case(runc="1.1.5 leaves its own open")
def of_hooks_of_the_runtime(t):
    install(t)
    seen = f"{t.directory}/seen"
    for kind in ("createRuntime", "createContainer", "poststart", "poststop"):
        path = t.file(f"{kind}.sh", f"#!/bin/sh\n{t.rootfs}/payload report > {seen}-{kind}\n", 0o755)
        hook(t, kind, path)
    t.run("/bin/true", shell=SHELL)
    for kind in ("createRuntime", "createContainer", "poststart", "poststop"):
        only_stdio(t, Report(open(f"{seen}-{kind}").read()))


@case()
def with_an_agent_for_seccomp(t):
    install(t)
    with Agent(t) as agent:
        notify(t, agent)
        only_stdio(t, Report(t.run("/payload", "report", shell=SHELL).out))


@case()
def in_a_user_namespace(t):
    t.linux["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        t.linux[ids] = [{"containerID": 0, "hostID": 0, "size": 1000}]
    only_stdio(t, report(t, shell=SHELL))


@case()
def of_a_container_that_joins_namespaces(t):
    pid = t.sleeper()
    first, t.id = t.id, f"{t.id}-second"
    for kind, file in (("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")):
        t.namespace(kind, f"/proc/{pid}/ns/{file}")
    only_stdio(t, report(t, shell=SHELL))
    t.id = first


@case()
def with_systemds_cgroup_driver(t):
    """Where systemd runs: `run.py --this-host`."""
    unit = with_systemd(t)
    t.create("sleep", "1000", shell=SHELL)
    pid = t.state()["pid"]
    t.equal([line for line in host_objects(t, pid) if not GATE.search(line)], [])
    t.rt("start", t.id)
    t.until(lambda: "sleep" in open(f"/proc/{pid}/cmdline").read(), "the payload")
    t.equal(sorted(os.listdir(f"/proc/{pid}/fd")), ["0", "1", "2"])
    install(t)
    only_stdio(t, Report(t.exec(t.id, "/payload", "report", shell=SHELL).out))
    t.ends()
    gone(t, unit)
