"""What a user of ctr does, on a containerd of the test's own."""

import contextlib
import fcntl
import glob
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import images
from daemon import Daemon, without_warnings
from direct import message
from suite import LIMIT, PATIENCE, Failure, equal, eventually

CONFIG = """
version = 2
root = "{work}/root"
state = "{work}/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{work}/c.sock"
# Half of the time, at most: otherwise `ctr run` waits for multiples of 50 ms for it, at its begin and its end.
[plugins."io.containerd.gc.v1.scheduler"]
  pause_threshold = 0.5
  mutation_threshold = 10000
"""
# What this test does not use, and what would be in the way of a quick start.
DISABLED = (
    "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
)  # fmt: skip


def config(_version, work):
    return CONFIG.format(work=work, disabled=", ".join(f'"{name}"' for name in DISABLED))


def topics(lines, name="c"):
    """What `ctr events` has told of a container."""
    return [re.search(r"(/tasks/\S+)", line).group(1) for line in lines if f'"{name}"' in line and "/tasks/" in line]


class Engine(Daemon):
    def __init__(self, options, runtime=None):
        super().__init__(options.containerd, runtime or options.runtime, options.shim_directory, config)
        images.write(f"{self.work}/busybox.tar", images.NAME)
        self.ctr("image", "import", f"{self.work}/busybox.tar")

    def cgroup(self, name):
        """A container's, on v2."""
        return f"/sys/fs/cgroup/{self.namespace}/{name}"

    def run(self, name, *command, flags=(), **options):
        return self.try_ctr("run", "--rm", "--runtime", self.runtime, *flags, images.NAME, name, *command, **options)

    def detach(self, name, *command, flags=()):
        # Its streams go nowhere: a detached ctr does not stay to read them.
        io = () if any(flag.startswith("--log-uri") for flag in flags) else ("--null-io",)
        self.ctr("run", "-d", *io, "--runtime", self.runtime, *flags, images.NAME, name, *command)

    def exec(self, name, exec_id, *command, flags=(), **options):
        return self.try_ctr("task", "exec", "--exec-id", exec_id, *flags, name, *command, **options)

    def status(self, name):
        for line in self.ctr("task", "ls").splitlines()[1:]:
            fields = line.split()
            if fields and fields[0] == name:
                return fields[2]
        return None

    def pid(self, name):
        for line in self.ctr("task", "ls").splitlines()[1:]:
            fields = line.split()
            if fields and fields[0] == name:
                return int(fields[1])
        raise Failure(f"there is no task {name}")

    def remove(self, name):
        """Whatever it takes."""
        with contextlib.suppress(Failure):
            self.try_ctr("task", "kill", "-s", "KILL", name)
            eventually(lambda: self.status(name) in ("STOPPED", None), f"the end of {name}")
        self.try_ctr("task", "rm", name)
        self.try_ctr("container", "rm", name)

    @contextlib.contextmanager
    def running(self, name, *command, flags=()):
        try:
            self.detach(name, *(command or ("sleep", "1000")), flags=flags)
            yield self.pid(name)
        finally:
            self.remove(name)

    def in_terminal(self, *arguments, size=(24, 80), typed=b"", limit=LIMIT, pause=0):
        """Runs ctr on a terminal, which shows 2 KiB at a time, then pauses; gives its status and what it showed."""
        pid, master = pty.fork()
        if pid == 0:
            os.execvpe("ctr", self.command(*arguments), self.environment)
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        shown, deadline = b"", time.monotonic() + limit
        try:
            if typed:
                time.sleep(PATIENCE)
                os.write(master, typed)
            while True:
                if not select.select([master], [], [], max(0, deadline - time.monotonic()))[0]:
                    raise Failure(f"{' '.join(arguments)}: not within {limit} s; it showed {shown!r}")
                try:
                    if not (read := os.read(master, 2048)):
                        break
                except OSError:
                    break
                shown += read
                time.sleep(pause)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), without_warnings(shown.decode(errors="replace"))
        except Failure:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        finally:
            os.close(master)

    @contextlib.contextmanager
    def events(self):
        """Collects lines of `ctr events`."""
        lines = []
        process = self.popen("events", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        # As they come, not at the end.
        reader = threading.Thread(target=lambda: [lines.append(line) for line in process.stdout], daemon=True)
        reader.start()
        time.sleep(0.3)
        try:
            yield lines
        finally:
            process.kill()
            process.wait()

    # The shim itself, past containerd.

    def call(self, method, *fields, service=None):
        """A call to the only shim; (number, text) fields. Gives the code and the message or payload of the answer."""
        service = service or f"containerd.task.v{3 if self.version >= (2,) else 2}.Task"

        request = message((1, service), (2, method), (3, message(*fields)))
        (path,) = glob.glob("/run/containerd/s/*")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT)
            connection.connect(path)
            connection.sendall(struct.pack(">IIBB", len(request), 1, 1, 0) + request)
            length, _, kind, _ = struct.unpack(">IIBB", connection.recv(10, socket.MSG_WAITALL))
            equal(kind, 2, "the kind of frame")
            answer = connection.recv(length, socket.MSG_WAITALL)
        # Response: 1 is the status (1 is its code, 2 its message), 2 the payload.
        status = answer[2 : 2 + answer[1]] if answer[:1] == b"\x0a" else b""
        return status[1] if status[:1] == b"\x08" else 0, answer
