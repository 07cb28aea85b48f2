"""A containerd of the test's own: its root, state and socket in a directory of ours."""

import contextlib
import glob
import os
import re
import select
import subprocess
import tempfile
import threading

from suite import LIMIT, PATIENCE, Failure, check, eventually


def without_warnings(lines):
    """containerd 2 warns of cgroup v1 at each call."""
    return "".join(line for line in lines.splitlines(keepends=True) if "DEPRECATION" not in line)


class Output:
    """What a command gave."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, without_warnings(err)

    def __repr__(self):
        return f"status {self.status}, stdout {self.out!r}, stderr {self.err!r}"


def wait(process, limit):
    """Popen.wait looks with pauses of up to 50 ms, which is more than what is measured here."""
    pidfd = os.pidfd_open(process.pid)
    try:
        select.select([pidfd], [], [], limit)
    finally:
        os.close(pidfd)
    return process.wait(0)


def finish(process, what, limit=LIMIT):
    """Reads both streams of a process until it ends, but not of those that have inherited them."""
    outputs = {}
    threads = [threading.Thread(target=lambda s, n: outputs.__setitem__(n, s.read()), args=pair, daemon=True)
               for pair in ((process.stdout, "out"), (process.stderr, "err"))]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        status = wait(process, limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Failure(f"{what}: not within {limit} s") from None
    for thread in threads:
        thread.join(limit)
    return Output(status, outputs.get("out", ""), outputs.get("err", ""))


def with_argument(argument):
    """The processes that have it on their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if argument.encode() in file.read().split(b"\0"):
                found.append(pid)
    return found


class Daemon:
    """`config` is a function of the version and of the directory that gives config.toml."""

    namespace = "default"

    def __init__(self, programs, runtime, shim_directory, config):
        self.programs, self.runtime = programs, runtime
        self.work = tempfile.mkdtemp(prefix="containerd-")
        os.chmod(self.work, 0o711)  # as /run is: the root of a user namespace comes to its own bundle
        self.log_path = f"{self.work}/containerd.log"
        self.path = os.pathsep.join([shim_directory, programs, os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": self.path, "CONTAINERD_NAMESPACE": self.namespace}
        version = subprocess.check_output([f"{programs}/containerd", "--version"], text=True)
        self.version = tuple(map(int, re.search(r" v?(\d+)\.(\d+)\.(\d+)", version).groups()))
        self.daemon = None
        with open(f"{self.work}/config.toml", "w") as file:
            file.write(config(self.version, self.work))
        self.start()

    def start(self):
        log = open(self.log_path, "ab")
        arguments = ["containerd", "--config", f"{self.work}/config.toml"]
        self.daemon = subprocess.Popen(arguments, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(lambda: self.try_ctr("version").status == 0, lambda: f"containerd answers: {self.log()[-2000:]}")

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

    def recover(self):
        """What a failed case leaves behind is not the next one's; a containerd is."""
        if self.daemon.poll() is not None:
            self.start()

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    # Its client.

    def command(self, *arguments):
        return ["ctr", "--address", f"{self.work}/c.sock", *arguments]

    def popen(self, *arguments, **options):
        return subprocess.Popen(self.command(*arguments), env=self.environment, text=True, **options)

    def try_ctr(self, *arguments, stdin=None, limit=LIMIT):
        pipe = subprocess.PIPE
        process = self.popen(*arguments, stdin=subprocess.DEVNULL if stdin is None else pipe, stdout=pipe, stderr=pipe)
        if stdin is not None:
            # A ctr whose input has ended before its task is there never closes the task's.
            closer = threading.Timer(0.7 * PATIENCE, process.stdin.close)
            process.stdin.write(stdin)
            process.stdin.flush()
            closer.start()
        return finish(process, " ".join(arguments), limit)

    def ctr(self, *arguments, **options):
        output = self.try_ctr(*arguments, **options)
        check(output.status == 0, f"{' '.join(arguments)}: {output!r}")
        return output.out

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

    def left(self):
        """What a test has left behind."""
        left = [f"shim {pid}" for pid in self.shims()]
        with open("/proc/self/mountinfo") as mounts:
            left += [line.split()[4] for line in mounts if f"{self.work}/state" in line]
        left += glob.glob("/run/containerd/s/*") + glob.glob("/run/containerd/creel/*/*")
        groups = glob.glob(f"/sys/fs/cgroup/*/{self.namespace}/*") + glob.glob(f"/sys/fs/cgroup/{self.namespace}/*")
        return left + [path for path in groups if os.path.isdir(path)]
