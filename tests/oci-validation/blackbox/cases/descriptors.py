"""What the process has open: stdio, --preserve-fds, LISTEN_FDS, NOTIFY_SOCKET."""

import ctypes
import os
import socket

from suite import TIMEOUT, case


@case()
def only_stdio_is_open(t):
    out = t.run("ls", "/proc/self/fd", shell="exec 5</dev/null 9</dev/null").out.split()
    t.equal(out, ["0", "1", "2", "3"], "descriptors (3 is ls's own)")


@case()
def only_stdio_is_open_after_create_and_start(t):
    t.process["args"] = ["sh", "-c", "ls /proc/self/fd > /fds"]
    t.save()
    t.rt("create", t.id, shell="exec 5</dev/null")
    t.rt("start", t.id, shell="exec 6</dev/null")
    t.wait("stopped")
    t.equal(open(f"{t.rootfs}/fds").read().split(), ["0", "1", "2", "3"])


@case()
def preserve_fds(t):
    path = t.file("kept")
    script = "echo through >&4; ls /proc/self/fd"
    out = t.sh(script, options=["--preserve-fds", "2"], shell=f"exec 3</dev/null 4>{path} 5</dev/null").out.split()
    t.equal(open(path).read(), "through\n")
    t.equal(out, ["0", "1", "2", "3", "4", "5"], "descriptors (5 is ls's own)")


@case()
def preserve_fds_with_create(t):
    path = t.file("kept")
    t.process["args"] = ["sh", "-c", "echo through >&3"]
    t.save()
    t.rt("create", "--preserve-fds", "1", t.id, shell=f"exec 3>{path}")
    t.rt("start", t.id)
    t.wait("stopped")
    t.equal(open(path).read(), "through\n")


LISTEN = "exec 3</dev/null 4</dev/null; export LISTEN_FDS=2 LISTEN_PID=$$"


@case(crun="1.8.1 passes the descriptors, but not LISTEN_FDS")
def listen_fds(t):
    out = t.sh("echo $LISTEN_FDS $LISTEN_PID $$; ls /proc/self/fd", shell=LISTEN).out.split()
    t.equal(out, ["2", "1", "1", "0", "1", "2", "3", "4", "5"], "LISTEN_FDS, LISTEN_PID, pid, descriptors")


@case()
def listen_fds_come_before_preserved_ones(t):
    path = t.file("kept")
    shell = f"exec 3</dev/null 4>{path}; export LISTEN_FDS=1 LISTEN_PID=$$"
    t.sh("echo through >&4", options=["--preserve-fds", "1"], shell=shell)
    t.equal(open(path).read(), "through\n")


class Listener:
    """The socket of a service manager."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(TIMEOUT)

    def receive(self, *wanted):
        """Waits until every wanted line has come."""
        missing = set(wanted)
        while missing:
            missing -= set(self.socket.recv(4096).decode().split("\n"))

    def env(self):
        return {**os.environ, "NOTIFY_SOCKET": self.path}


def notify_from_inside(pid):
    """Sends what sd_notify(3) would, from the container's mount namespace; busybox has nothing that can."""
    env = dict(v.split("=", 1) for v in open(f"/proc/{pid}/environ").read().split("\0") if "=" in v)
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    child = os.fork()
    if child == 0:
        CLONE_NEWNS = 0x20000
        libc = ctypes.CDLL(None)
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        os._exit(libc.setns(namespace, CLONE_NEWNS) or 100 * (sender.sendto(b"READY=1\n", env["NOTIFY_SOCKET"]) != 8))
    os.close(namespace)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ready(t, listener, starting, pid):
    """The process says READY=1; the listener hears it, and who the process is; the runtime's command ends."""
    t.until(lambda: "sleep" in open(f"/proc/{pid}/cmdline").read(), "the process")
    t.equal(notify_from_inside(pid), 0, "sd_notify")
    listener.receive("READY=1")
    t.finish(starting)
    t.rt("delete", "-f", t.id)
    t.none_left()


@case(crun="1.8.1 waits for ever; why has not been looked into")
def notify_socket_tells_that_the_process_is_ready(t):
    listener = Listener(f"{t.directory}/notify")
    t.process["args"] = ["sleep", "1000"]
    t.save()
    t.rt("create", t.id, env=listener.env())
    ready(t, listener, t.start_rt("start", t.id, env=listener.env()), t.state()["pid"])


@case(crun="1.8.1 waits for ever; why has not been looked into")
def notify_socket_with_run_detach(t):
    listener = Listener(f"{t.directory}/notify")
    path = f"{t.directory}/pid"
    t.process["args"] = ["sleep", "1000"]
    t.save()
    starting = t.start_rt("run", "-d", "--pid-file", path, t.id, env=listener.env())
    t.until(lambda: os.path.exists(path) and open(path).read(), "the pid file")
    ready(t, listener, starting, int(open(path).read()))


@case(crun="1.8.1 waits for ever; why has not been looked into")
def notify_socket_tells_the_pid(t):
    listener = Listener(f"{t.directory}/notify")
    t.process["args"] = ["sleep", "1000"]
    t.save()
    t.rt("create", t.id, env=listener.env())
    pid = t.state()["pid"]
    starting = t.start_rt("start", t.id, env=listener.env())
    t.until(lambda: "sleep" in open(f"/proc/{pid}/cmdline").read(), "the process")
    notify_from_inside(pid)
    listener.receive("READY=1", f"MAINPID={pid}")
    t.finish(starting)
