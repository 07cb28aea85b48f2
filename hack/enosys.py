#!/usr/bin/env -S python3 -SE
"""Runs a command for which system calls are missing, as on an older kernel.

    enosys.py NAME[,NAME...] COMMAND [ARGUMENT...]

Every NAME answers ENOSYS, for the command and all that it executes (so for a container's payload, too). Four are no
system calls but uses of one: setns:pidfd (EINVAL, as before Linux 5.8), close_range:cloexec (EINVAL, as before 5.11),
clone3:cgroup (EINVAL, as before 5.7) and mount:userxattr (EINVAL, as before 5.11: the option of overlayfs, given to mount
or fsconfig). The last two's arguments lie in memory, so a supervisor answers, until nobody is left to ask.
"""

import ctypes
import os
import platform
import struct
import sys

# asm/unistd.h of both; from 424 on all machines have the same numbers.
COMMON = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "fspick": 433, "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437, "pidfd_getfd": 438,
    "mount_setattr": 442,
}  # fmt: skip
MACHINES = {
    "x86_64": (0xC000003E, {"setns": 308, "statx": 332, "seccomp": 317, "mount": 165}),
    "aarch64": (0xC00000B7, {"setns": 268, "statx": 291, "seccomp": 277, "mount": 40}),
}
ARCH, OWN = MACHINES[platform.machine()]
NUMBERS = {**COMMON, **OWN}
ENOSYS, EINVAL = 38, 22
ERRNO, ALLOW, NOTIFY = 0x00050000, 0x7FFF0000, 0x7FC00000
LOAD, JUMP_EQUAL, JUMP_ANY, RETURN = 0x20, 0x15, 0x45, 0x06
NR, ARCH_AT, ARGUMENTS = 0, 4, 16
LIBC = ctypes.CDLL(None, use_errno=True)


def argument(index):
    return ARGUMENTS + 8 * index  # the lower half, both machines being little-endian


def rule(name):
    """The instructions for one name; they fall through if it is not that."""
    load = (LOAD, 0, 0, NR)
    if name == "setns:pidfd":
        # The kinds of a namespace's descriptor are one flag or none; those of a pidfd can be anything. Ours are several,
        # or one that the kernel is told of (a lone pidfd with one flag passes; no container has one namespace only).
        single = [0, 0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
        inner = [(LOAD, 0, 0, argument(1))]
        inner += [(JUMP_EQUAL, len(single) - number, 0, flag) for number, flag in enumerate(single)]
        inner.append((RETURN, 0, 0, ERRNO | EINVAL))
        return [load, (JUMP_EQUAL, 0, len(inner), NUMBERS["setns"]), *inner]
    if name == "close_range:cloexec":
        inner = [(LOAD, 0, 0, argument(2)), (JUMP_EQUAL, 1, 0, 0), (RETURN, 0, 0, ERRNO | EINVAL)]
        return [load, (JUMP_EQUAL, 0, len(inner), NUMBERS["close_range"]), *inner]
    if name == "clone3:cgroup":
        return [load, (JUMP_EQUAL, 0, 1, NUMBERS["clone3"]), (RETURN, 0, 0, NOTIFY)]
    if name == "mount:userxattr":
        asked = [(JUMP_EQUAL, 1, 0, NUMBERS["fsconfig"]), (JUMP_EQUAL, 0, 1, NUMBERS["mount"])]
        return [load, *asked, (RETURN, 0, 0, NOTIFY)]
    return [load, (JUMP_EQUAL, 0, 1, NUMBERS[name]), (RETURN, 0, 0, ERRNO | ENOSYS)]


def install(names):
    """Loads the filter; gives the listener's descriptor, if there is one."""
    program = [(LOAD, 0, 0, ARCH_AT), (JUMP_EQUAL, 1, 0, ARCH), (RETURN, 0, 0, ALLOW)]
    for name in names:
        program += rule(name)
    program.append((RETURN, 0, 0, ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    listen = 8 if SUPERVISED.intersection(names) else 0  # SECCOMP_FILTER_FLAG_NEW_LISTENER
    # Without no_new_privs, which the payload would inherit: it takes CAP_SYS_ADMIN.
    result = LIBC.syscall(NUMBERS["seccomp"], 1, listen, ctypes.byref(header))
    if result == -1:
        raise OSError(ctypes.get_errno(), "seccomp: " + os.strerror(ctypes.get_errno()))
    return result if listen else None


RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND
SUPERVISED = {"clone3:cgroup", "mount:userxattr"}
INTO_CGROUP = 0x200000000
SET_FLAG = 0


def is_refused(memory, call, arguments):
    """Whether an older kernel refuses this."""
    if call == NUMBERS["clone3"]:
        return struct.unpack("Q", read(memory, arguments[0], 8))[0] & INTO_CGROUP != 0
    if call == NUMBERS["fsconfig"]:
        return arguments[1] == SET_FLAG and read(memory, arguments[2], 16).startswith(b"userxattr\0")
    text = lambda address: read(memory, address, 4096).split(b"\0")[0] if address else b""
    return text(arguments[2]) == b"overlay" and b"userxattr" in text(arguments[4]).split(b",")


def read(memory, address, length):
    """To the end of the page at least."""
    memory.seek(address)
    found = memory.read(min(length, 4096 - address % 4096))
    return found if len(found) == length or b"\0" in found else found + memory.read(length - len(found))


def supervise(listener):
    """Answers by what lies in the caller's memory until no process has the filter any more."""
    import fcntl
    import select

    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        ((_, events),) = poll.poll()
        if not events & select.POLLIN:
            return
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, RECEIVE, asked)
            number, pid = struct.unpack_from("QI", asked)
            (call,) = struct.unpack_from("i", asked, 16)
            arguments = struct.unpack_from("6Q", asked, 32)
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                refused = is_refused(memory, call, arguments)
            answer = (number, 0, -EINVAL, 0) if refused else (number, 0, 0, 1)  # 1: go on
            fcntl.ioctl(listener, SEND, struct.pack("QqiI", *answer))
        except FileNotFoundError:
            pass  # who asked is gone


def start_supervisor():
    """A process that waits for the listener, started before there is a filter: one that has it would wait for itself."""
    import socket

    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.dup2(fds[0], 3)
            os.closerange(4, 256)
            os.chdir("/")
            supervise(3)
        os._exit(0)
    os.wait()
    theirs.close()
    return lambda listener: socket.send_fds(ours, [b"0"], [listener])


def main():
    names, command = sys.argv[1].split(","), sys.argv[2:]
    supervisor = start_supervisor() if SUPERVISED.intersection(names) else None
    listener = install(names)
    if supervisor:
        supervisor(listener)
        os.close(listener)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
