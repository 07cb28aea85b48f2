"""CVE-2019-14271 (Docker): a program that works inside the container's root loads a library from there."""

import struct

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


@case()
def nothing_of_the_root_is_read_as_the_runtimes_own(t):
    """Name service files and libraries that would tell if they were loaded: libnss is what went wrong in Docker. Removed
    to see it fail: nothing can be removed; a static program without name services has nothing to load them with."""
    for path in ("/lib64/libnss_files.so.2", "/lib/x86_64-linux-gnu/libnss_files.so.2", "/etc/ld.so.preload"):
        t.file(path, "not a library\n")
    t.process["user"] = {"uid": 1000, "gid": 1000}
    t.equal(t.run("id", "-u").out, "1000\n")
