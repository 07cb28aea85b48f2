"""SCMP_ACT_NOTIFY: an agent outside the container decides about system calls."""

import array
import contextlib
import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading

from cases.seccomp import ARCHITECTURES, MKDIR, rule
from suite import TIMEOUT, case

# include/uapi/linux/seccomp.h: the ioctls, and the layout of struct seccomp_notif (80 bytes) and seccomp_notif_resp (24).
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
CONTINUE = 1


class Agent:
    """Takes listeners on a socket, and answers each question with `error`; 0 lets the call through."""

    def __init__(self, t, error=0):
        self.path, self.error = f"{t.directory}/agent", error
        self.states, self.asked, self.fds = [], [], []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(5)
        self.stopping, self.stop = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        os.close(self.stop)
        self.thread.join(TIMEOUT)
        for fd in [*self.fds, self.stopping]:
            os.close(fd)
        self.socket.close()

    def serve(self):
        while True:
            ready, _, _ = select.select([self.socket, self.stopping, *self.fds], [], [])
            if self.stopping in ready:
                return
            if self.socket in ready:
                self.accept()
            for fd in filter(self.fds.__contains__, ready):
                self.answer(fd)

    def accept(self):
        connection, _ = self.socket.accept()
        with connection:
            text, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(16))
            while not whole(text) and (part := connection.recv(65536)):
                text += part
        fds = array.array("i")
        fds.frombytes(ancillary[0][2])
        self.fds += fds
        self.states.append(json.loads(text.rstrip(b"\0")))

    def answer(self, fd):
        if not happens(fd, select.POLLIN):
            if happens(fd, select.POLLHUP):  # all that the filter was over is gone
                self.fds.remove(fd)
                os.close(fd)
            return  # before Linux 6.11 it would be waited for, for ever
        question = bytearray(80)
        with contextlib.suppress(OSError):  # the process is gone
            fcntl.ioctl(fd, NOTIF_RECV, question)
            id, pid, _, number = struct.unpack_from("QIIi", question)
            self.asked.append((pid, number))
            flags = 0 if self.error else CONTINUE
            fcntl.ioctl(fd, NOTIF_SEND, struct.pack("QqiI", id, 0, -self.error, flags))


def happens(fd, event):
    events = select.poll()
    events.register(fd, select.POLLIN)
    return any(seen & event for _, seen in events.poll(0))


def whole(text):
    """Not every peer closes the connection at once."""
    with contextlib.suppress(ValueError):
        return json.loads(text.rstrip(b"\0")) is not None


def notify(t, agent, names=MKDIR, **more):
    t.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ARCHITECTURES[os.uname().machine],
        "syscalls": [rule(names, "SCMP_ACT_NOTIFY")],
        "listenerPath": agent.path,
        **more,
    }


@case()
def the_agent_decides(t):
    for error, text in ((errno.ENOMEDIUM, "No medium found"), (errno.EXDEV, "ross-device link")):
        for no_new_privileges in (False, True):
            t.process["noNewPrivileges"] = no_new_privileges
            with Agent(t, error) as agent:
                notify(t, agent)
                t.matches(t.run("mkdir", "/x", code=1).err, text)
                t.equal(len(agent.asked), 1, "questions")
            os.unlink(agent.path)


@case()
def the_agent_may_let_it_through(t):
    with Agent(t) as agent:
        notify(t, agent)
        t.sh("mkdir /dev/shm/x && ls -d /dev/shm/x")
        t.equal(len(agent.asked), 1, "questions")


@case(crun="1.8.1 says version 0.2.0")
def the_agent_is_told_what_it_is_about(t):
    t.config["annotations"] = {"org.example.a": "1"}
    with Agent(t) as agent:
        notify(t, agent, listenerMetadata="MKNOD=/dev/null")
        pid = t.sleeper()
        [state] = agent.states
        t.equal(state["fds"], ["seccompFd"])
        t.equal((state["pid"], state["metadata"]), (pid, "MKNOD=/dev/null"))
        t.matches(state["ociVersion"], r"^1\.")
        told = state["state"]
        t.equal((told["id"], told["pid"], told["status"], told["bundle"]), (t.id, pid, "creating", t.bundle))
        t.equal(told["annotations"]["org.example.a"], "1")


@case(crun="1.8.1 says that init is process 0")
def a_process_that_joins_has_a_listener_of_its_own(t):
    for no_new_privileges in (False, True):
        t.process["noNewPrivileges"] = no_new_privileges
        with Agent(t, errno.ENOMEDIUM) as agent:
            notify(t, agent)
            pid = t.sleeper()
            t.matches(t.exec(t.id, "mkdir", "/x", code=1).err, "No medium found")
            first, second = agent.states
            t.true(second["pid"] != pid, "the pid is init's")
            t.equal((second["state"]["pid"], second["state"]["status"]), (pid, "running"))
            t.lacks(second, "metadata")
            t.rt("delete", "-f", t.id)
        os.unlink(agent.path)


@case()
def what_the_runtime_calls_itself_may_be_asked_about(t):
    for no_new_privileges in (False, True):
        t.process["noNewPrivileges"] = no_new_privileges
        with Agent(t) as agent:
            notify(t, agent, "execve openat open read close fcntl")
            t.equal(t.run("echo", "fine").out, "fine\n")
        os.unlink(agent.path)


@case()
def the_container_does_not_have_the_listener(t):
    with Agent(t) as agent:
        notify(t, agent)
        t.equal(t.sh("for fd in /proc/$$/fd/*; do readlink $fd; done; true").out.count("seccomp"), 0)
        t.config["hooks"] = {
            "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "! readlink /proc/$$/fd/* | grep seccomp"]}]
        }
        t.run("true")


@case()
def without_an_agent_the_call_is_not_implemented(t):
    with Agent(t) as agent:
        notify(t, agent)
        t.sleeper(command=["sh", "-c", "until [ -e /dev/shm/go ]; do sleep 0.05; done; mkdir /x 2>/dev/shm/why; sleep 1000"])
    t.exec(t.id, "true", code={1, 255})  # nobody would answer for it
    os.unlink(agent.path)
    pid = t.state()["pid"]
    open(f"/proc/{pid}/root/dev/shm/go", "w").close()
    why = f"/proc/{pid}/root/dev/shm/why"
    t.until(lambda: os.path.exists(why) and "not implemented" in open(why).read(), "ENOSYS")


@case(runc="1.1.5 knows no flags", crun="1.8.1 connects where no rule asks")
def a_wait_may_be_for_a_fatal_signal_only(t):
    with Agent(t, errno.ENOMEDIUM) as agent:
        notify(t, agent, flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
        t.matches(t.run("mkdir", "/x", code=1).err, "No medium found")
    notify(t, agent, flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], syscalls=[rule(MKDIR)])
    t.matches(t.run("mkdir", "/x", code=1).err, "not permitted")


@case(crun="1.8.1 connects all the same")
def a_path_is_ignored_where_no_rule_asks(t):
    agent = Agent(t)
    agent.socket.close()
    notify(t, agent, syscalls=[rule(MKDIR)], listenerMetadata="x")
    t.equal(t.run("echo", "fine").out, "fine\n")


@case(crun="1.8.1 takes write, and waits for ever")
def what_cannot_work_is_refused(t):
    with Agent(t) as agent:
        notify(t, agent, "mkdir write")
        t.refused("write")
        notify(t, agent, defaultAction="SCMP_ACT_NOTIFY")
        t.refused("SCMP_ACT_NOTIFY")
        notify(t, agent, listenerPath="")
        t.refused()
        notify(t, agent, listenerPath=f"{t.directory}/nobody")
        t.refused(f"{t.directory}/nobody")
