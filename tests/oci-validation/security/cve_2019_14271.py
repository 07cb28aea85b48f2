"""CVE-2019-14271 (Docker): a program that works inside the container's root loads a library from there."""

import contextlib
import ctypes
import os
import re
import struct

from security.harness import install
from suite import case

PT_INTERP, PT_DYNAMIC = 3, 2


def program_headers(path):
    """The types of an ELF64 file's program headers (elf(5))."""
    with open(path, "rb") as file:
        header = file.read(64)
        offset, size, count = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
        file.seek(offset)
        table = file.read(size * count)
    return [struct.unpack_from("<I", table, n * size)[0] for n in range(count)]


@case(runc="is linked dynamically", crun="is linked dynamically")
def the_runtime_loads_no_library_at_all(t):
    """Removed to see it fail: nothing; runc and crun are what it looks like without `+crt-static`."""
    t.lacks(program_headers(t.runtime), PT_INTERP)


IN_OPEN = 0x20


@contextlib.contextmanager
def opened_below(root):
    """A list that has, afterwards, the paths of all files below this directory that were opened meanwhile, by whomever
    and in whatever mount of it (inotify(7))."""
    libc, watched, found = ctypes.CDLL(None, use_errno=True), {}, []
    inotify = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    # Listed first: looking for them opens them.
    for directory, _, _ in list(os.walk(root)):
        watched[libc.inotify_add_watch(inotify, os.fsencode(directory), IN_OPEN)] = os.path.relpath(directory, root)
    try:
        yield found
        with contextlib.suppress(BlockingIOError):
            while events := os.read(inotify, 1 << 16):
                while events:
                    watch, _, _, length = struct.unpack_from("iIII", events)
                    name = os.fsdecode(events[16 : 16 + length].rstrip(b"\0"))
                    found.append(os.path.normpath(f"{watched.get(watch, 'overflow')}/{name}"))
                    events = events[16 + length :]
    finally:
        os.close(inotify)


@case()
def nothing_of_the_root_is_read_as_the_runtimes_own(t):
    """No library, and nothing that says which: libnss is what went wrong in Docker, and a static program would load it too.
    Removed to see it fail: `home_of` reads /etc/passwd itself; std's `to_socket_addrs` in its place asks glibc."""
    install(t)
    t.file("/etc/nsswitch.conf", "".join(f"{what}: canary files\n" for what in ("passwd", "group", "hosts")))
    for path in ("/etc/ld.so.preload", "/etc/ld.so.cache"):
        t.file(path, "")
    for directory in ("lib", "lib64", "usr/lib", f"lib/{os.uname().machine}-linux-gnu", f"usr/lib/{os.uname().machine}-linux-gnu"):
        for name in ("canary", "files", "compat"):
            t.file(f"/{directory}/libnss_{name}.so.2", "not a library\n")
    t.process["user"] = {"uid": 1000, "gid": 1000}
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()
    with opened_below(t.rootfs) as opened:
        t.rt("run", "--detach", t.id)
        t.exec("--user", "1001", t.id, "/payload", "report")
    t.true("payload" in opened, f"the payload is seen among {opened}")
    loader = re.compile(r"overflow|(usr/)?lib\w*/.|etc/(ld\.so|nsswitch|host|resolv|gai)")
    t.equal([path for path in opened if loader.match(path)], [])
