"""Kills a process of a command at a chosen one of its system calls, by ptrace(2).

The processes of a command are numbered as they are cloned: 0 is the command itself. A process is killed at the entry of a
system call, so that the call is not carried out: this is the state after the one before. What a process executes after
it was cloned (a payload, a hook) is not the runtime's any more, and left alone; what process 0 executes is itself again.
"""

import contextlib
import ctypes
import os
import platform
import signal
import re
import struct
import subprocess
import time

from suite import TIMEOUT, Failure

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.restype = ctypes.c_long
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

WALL = 0x40000000
CLONE3, CONNECT = 435, {"x86_64": 42, "aarch64": 203}[platform.machine()]
CONT, DETACH, SYSCALL, GETEVENTMSG, SEIZE, INTERRUPT, GET_SYSCALL_INFO = 7, 17, 24, 0x4201, 0x4206, 0x4207, 0x420E
# TRACESYSGOOD, and TRACEFORK, TRACEVFORK, TRACECLONE, TRACEEXEC.
OPTIONS = 1 | 2 | 4 | 8 | 16
BIRTHS, EVENT_EXEC, EVENT_STOP = (1, 2, 3), 4, 128
ENTRY = 1
# Seconds after which a process that does nothing is taken to wait for something.
QUIET = 0.2


def ptrace(request, pid, address=None, data=None):
    if LIBC.ptrace(request, pid, address, data) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Traced:
    """A command under the tracer; `also` names processes that are followed beside it (a container's init)."""

    def __init__(self, command, cwd, stamp, also=()):
        self.counts, self.index, self.early = [], {}, {}
        self.cgroups = CgroupPart()
        self.status = None
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.become(command, cwd, stamp, read, write)
        os.close(read)
        for pid in (self.pid, *also):
            ptrace(SEIZE, pid, None, OPTIONS)
            self.adopt(pid)
        # Those that were there before wait in a system call: a stop lets them be followed from there on.
        for pid in also:
            ptrace(INTERRUPT, pid)
        os.write(write, b"0")
        os.close(write)

    @staticmethod
    def become(command, cwd, stamp, read, write):
        try:
            os.setsid()
            os.chdir(cwd)
            os.close(write)
            os.read(read, 1)
            null = os.open("/dev/null", os.O_RDONLY)
            outs = [os.open(f"{stamp}.{kind}", os.O_WRONLY | os.O_CREAT) for kind in ("out", "err")]
            for number, fd in enumerate((null, *outs)):
                os.dup2(fd, number)
            os.closerange(3, 256)
            os.execv(command[0], command)
        finally:
            os._exit(127)

    def adopt(self, pid):
        self.index[pid] = len(self.counts)
        self.counts.append(0)

    def go(self, pid, request, sent=0):
        try:
            ptrace(request, pid, None, sent)
        except ProcessLookupError:
            pass  # killed meanwhile: its end is reported by wait

    def run(self, target, number):
        """Kills process `target` at its system call `number`, and waits for the command: that call's number, as of
        `follow`, and the command's exit code. Whatever goes wrong, nothing traced stays."""
        try:
            return self.follow(target, number), self.finish()
        except BaseException:
            self.abort()
            raise

    def follow(self, target, number):
        """Runs on until process `target` (None: every one, counted) is about to do its system call `number`, and kills
        it there. Gives that call's number, or None if it had ended before."""
        while self.index:
            pid, status = self.wait()
            if pid == 0:
                break
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                ended = self.ended(pid, status)
                if ended == target or (target is None and pid == self.pid):
                    break
                continue
            index = self.index.get(pid)
            if index is None:
                self.early[pid] = status  # a child whose parent has not told of it yet
                continue
            stop, event = status >> 8 & 0xFF, status >> 16
            request = SYSCALL if target in (None, index) else CONT
            if stop == signal.SIGTRAP | 0x80:
                call, *arguments = entered(pid)
                if call is not None:
                    self.counts[index] += 1
                    if target is None:
                        self.cgroups.look(pid, index, self.counts[index], call, arguments)
                    if index == target and self.counts[index] == number:
                        os.kill(pid, signal.SIGKILL)
                        return call
                self.go(pid, request)
            elif event in BIRTHS:
                self.born(pid, target)
                self.go(pid, request)
            elif event == EVENT_EXEC and index > 0:
                self.go(pid, DETACH)
                del self.index[pid]
                if index == target:
                    break
            elif event:
                self.go(pid, request)
            else:
                self.go(pid, request, stop)
        return None

    def born(self, parent, target):
        message = ctypes.c_ulong()
        try:
            ptrace(GETEVENTMSG, parent, None, ctypes.addressof(message))
        except ProcessLookupError:
            return
        child = message.value
        if child in self.early:
            self.early.pop(child)
        else:
            with contextlib.suppress(ChildProcessError):
                _, status = os.waitpid(child, WALL)
                if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                    self.counts.append(0)
                    return
        self.adopt(child)
        if target is not None and self.index[child] > target:
            self.go(child, DETACH)
            del self.index[child]
        else:
            self.go(child, SYSCALL if target in (None, self.index[child]) else CONT)

    def wait(self):
        """The next process that stops or ends; (0, 0) if the command has ended and the others wait for something."""
        if self.status is None:
            with limit(lambda: f"a traced process ({', '.join(map(where, self.index))})"):
                return os.waitpid(-1, WALL)
        end = time.monotonic() + QUIET
        while time.monotonic() < end:
            pid, status = os.waitpid(-1, WALL | os.WNOHANG)
            if pid:
                return pid, status
            time.sleep(0.002)
        return 0, 0

    def ended(self, pid, status):
        if pid == self.pid:
            self.status = os.waitstatus_to_exitcode(status)
        return self.index.pop(pid, None)

    def finish(self):
        """Lets go of all that is still traced, and waits for the command itself; gives its exit code."""
        for pid in [*self.early]:
            self.go(pid, DETACH)
        self.early = {}
        for pid in list(self.index):
            self.release(pid)
        with limit(lambda: f"the command ({where(self.pid)})"):
            while self.status is None:
                # Any: a child that is born just now stops as well, and the command may wait for it.
                pid, status = os.waitpid(-1, WALL)
                if os.WIFSTOPPED(status):
                    self.go(pid, DETACH)
                elif pid == self.pid:
                    self.ended(pid, status)
        self.let_go_of_the_rest()
        return self.status

    def let_go_of_the_rest(self):
        """Those whose birth was not told, as their parent was killed before, or was let go of."""
        end = time.monotonic() + QUIET
        with contextlib.suppress(ChildProcessError):  # nobody is left, as nearly always
            while time.monotonic() < end:
                pid, status = os.waitpid(-1, WALL | os.WNOHANG)
                if pid and os.WIFSTOPPED(status):
                    self.go(pid, DETACH)
                elif not pid:
                    time.sleep(0.001)

    def release(self, pid):
        """Detaches, for which it must be stopped; one that is dying says so instead."""
        del self.index[pid]
        with contextlib.suppress(ProcessLookupError, ChildProcessError), limit(lambda: f"a stop of {where(pid)}"):
            if not dying(pid):
                ptrace(INTERRUPT, pid)
            _, status = os.waitpid(pid, WALL)
            while os.WIFSTOPPED(status):
                stop, event = status >> 8 & 0xFF, status >> 16
                try:
                    ptrace(DETACH, pid, None, 0 if event or stop & 0x80 else stop)
                    return
                except ProcessLookupError:
                    _, status = os.waitpid(pid, WALL)
            if pid == self.pid:
                self.status = os.waitstatus_to_exitcode(status)

    def abort(self):
        for pid in {*self.index, *self.early, *([self.pid] if self.status is None else [])}:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
        self.let_go_of_the_rest()


def dying(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


@contextlib.contextmanager
def limit(what):
    """A time-out for what waits in a system call."""

    def late(_number, _frame):
        raise Failure(f"not within {TIMEOUT} s: {what()}")

    previous = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def where(pid):
    """In what system call a process is, for messages."""
    try:
        return f"{pid} in system call {open(f'/proc/{pid}/syscall').read().split()[0]}"
    except OSError:
        return f"{pid}, gone"


class CgroupPart:
    """Which system calls of each process have to do with cgroups: by a path or an open file below /sys/fs/cgroup, or in
    talk with systemd; and all from the first of them to the last clone."""

    def __init__(self):
        self.touched, self.clones, self.managers = {}, {}, set()

    def look(self, pid, index, number, call, arguments):
        if call == CLONE3:
            self.clones[index] = number
        first, second = arguments[:2]
        if call == CONNECT and read_memory(pid, second + 2).endswith(b"/systemd/private"):
            self.managers.add(open_file(pid, first))
        file, texts = open_file(pid, first), (read_memory(pid, first), read_memory(pid, second))
        below = [file.encode(), *texts] if file not in self.managers else [b"/sys/fs/cgroup"]
        if any(text.startswith(b"/sys/fs/cgroup") for text in below):
            self.touched.setdefault(index, []).append(number)

    def moments(self, index):
        """A call that has to do with them and the one behind it, at which it has been carried out."""
        touched = self.touched.get(index, [])
        between = range(touched[0], self.clones.get(index, 0) + 1) if touched else []
        return sorted({*touched, *(number + 1 for number in touched), *between})


def open_file(pid, fd):
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}") if fd < 4096 else ""
    except OSError:
        return ""


def read_memory(pid, address):
    """The text that begins there; nothing if there is none."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(64).split(b"\0")[0]
    except (OSError, OverflowError, ValueError):
        return b""


def entered(pid):
    """The number of the system call that a stopped process is about to make, and its arguments; None if it comes out of
    one."""
    info = ctypes.create_string_buffer(88)
    try:
        ptrace(GET_SYSCALL_INFO, pid, len(info), ctypes.addressof(info))
    except ProcessLookupError:
        return (None,)
    (operation,) = struct.unpack_from("B", info.raw)
    return struct.unpack_from("7Q", info.raw, 24) if operation == ENTRY else (None,)


def names():
    """System calls by number, of this machine's headers where they are; else none."""
    try:
        text = subprocess.run(
            ["cc", "-dM", "-E", "-"], input="#include <sys/syscall.h>", capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)$", text, re.M)}

