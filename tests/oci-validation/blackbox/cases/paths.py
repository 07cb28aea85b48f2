"""Masked and read-only paths, the root, its propagation, and devices."""

import os
import stat

from suite import Skipped, case


@case()
def masked_paths(t):
    t.file("/secret/file", "secret\n")
    t.file("/secret-file", "secret\n")
    t.linux["maskedPaths"] = ["/secret", "/secret-file", "/proc/meminfo", "/not/there"]
    t.equal(t.sh("ls /secret; cat /secret-file /proc/meminfo").out, "")
    t.matches(t.sh("touch /secret/x", code=1).err, "Read-only")


@case()
def masked_paths_are_resolved_within_the_rootfs(t):
    t.file("/real", "secret\n")
    os.symlink("/real", f"{t.rootfs}/link")
    t.linux["maskedPaths"] = ["/link"]
    t.equal(t.run("cat", "/real").out, "")


@case()
def what_cannot_be_masked_is_an_error(t):
    """Only what does not exist needs no mask."""
    t.file("/secret-file", "secret\n")
    for field in ("maskedPaths", "readonlyPaths"):
        t.linux[field] = ["/secret-file/below"]
        t.run("true", code=1)
        t.linux[field] = []


@case()
def readonly_paths(t):
    t.file("/fixed/file", "old\n")
    t.linux["readonlyPaths"] = ["/fixed", "/proc/sys", "/not/there"]
    out = t.sh("cat /fixed/file; echo x 2>/dev/null >/fixed/file || echo no; echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward || echo no")
    t.equal(out.out, "old\nno\nno\n")


@case(crun="1.8.1 loses them")
def a_readonly_path_keeps_its_flags(t):
    t.linux["readonlyPaths"] = ["/dev/shm"]
    line = t.matches(t.run("cat", "/proc/self/mountinfo").out, r" /dev/shm ro,(\S+) (?!.* /dev/shm )")[1]
    for flag in ("nosuid", "nodev", "noexec"):
        t.contains(line.split(","), flag)


@case()
def a_readonly_root(t):
    t.config["root"]["readonly"] = True
    t.matches(t.sh("touch /x", code=1).err, "Read-only")
    t.equal(t.sh("echo fine > /dev/shm/x; cat /dev/shm/x").out, "fine\n")


@case()
def a_readonly_root_still_gets_its_mount_points(t):
    t.config["root"]["readonly"] = True
    t.mount("/made/for/it", type="tmpfs", source="tmpfs")
    t.equal(t.sh("touch /made/for/it/x; ls /made/for/it").out, "x\n")


@case()
def an_absolute_root(t):
    t.config["root"]["path"] = t.rootfs
    t.equal(t.run("echo", "yes").out, "yes\n")


@case()
def the_host_cannot_be_reached(t):
    t.file("outside", "host\n")
    t.equal(t.sh("cd /; cd ../../..; pwd; ls -d .. bin; ls /../").out.split()[0], "/")
    t.equal(t.sh("ls /proc/1/root/bin >/dev/null; stat -c %i / /proc/1/root/ | uniq | wc -l").out, "1\n")


@case(runc="1.1.5 fails or has no effect with shared and unbindable")
def rootfs_propagation(t):
    for value, field in (("shared", "shared:"), ("slave", ""), ("private", ""), ("unbindable", "unbindable")):
        t.linux["rootfsPropagation"] = value
        line = t.matches(t.run("cat", "/proc/self/mountinfo").out, r"^\d+ \d+ \S+ \S+ / (\S+) (.*)- ")
        fields = line[2].strip()
        t.true(bool(fields) == bool(field) and fields.startswith(field), f"{value}: {fields!r}")


@case()
def default_devices_and_links(t):
    out = t.sh("cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty; for l in fd stdin stdout stderr ptmx; do readlink $l; done").out
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    for name, number in numbers.items():
        t.contains(out, f"{name} character special file {number} 666\n")
    t.contains(out, "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n")


@case()
def default_devices_can_be_used(t):
    script = "head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo x >/dev/null; echo x 2>/dev/null >/dev/full || echo full"
    t.equal(t.sh(script).out, "4\n4\nfull\n")


@case()
def devices_are_made(t):
    t.linux["devices"] = [
        {"path": "/dev/char", "type": "c", "major": 1, "minor": 3, "fileMode": 0o620, "uid": 7, "gid": 8},
        {"path": "/dev/deep/block", "type": "b", "major": 7, "minor": 99, "fileMode": 0o600},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o644},
    ]
    out = t.run("stat", "-c", "%F %t:%T %a %u:%g", "/dev/char", "/dev/deep/block", "/dev/pipe").out
    t.equal(out, "character special file 1:3 620 7:8\nblock special file 7:63 600 0:0\nfifo 0:0 644 0:0\n")


@case()
def devices_are_made_whatever_the_umask(t):
    t.linux["devices"] = [{"path": "/dev/char", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]
    t.process["args"] = ["stat", "-c", "%a", "/dev/char"]
    t.save()
    t.equal(t.rt("run", t.id, shell="umask 077").out, "666\n")


def kmsg(t):
    if not os.path.exists("/dev/kmsg"):
        raise Skipped("there is no /dev/kmsg")
    t.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]


@case()
def a_device_that_is_not_allowed_cannot_be_opened(t):
    kmsg(t)
    t.linux["resources"]["devices"] = [{"allow": False, "access": "rwm"}]
    t.matches(t.sh("exec 3>/dev/kmsg", code={1, 2}).err, "not permitted")


@case()
def a_device_that_is_allowed_can_be_opened(t):
    kmsg(t)
    t.linux["resources"]["devices"] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"},
    ]
    t.equal(t.sh("exec 3>/dev/kmsg; echo opened").out, "opened\n")


@case()
def a_rule_that_denies_again_wins(t):
    kmsg(t)
    t.linux["resources"]["devices"] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"},
        {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "w"},
    ]
    t.matches(t.sh("exec 3>/dev/kmsg", code={1, 2}).err, "not permitted")


@case()
def the_rootfs_is_left_as_it_was(t):
    mode = lambda: {e.name: stat.S_IMODE(e.stat(follow_symlinks=False).st_mode) for e in os.scandir(t.rootfs)}
    before = mode()
    t.run("true")
    t.equal(mode(), before)
