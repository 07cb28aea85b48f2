"""A containerd of the test's own: its root, state and socket in a directory of ours, /run/containerd a tmpfs of ours."""

import contextlib
import glob
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import fcntl

import image

PATIENCE = float(os.environ.get("BLACKBOX_PATIENCE", 1))  # longer on slow machines
LIMIT = 20 * PATIENCE  # seconds that any command may take

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


class Failure(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


def equal(found, expected, what):
    check(found == expected, f"{what}: {found!r} instead of {expected!r}")


def eventually(condition, what, limit=20):
    limit *= PATIENCE
    deadline = time.monotonic() + limit
    while not (found := condition()):
        check(time.monotonic() < deadline, f"{what}: not within {limit} s")
        time.sleep(0.02)
    return found


def without_warnings(lines):
    """containerd 2 warns of cgroup v1 at each call."""
    return "".join(line for line in lines.splitlines(keepends=True) if "DEPRECATION" not in line)


class Output:
    """What a command gave."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, without_warnings(err)

    def __repr__(self):
        return f"status {self.status}, stdout {self.out!r}, stderr {self.err!r}"


class Engine:
    def __init__(self, programs, runtime, shim_directory):
        self.programs, self.runtime = programs, runtime
        self.work = tempfile.mkdtemp(prefix="creel-containerd-")
        self.path = os.pathsep.join(filter(None, [shim_directory, programs, os.environ["PATH"]]))
        self.daemon = None
        with open(f"{self.work}/config.toml", "w") as config:
            disabled = ", ".join(f'"{name}"' for name in DISABLED)
            config.write(CONFIG.format(work=self.work, disabled=disabled))
        self.start()
        image.write(f"{self.work}/busybox.tar")
        self.ctr("image", "import", f"{self.work}/busybox.tar")
        server = self.ctr("version").split("Server:")[1].split()[1]
        self.version = tuple(int(number) for number in re.findall(r"\d+", server)[:3])

    # The daemon.

    def start(self):
        log = open(f"{self.work}/containerd.log", "ab")
        arguments = ["containerd", "--config", f"{self.work}/config.toml"]
        self.daemon = subprocess.Popen(arguments, env={**os.environ, "PATH": self.path}, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, close_fds=True)  # fmt: skip
        eventually(lambda: self.try_ctr("version").status == 0, "containerd answers")

    def kill(self):
        """As a crash would end it."""
        self.daemon.kill()
        self.daemon.wait()

    def stop(self):
        self.daemon.terminate()
        try:
            self.daemon.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()

    def log(self):
        with open(f"{self.work}/containerd.log", errors="replace") as log:
            return log.read()

    # Its client.

    def command(self, *arguments):
        return ["ctr", "--address", f"{self.work}/c.sock", *arguments]

    def popen(self, *arguments, **options):
        environment = {**os.environ, "PATH": self.path}
        return subprocess.Popen(self.command(*arguments), env=environment, text=True, **options)

    def try_ctr(self, *arguments, stdin=None, limit=LIMIT):
        pipe = subprocess.PIPE
        process = self.popen(*arguments, stdin=subprocess.DEVNULL if stdin is None else pipe, stdout=pipe, stderr=pipe)
        if stdin is not None:
            # A ctr whose input has ended before its task is there never closes the task's.
            closer = threading.Timer(0.7 * PATIENCE, process.stdin.close)
            process.stdin.write(stdin)
            process.stdin.flush()
            closer.start()
        try:
            outputs = {}
            threads = [threading.Thread(target=lambda s, n: outputs.__setitem__(n, s.read()), args=pair)
                       for pair in ((process.stdout, "out"), (process.stderr, "err"))]  # fmt: skip
            for thread in threads:
                thread.start()
            status = process.wait(limit)
            for thread in threads:
                thread.join(limit)
            return Output(status, outputs.get("out", ""), outputs.get("err", ""))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"{' '.join(arguments)}: not within {limit} s") from None

    def ctr(self, *arguments, **options):
        output = self.try_ctr(*arguments, **options)
        check(output.status == 0, f"{' '.join(arguments)}: {output!r}")
        return output.out

    def run(self, name, *command, flags=(), **options):
        return self.try_ctr("run", "--rm", "--runtime", self.runtime, *flags, image.NAME, name, *command, **options)

    def detach(self, name, *command, flags=()):
        # Its streams go nowhere: a detached ctr does not stay to read them.
        io = () if any(flag.startswith("--log-uri") for flag in flags) else ("--null-io",)
        self.ctr("run", "-d", *io, "--runtime", self.runtime, *flags, image.NAME, name, *command)

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

    def in_terminal(self, *arguments, size=(24, 80), typed=b"", limit=LIMIT):
        """Runs ctr on a terminal; gives its status and what it showed."""
        pid, master = pty.fork()
        if pid == 0:
            os.environ["PATH"] = self.path
            os.execvp("ctr", self.command(*arguments))
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
                    if not (read := os.read(master, 65536)):
                        break
                except OSError:
                    break
                shown += read
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
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)
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

    def call(self, method, *fields, service="containerd.task.v2.Task"):
        """A call to the only shim; (number, text) fields. Gives the code and the message or payload of the answer."""

        def varint(number):
            return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)

        def message(fields):
            return b"".join(varint(number << 3 | 2) + varint(len(text)) + text for number, text in fields)

        encoded = [(number, text if isinstance(text, bytes) else text.encode()) for number, text in fields]
        request = message([(1, service.encode()), (2, method.encode()), (3, message(encoded))])
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

    # What is there on the host.

    def shims(self):
        """{pid: command line} of this test's shims."""
        found = {}
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                arguments = file.read().decode(errors="replace").split("\0")
                if "containerd-shim" in arguments[0] and any(self.work in argument for argument in arguments):
                    found[int(path.split("/")[2])] = arguments
        return found

    def shim_of(self, name):
        for pid, arguments in self.shims().items():
            if name in arguments:
                return pid
        raise Failure(f"{name} has no shim")

    def cgroup(self, name):
        """A container's, on v2."""
        return f"/sys/fs/cgroup/default/{name}"

    def left(self):
        """What a test has left behind."""
        left = [f"shim {pid}" for pid in self.shims()]
        with open("/proc/self/mountinfo") as mounts:
            left += [line.split()[4] for line in mounts if f"{self.work}/state" in line]
        left += glob.glob("/run/containerd/s/*") + glob.glob("/run/containerd/creel/*/*")
        left += [path for path in glob.glob("/sys/fs/cgroup/*/default/*") + glob.glob("/sys/fs/cgroup/default/*")
                 if os.path.isdir(path)]  # fmt: skip
        return left
