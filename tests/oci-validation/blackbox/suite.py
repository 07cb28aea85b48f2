"""What the cases stand on: a bundle, the runtime's commands, and a check that nothing is left behind."""

import array
import contextlib
import copy
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(f"{HERE}/../../..")
SHIM = "containerd-shim-creel-v2"
# On the private host's own tmpfs; of a user who runs the suite himself, on his.
ROOT = os.geteuid() == 0
WORK = "/run/blackbox" if ROOT else f"{os.environ['XDG_RUNTIME_DIR']}/blackbox"
HER_GROUPS = f"/sys/fs/cgroup/user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service"
# How many times slower than a usual machine this one is (an emulated one: 10); time-outs grow by it, long loops shrink.
PATIENCE = float(os.environ.get("BLACKBOX_PATIENCE", 1))
TIMEOUT = 20 * PATIENCE  # seconds for one command

CASES = []


@dataclass
class Case:
    function: object
    skip: dict  # runtime name -> why it cannot pass
    anyone: bool = False  # a user who is not root can run it, too

    @property
    def name(self):
        return f"{self.function.__module__}.{self.function.__name__}"


def case(**skip):
    """Registers a case. `crun="why"` says that this peer cannot pass, and why; with "dangerous: " it is never tried."""

    def register(function):
        CASES.append(Case(function, skip))
        return function

    return register


class Failure(Exception):
    pass


class Skipped(Exception):
    """This host cannot run the case; says why."""


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def said(self):
        return self.out + self.err


@dataclass
class Left:
    """What there is that a runtime might leave behind: on the private host, or of the user's."""

    processes: dict
    mounts: list
    groups: set
    files: set

    @staticmethod
    def now(root):
        processes = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1] == "2":
                    continue  # the kernel's own, which only this very host shows
                if not ROOT and os.stat(f"/proc/{pid}").st_uid < os.getuid():
                    continue  # the machine's; the user's own ids are hers and those above them
                processes[int(pid)] = open(f"/proc/{pid}/cmdline").read().replace("\0", " ") or f"[{pid}]"
        mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
        groups = {path for path, _, _ in os.walk("/sys/fs/cgroup" if ROOT else HER_GROUPS)}
        files = set(os.listdir(root)) if os.path.isdir(root) else set()
        kept = {"mount", "creel-filters"}  # mount(8)'s own; compiled seccomp filters
        run = os.path.dirname(WORK)
        files |= {f"{run}/{name}" for name in os.listdir(run) if name not in kept}
        return Left(processes, mounts, groups, files)

    def since(self, before):
        """What is here and was not before, as text."""
        extra = [f"process {pid} {line}" for pid, line in self.processes.items() if pid not in before.processes]
        rest = list(before.mounts)
        for mount in self.mounts:
            rest.remove(mount) if mount in rest else extra.append(f"mount {mount}")
        extra += [f"cgroup {group}" for group in sorted(self.groups - before.groups)]
        extra += [f"file {file}" for file in sorted(self.files - before.files)]
        return extra


class T:
    """One case's bundle, runtime and containers."""

    number = 0

    def __init__(self, runtime, name):
        T.number += 1
        self.runtime, self.name = runtime, name
        self.root = f"{WORK}/root"
        self.directory = f"{WORK}/{T.number}"
        self.bundle = f"{self.directory}/bundle"
        self.rootfs = f"{self.bundle}/rootfs"
        self.id = f"c{T.number}"
        self.globals = []  # flags that come before every command
        self.prefix = []  # a program that executes the runtime, as somebody else
        self.env = None  # the runtime's, where a call does not say
        os.makedirs(self.root, exist_ok=True)
        self.before = Left.now(self.root)
        os.makedirs(self.bundle)
        subprocess.run(["cp", "-a", f"{WORK}/rootfs", self.rootfs], check=True)
        self.config = copy.deepcopy(json.load(open(f"{HERE}/../config.json")))
        self.process, self.linux = self.config["process"], self.config["linux"]

    # --- the bundle

    def save(self):
        with open(f"{self.bundle}/config.json", "w") as file:
            json.dump(self.config, file)

    def file(self, path, text="", mode=0o644):
        """Writes a file below the case's directory (a path with a slash in front: below the rootfs)."""
        path = self.rootfs + path if path.startswith("/") else f"{self.directory}/{path}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def mount(self, destination, **mount):
        self.config["mounts"].append({"destination": destination, **mount})

    def remove_namespace(self, kind):
        self.linux["namespaces"] = [n for n in self.linux["namespaces"] if n["type"] != kind]

    def namespace(self, kind, path):
        self.remove_namespace(kind)
        self.linux["namespaces"].append({"type": kind, "path": path})

    # --- the runtime

    def start_rt(self, *arguments, stdin=subprocess.DEVNULL, env=None, shell="", cwd=None):
        """Starts the runtime; the caller collects it with `finish`. Output goes to files, which a container may hold
        open for as long as it likes. `shell`: redirections and variables that a shell sets up before it."""
        stamp = f"{self.directory}/{time.monotonic_ns()}"
        with open(f"{stamp}.out", "w") as out, open(f"{stamp}.err", "w") as err:
            command = [*self.prefix, self.runtime, "--root", self.root, *self.globals, *arguments]
            process = subprocess.Popen(
                ["sh", "-c", f'{shell}; exec "$@"', "sh", *command] if shell else command,
                stdin=stdin,
                stdout=out,
                stderr=err,
                env=env or self.env,
                cwd=cwd or self.bundle,
                start_new_session=True,
            )
        process.stamp, process.line = stamp, " ".join(arguments)
        return process

    def finish(self, process, code=0):
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise Failure(f"`{process.line}` did not end within {TIMEOUT} s") from None
        text = lambda kind: open(f"{process.stamp}.{kind}", errors="replace").read()
        result = Result(process.returncode, text("out"), text("err"))
        allowed = code if isinstance(code, (tuple, set)) else (code,)
        if code is not None and result.code not in allowed:
            raise Failure(f"`{process.line}` exited with {result.code}, not {code}\n{result.said}")
        return result

    def rt(self, *arguments, code=0, text=None, **options):
        """Runs a command of the runtime to its end; `code` is what it must exit with, None for whatever."""
        if text is not None:
            read, write = os.pipe()
            os.write(write, text.encode())
            os.close(write)
            options["stdin"] = read
        try:
            return self.finish(self.start_rt(*arguments, **options), code)
        finally:
            if text is not None:
                os.close(read)

    def run(self, *command, code=0, options=(), **more):
        """`run` with this command in the container."""
        if command:
            self.process["args"] = list(command)
        self.save()
        return self.rt("run", *options, self.id, code=code, **more)

    def sh(self, script, **more):
        return self.run("/bin/sh", "-c", script, **more)

    def create(self, *command, options=(), **more):
        if command:
            self.process["args"] = list(command)
        self.save()
        return self.rt("create", *options, self.id, **more)

    def sleeper(self, *options, command=("/bin/sleep", "1000")):
        """A running container; gives its init's pid."""
        self.process["args"] = list(command)
        self.save()
        self.rt("run", "--detach", *options, self.id)
        return self.state()["pid"]

    def exec(self, *arguments, **more):
        return self.rt("exec", *arguments, **more)

    def state(self, id=None):
        return json.loads(self.rt("state", id or self.id).out)

    def wait(self, status, id=None):
        self.until(lambda: self.state(id)["status"] == status, f"status {status}")

    def ends(self):
        """Killed, it stops; deleted, nothing of it is left."""
        self.rt("kill", self.id, "KILL")
        self.wait("stopped")
        self.rt("delete", self.id)
        self.none_left()

    def refused(self, *words, code=1, **more):
        """`run` is refused with this code, each word is in the message, which is one line, and nothing is left."""
        self.save()
        result = self.rt("run", self.id, code=code, **more)
        for word in words:
            self.contains(result.said, word)
        self.none_left()
        return result

    # --- what is asserted

    def equal(self, got, wanted, what="got"):
        if got != wanted:
            raise Failure(f"{what}: {got!r}, wanted {wanted!r}")

    def contains(self, text, part):
        if part not in text:
            raise Failure(f"{part!r} is not in {text!r}")

    def lacks(self, text, part):
        if part in text:
            raise Failure(f"{part!r} is in {text!r}")

    def matches(self, text, pattern):
        match = re.search(pattern, text, re.M)
        if not match:
            raise Failure(f"/{pattern}/ does not match {text!r}")
        return match

    def true(self, condition, what):
        if not condition:
            raise Failure(what)

    def until(self, condition, what, seconds=10):
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Failure(f"not within {seconds} s: {what}")
            time.sleep(0.01)

    def none_left(self):
        """No process, mount, cgroup or state that was not there before this case."""
        left = []
        end = time.monotonic() + 2 * PATIENCE  # the host's process 1 needs a moment to reap
        while True:
            left = Left.now(self.root).since(self.before)
            if not left:
                return
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        raise Failure("left behind: " + "; ".join(left))

    # --- terminals

    def terminal(self, *arguments, keys="", after="", size=(24, 80), redirect=""):
        """Runs the runtime on a terminal of its own; gives (exit code, what the terminal showed). The keys are typed
        once `after` is shown. `redirect`: what a shell writes behind the command."""
        self.save()
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.bundle)
            set_size(0, *size)
            command = [*self.prefix, self.runtime, "--root", self.root, *self.globals, *arguments]
            shell = ["sh", "-c", f'"$@" {redirect}', "sh"] if redirect else []
            os.execvpe((shell + command)[0], shell + command, self.env or os.environ)
        shown = read_until(master, after) if after else ""
        os.write(master, keys.encode())
        shown += read_until(master)
        os.close(master)
        try:
            self.until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG), "the runtime's end")
        except Failure:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), shown

    # --- the end

    def clean(self):
        """Deletes the case's containers as a user would; what that leaves is a failure of the case."""
        for id in sorted(os.listdir(self.root)):
            if id not in self.before.files:
                self.rt("delete", "--force", id)

    def scrub(self):
        """Whatever it takes, so that the next case starts clean."""
        os.makedirs(self.root, exist_ok=True)  # a runtime that takes the id "." deletes it
        for id in set(os.listdir(self.root)) - self.before.files:
            subprocess.run(
                [*self.prefix, self.runtime, "--root", self.root, "delete", "--force", id], capture_output=True, timeout=TIMEOUT
            )
        left = Left.now(self.root)
        for pid in left.processes.keys() - self.before.processes.keys():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for mount in reversed(left.mounts[len(self.before.mounts) :]):
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
        for group in sorted(left.groups - self.before.groups, reverse=True):
            for _ in range(50):
                with contextlib.suppress(OSError):
                    os.rmdir(group)
                if not os.path.exists(group):
                    break
                time.sleep(0.02)
        for file in set(os.listdir(self.root)) - self.before.files:
            shutil.rmtree(f"{self.root}/{file}", ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def read_until(master, text=None):
    """What a terminal shows until it shows `text`, or until its last user has gone."""
    shown, end = b"", time.monotonic() + TIMEOUT
    while time.monotonic() < end and (text is None or text.encode() not in shown):
        ready, _, _ = select.select([master], [], [], 0.2)
        if ready:
            try:
                part = os.read(master, 65536)
            except OSError:  # EIO: nobody has it open any more
                break
            if not part:
                break
            shown += part
    return shown.decode(errors="replace").replace("\r\n", "\n")


def set_size(master, rows, columns):
    import fcntl
    import struct
    import termios

    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextlib.contextmanager
def console_socket(path):
    """Listens as an engine does for a container's terminal; the value's `master()` is the descriptor."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(TIMEOUT)

        class Receiver:
            def master(self):
                connection, _ = listener.accept()
                with connection:
                    _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
                fds = array.array("i")
                fds.frombytes(ancillary[0][2][:4])
                return fds[0]

        yield Receiver()
