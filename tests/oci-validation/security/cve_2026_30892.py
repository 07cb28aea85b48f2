"""CVE-2026-30892 (crun), CVE-2024-40635 and CVE-2026-46680 (containerd): a user id that does not fit becomes 0."""

from security.harness import Report, install
from suite import case


def uid_of(t, *flags):
    result = t.exec(*flags, t.id, "/payload", "report", code=(0, 1, 255))
    return Report(result.out).status("Uid").split() if result.code == 0 else None


@case(runc="1.1.5 has no ids above 2³¹ − 1", crun="1.8.1: 2³² − 1 is root: CVE-2026-30892")
def exec_has_that_user_or_an_error(t):
    """P. Removed to see it fail: `check_user` (attributes/plan.rs), since 2³² − 1 leaves the ids as they are (a debug build
    panics then, in rustix); and
    parsing into 32 bits in `from_flags` (commands/exec_process.rs of runtime-cli), with a 64-bit number cut off."""
    install(t)
    t.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n1:x:0:0::/:/bin/sh\n")
    t.sleeper()
    for user in ("1", "65534", str(2**31), str(2**32 - 2)):
        t.equal(uid_of(t, "--user", user), [user] * 4, f"--user {user}")
    for user in (str(2**32 - 1), str(2**32), str(2**64), "-1", "-2", "0x1", "1e3", " 1", "nobody", "1:-1", "1:4294967296"):
        t.equal(uid_of(t, "--user", user), None, f"--user {user}")
    t.equal(uid_of(t, f"--user=1:{2**31}"), ["1"] * 4)


@case(runc="1.1.5 has no ids above 2³¹ − 1", crun="1.8.1: 2³² − 1 is root: CVE-2026-30892")
def run_has_that_user_or_an_error(t):
    """P. Removed to see it fail: as above."""
    install(t)
    for uid in (1, 2**31, 2**32 - 2):
        t.process["user"] = {"uid": uid, "gid": uid}
        found = Report(t.run("/payload", "report").out)
        t.equal((found.status("Uid").split(), found.status("Gid").split()), ([str(uid)] * 4, [str(uid)] * 4))
    for uid in (2**32 - 1, 2**32, 2**64, -1):
        for user in ({"uid": uid, "gid": 0}, {"uid": 0, "gid": uid}, {"uid": 0, "gid": 0, "additionalGids": [uid]}):
            t.process["user"] = user
            t.refused()
