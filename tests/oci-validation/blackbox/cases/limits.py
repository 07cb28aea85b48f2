"""A payload that goes beyond a limit of linux.resources meets it, on v1 and v2."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time

from suite import PATIENCE, Skipped, case

from cases.cgroups import V1, group, value

MIB = 1 << 20
ALLOCATE = "if=/dev/zero", "of=/dev/null", "count=1"


def created(t, *command, **resources):
    """A created container with these limits, whose cgroups can be read before, while and after it runs."""
    t.linux["resources"].update(resources)
    t.create(*command)


def number(text, name):
    """A counter of a flat keyed file such as memory.events."""
    found = re.search(rf"^{name} (\d+)$", text, re.M)
    return int(found[1]) if found else None


def counter(t, controller, v1, v2, directory=None):
    """The counter that is called FILE:NAME in each version."""
    file, name = (v1 if V1 else v2).split(":")
    return number(open(f"{directory or group(t, controller)}/{file}").read(), name)


# --- memory


@case()
def memory_ends_by_oom(t):
    created(t, "dd", "bs=200M", *ALLOCATE, memory={"limit": 32 * MIB, "swap": 32 * MIB})
    directory = group(t, "memory")
    t.rt("start", t.id)
    t.wait("stopped")
    t.true(counter(t, "memory", "memory.oom_control:oom_kill", "memory.events:oom_kill", directory) > 0, "no OOM kill")


@case()
def memory_beyond_the_limit_exits_with_137(t):
    t.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    t.run("dd", "bs=200M", *ALLOCATE, code=137)


@case()
def memory_below_the_limit_is_had(t):
    t.linux["resources"]["memory"] = {"limit": 64 * MIB, "swap": 64 * MIB}
    t.run("dd", "bs=24M", *ALLOCATE)


@case()
def memory_and_swap_is_had_and_no_more(t):
    if len(open("/proc/swaps").readlines()) < 2:
        raise Skipped("this host has no swap")
    t.linux["resources"]["memory"] = {"limit": 24 * MIB, "swap": 64 * MIB}
    t.run("dd", "bs=40M", *ALLOCATE)
    t.run("dd", "bs=90M", *ALLOCATE, code=137)


@case()
def memory_high_slows_down(t):
    if V1:
        raise Skipped("v2 only")
    created(t, "sh", "-c", "exec dd bs=64M " + " ".join(ALLOCATE), unified={"memory.high": str(8 * MIB)})
    t.equal(value(t, "memory", "", "memory.high"), str(8 * MIB))
    t.rt("start", t.id)
    directory = group(t, "memory")
    t.until(lambda: counter(t, "memory", "", "memory.events:high", directory) > 0, "memory.events: high")
    t.rt("delete", "--force", t.id)


@case()
def memory_without_oom_killer_waits(t):
    if not V1:
        raise Skipped("v1 only")
    # Memory that the program itself touches: of a system call the kernel would refuse it (EFAULT), and dd then end.
    grow = "x=0123456789abcdef; while :; do x=$x$x; done"
    created(t, "sh", "-c", grow, memory={"limit": 32 * MIB, "swap": 32 * MIB, "disableOOMKiller": True})
    t.rt("start", t.id)
    t.until(lambda: counter(t, "memory", "memory.oom_control:under_oom", "") == 1, "under_oom")
    t.equal(t.state()["status"], "running")
    t.rt("delete", "--force", t.id)
    t.none_left()


# --- pids


@case()
def pids_beyond_the_limit_cannot_be_forked(t):
    created(t, "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait", pids={"limit": 4})
    directory = group(t, "pids")
    t.rt("start", t.id)
    t.until(lambda: counter(t, "pids", "pids.events:max", "pids.events:max", directory), "pids.events: max")


@case()
def pids_beyond_the_limit_get_eagain(t):
    t.linux["resources"]["pids"] = {"limit": 4}
    said = t.sh("for i in 1 2 3 4 5 6; do sleep 0.1 & done; wait", code=None).err
    t.contains(said, "Resource temporarily unavailable")


# --- cpu


def used(pid):
    """Seconds of processor time."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@case()
def cpu_quota_throttles(t):
    t.linux["resources"]["cpu"] = {"quota": 10000, "period": 100000}
    pid = t.sleeper(command=["sh", "-c", "while :; do :; done"])
    begin, before = time.monotonic(), used(pid)
    throttled = lambda: counter(t, "cpu", "cpu.stat:nr_throttled", "cpu.stat:nr_throttled")
    t.until(lambda: throttled() > 8, "nr_throttled")
    share = (used(pid) - before) / (time.monotonic() - begin)
    t.true(counter(t, "cpu", "cpu.stat:throttled_time", "cpu.stat:throttled_usec") > 0, "no time throttled")
    t.true(share < 0.3, f"it gets {share:.0%} of a processor instead of 10%")


@case()
def cpu_shares_divide_a_processor(t):
    def busy(id, shares):
        t.linux["resources"]["cpu"] = {"shares": shares, "cpus": "0"}
        t.process["args"] = ["sh", "-c", "while :; do :; done"]
        t.save()
        t.rt("run", "--detach", id)
        return t.state(id)["pid"]

    pids = busy(t.id, 256), busy(f"{t.id}-more", 4096)
    time.sleep(0.3 * PATIENCE)  # the first was alone for a while
    before = [used(pid) for pid in pids]
    t.until(lambda: sum(used(pid) for pid in pids) - sum(before) > 0.8, "processor time")
    little, much = (used(pid) - old for pid, old in zip(pids, before))
    t.true(much > 3 * little, f"{much:.2f} s beside {little:.2f} s")


@case()
def cpuset_binds_every_process(t):
    if os.cpu_count() < 2:
        raise Skipped("this host has one processor")
    t.linux["resources"]["cpu"] = {"cpus": "1"}
    t.sleeper()
    allowed = "grep Cpus_allowed_list /proc/self/status"
    t.equal(t.exec(t.id, "sh", "-c", allowed).out.split()[-1], "1")
    t.true(t.exec(t.id, "taskset", "1", "true", code=None).code != 0, "bound elsewhere")
    t.exec(t.id, "taskset", "2", "true")


# --- block devices


@contextlib.contextmanager
def loop_device():
    """A block device of our own, over a file on a file system that has a disk below it."""
    directory = tempfile.mkdtemp(prefix="blackbox-disk-", dir="/var/tmp")
    device = None
    try:
        with open(f"{directory}/disk", "wb") as file:
            file.write(os.urandom(8 * MIB))
        made = subprocess.run(["losetup", "--find", "--show", f"{directory}/disk"], capture_output=True, text=True)
        if made.returncode != 0:
            raise Skipped(f"no loop device: {made.stderr.strip()}")
        device = made.stdout.strip()
        yield device, os.major(os.stat(device).st_rdev), os.minor(os.stat(device).st_rdev)
    finally:
        if device:
            subprocess.run(["losetup", "--detach", device], check=True)
        shutil.rmtree(directory)


def with_disk(t, major, minor):
    t.linux["devices"] = [{"path": "/dev/disk", "type": "b", "major": major, "minor": minor}]
    t.linux["resources"]["devices"].append(
        {"allow": True, "type": "b", "major": major, "minor": minor, "access": "rw"}
    )
    # The C library's dd can go past the page cache, through which v1 does not see who writes.
    libraries = subprocess.run(["ldd", "/bin/dd"], capture_output=True, text=True, check=True).stdout
    for path in ["/bin/dd", *re.findall(r"(/\S+) \(", libraries)]:
        copy = f"{t.rootfs}{path if path != '/bin/dd' else '/bin/direct-dd'}"
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copy(path, copy)


def seconds_of(t, *arguments):
    said = t.run("/bin/direct-dd", *arguments).err
    return float(t.matches(said, r"copied, ([\d.e-]+) s")[1])


def throttled(t, field, rate, *arguments):
    """How long dd takes with this limit; it says so itself."""
    with loop_device() as (_, major, minor):
        with_disk(t, major, minor)
        free = seconds_of(t, *arguments)
        t.linux["resources"]["blockIO"] = {field: [{"major": major, "minor": minor, "rate": rate}]}
        slow = seconds_of(t, *arguments)
        t.clean()
    return free, slow


READ, WRITE = ("if=/dev/disk", "of=/dev/null", "iflag=direct"), ("if=/dev/zero", "of=/dev/disk", "oflag=direct")


@case()
def reading_is_as_slow_as_asked_for(t):
    free, slow = throttled(t, "throttleReadBpsDevice", MIB, *READ, "bs=64k", "count=32")
    t.true(1.4 < slow < 2.5 + PATIENCE and free < slow, f"2 MiB took {slow} s at 1 MiB/s, {free} s without limit")


@case()
def writing_is_as_slow_as_asked_for(t):
    free, slow = throttled(t, "throttleWriteBpsDevice", MIB, *WRITE, "bs=64k", "count=32")
    t.true(1.4 < slow < 2.5 + PATIENCE and free < slow, f"2 MiB took {slow} s at 1 MiB/s, {free} s without limit")


@case()
def reads_are_as_few_as_asked_for(t):
    free, slow = throttled(t, "throttleReadIOPSDevice", 20, *READ, "bs=4k", "count=40")
    t.true(1.4 < slow < 2.5 + PATIENCE and free < slow, f"40 reads took {slow} s at 20/s, {free} s without limit")


@case()
def writes_are_as_few_as_asked_for(t):
    free, slow = throttled(t, "throttleWriteIOPSDevice", 20, *WRITE, "bs=4k", "count=40")
    t.true(1.4 < slow < 2.5 + PATIENCE and free < slow, f"40 writes took {slow} s at 20/s, {free} s without limit")


# --- devices (1:11 is /dev/kmsg, 1:3 is /dev/null; every container may use the latter)

DENY, ALLOW = {"allow": False, "access": "rwm"}, {"allow": True, "access": "rwm"}


def rule(allow, access, minor=11, major=1):
    numbers = {"major": major} | ({"minor": minor} if minor is not None else {})
    return {"allow": allow, "type": "c", **numbers, "access": access}


def access(t, *rules):
    """Which of mknod, read, write and both at once work on kmsg in a container with these rules, as letters."""
    for kind in ("bounding", "effective", "permitted"):
        t.process["capabilities"][kind] += ["CAP_MKNOD", "CAP_SYSLOG"]
    t.linux["resources"]["devices"] = list(rules)
    tries = "mknod /kmsg c 1 11 && echo m; (exec 3</kmsg) && echo r; (exec 3>/kmsg) && echo w; (exec 3<>/kmsg) && echo b"
    result = t.sh(f"{tries}; rm -f /kmsg; exec 3</dev/null 4>/dev/null", code=None)
    t.true(all("not permitted" in line for line in result.err.splitlines()), result.err)
    return result.out.replace("\n", "")


@case()
def devices_are_denied_by_default(t):
    t.equal(access(t, DENY), "m")


@case(runc="1.1.5 passes over the letter silently", crun="1.8.1 passes over the letter silently")
def an_unknown_kind_of_access_is_told_and_passed_over(t):
    for kind in ("bounding", "effective", "permitted"):
        t.process["capabilities"][kind] += ["CAP_MKNOD", "CAP_SYSLOG"]
    t.linux["resources"]["devices"] = [DENY, rule(True, "rxa")]
    result = t.sh("mknod /kmsg c 1 11; (exec 3</kmsg) && echo r; (exec 3>/kmsg) || echo not w; rm /kmsg")
    t.equal(result.out, "r\nnot w\n")
    t.contains(result.err, 'devices[1].access: \\"rxa\\" is not made of r, w and m')
    t.linux["resources"]["devices"] = [DENY, rule(True, "xa")]
    t.refused("devices[1].access")


@case(crun="1.8.1 then sets no rule at all on v1")
def devices_are_denied_without_any_rule(t):
    t.equal(access(t), "m")


@case()
def a_device_may_be_read_only(t):
    t.equal(access(t, DENY, rule(True, "r")), "mr")


@case()
def a_device_may_be_written_only(t):
    t.equal(access(t, DENY, rule(True, "w")), "mw")


@case()
def a_wildcard_allows_all_minors(t):
    t.equal(access(t, DENY, rule(True, "rw", minor=None)), "mrwb")


@case(crun="1.8.1 lets the first rule that matches decide, on v2")
def a_later_rule_takes_away(t):
    t.equal(access(t, DENY, rule(True, "rw"), rule(False, "w")), "mr")


@case()
def a_later_rule_gives_back(t):
    t.equal(access(t, DENY, rule(True, "rw"), rule(False, "rw"), rule(True, "r")), "mr")


@case()
def all_devices_are_allowed(t):
    t.equal(access(t, ALLOW), "mrwb")


@case()
def all_devices_but_one_are_allowed(t):
    t.equal(access(t, ALLOW, rule(False, "rw")), "m")


@case()
def the_last_rule_about_all_devices_wins(t):
    t.equal(access(t, rule(False, "rwm"), ALLOW), "mrwb")


@case()
def the_last_rule_about_all_devices_wins_when_it_denies(t):
    t.equal(access(t, rule(True, "rw"), ALLOW, DENY), "m")


@case(runc="refuses it on v2 too, where it can be done", crun="1.8.1 ignores such a rule on v1")
def a_hole_in_a_wildcard_is_made_or_refused(t):
    """Nobody may get the device that the config denies."""
    t.linux["resources"]["devices"] = [DENY, rule(True, "rw", minor=None), rule(False, "rw")]
    if V1:
        t.refused("devices[2]")
    else:
        t.equal(access(t, DENY, rule(True, "rw", minor=None), rule(False, "rw")), "m")


# --- the rest


@case()
def huge_pages_beyond_the_limit_are_not_had(t):
    if not os.path.isdir("/sys/kernel/mm/hugepages/hugepages-2048kB"):
        raise Skipped("this host has no huge pages of 2 MiB")
    if int(open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read()) < 4:
        raise Skipped("this host has no huge pages reserved")
    v1_only = not os.path.isdir("/sys/fs/cgroup/hugetlb")
    if V1 and v1_only:
        raise Skipped("the hugetlb controller is not mounted")
    t.mount("/huge", type="hugetlbfs", source="hugetlbfs", options=["pagesize=2M"])
    t.linux["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 * MIB}]
    t.sh("fallocate -l 4M /huge/two")
    t.sh("fallocate -l 6M /huge/three", code={1})


@case()
def network_class_and_priorities(t):
    if not os.path.isdir("/sys/fs/cgroup/net_cls") or not os.path.isdir("/sys/fs/cgroup/net_prio"):
        raise Skipped("net_cls and net_prio are not mounted")
    t.linux["resources"]["network"] = {"classID": 0x100001, "priorities": [{"name": "lo", "priority": 3}]}
    t.sleeper()
    t.equal(value(t, "net_cls", "net_cls.classid", ""), str(0x100001))
    t.contains(value(t, "net_prio", "net_prio.ifpriomap", "").splitlines(), "lo 3")


@case()
def the_container_is_in_every_hierarchy(t):
    t.linux["cgroupsPath"] = f"/{t.id}-everywhere"
    pid = t.sleeper()
    for line in open(f"/proc/{pid}/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        mounted = os.path.isdir(f"/sys/fs/cgroup/{controllers.removeprefix('name=')}")
        if mounted and controllers != "misc" and (controllers or not V1):
            t.equal(path, f"/{t.id}-everywhere", controllers or "v2")


@case()
def unified_is_written_verbatim(t):
    if V1:
        raise Skipped("v2 only")
    wanted = {"memory.min": str(MIB), "cpu.weight": "333", "memory.high": str(99 * MIB), "pids.max": "77"}
    t.linux["resources"]["unified"] = wanted
    t.sleeper()
    t.equal({file: value(t, "", "", file) for file in wanted}, wanted)


@case()
def unified_wins_over_the_fields(t):
    if V1:
        raise Skipped("v2 only")
    t.linux["resources"].update(pids={"limit": 20}, unified={"pids.max": "77"})
    t.sleeper()
    t.equal(value(t, "pids", "", "pids.max"), "77")


@case(crun="1.8.1 leaves the cgroups behind")
def unified_of_an_unknown_file_is_refused(t):
    if V1:
        raise Skipped("v2 only")
    t.linux["resources"]["unified"] = {"memory.nothing": "1"}
    t.refused("memory.nothing")


@case()
def an_executed_process_is_limited_too(t):
    t.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    t.sleeper()
    t.exec(t.id, "dd", "bs=200M", *ALLOCATE, code=137)
