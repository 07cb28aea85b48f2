"""update: limits of a container that lives, as the files of its cgroups show them, on v1 and v2."""

import glob
import json
import os
import threading

from cases.cgroups import V1, group
from suite import Failure, Skipped, case

M = 1 << 20
UNLIMITED = "9223372036854771712"  # as v1 says it

# What v1 and v2 call a file, and the controller that it is of.
FILES = {
    "memory": ("memory", "memory.limit_in_bytes", "memory.max"),
    "reservation": ("memory", "memory.soft_limit_in_bytes", "memory.low"),
    "swap": ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    "shares": ("cpu", "cpu.shares", "cpu.weight"),
    "burst": ("cpu", "cpu.cfs_burst_us", "cpu.max.burst"),
    "idle": ("cpu", "cpu.idle", "cpu.idle"),
    "rt-period": ("cpu", "cpu.rt_period_us", ""),
    "rt-runtime": ("cpu", "cpu.rt_runtime_us", ""),
    "cpus": ("cpuset", "cpuset.cpus", "cpuset.cpus"),
    "mems": ("cpuset", "cpuset.mems", "cpuset.mems"),
    "pids": ("pids", "pids.max", "pids.max"),
    "blkio": ("blkio", "blkio.bfq.weight", "io.bfq.weight"),
    "hugetlb": ("hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"),
}  # fmt: skip


def path(t, what):
    controller, v1, v2 = FILES[what]
    file = v1 if V1 else v2
    if not file:
        raise Skipped("v1 only")
    found = f"{group(t, controller)}/{file}"
    if not os.path.exists(found):
        raise Skipped(f"this kernel has no {file}")
    return found


def value(t, what):
    return open(path(t, what)).read().strip()


def check(t, **wanted):
    """Each file has this value; -1 is no limit."""
    for what, number in wanted.items():
        unlimited = UNLIMITED if V1 and what != "pids" else "max"
        t.equal(value(t, what), unlimited if number == -1 else str(number), what)


def bandwidth(t):
    """(quota, period), with -1 for no quota."""
    directory = group(t, "cpu")
    if V1:
        return tuple(int(open(f"{directory}/cpu.cfs_{name}_us").read()) for name in ("quota", "period"))
    quota, period = open(f"{directory}/cpu.max").read().split()
    return (-1 if quota == "max" else int(quota), int(period))


def shares(t, number):
    """v2: runc's formula until 1.4, and the one after it that keeps 1024 at 100."""
    weights = {100: ("4", "17"), 200: ("8", "29"), 1024: ("39", "100")}
    t.contains((str(number),) if V1 else weights[number], value(t, "shares"))


def started(t, **resources):
    t.linux["resources"].update(resources)
    t.sleeper()


def usual(t):
    """As runc's own tests start."""
    memory = {"limit": 32 * M, "reservation": 24 * M}
    started(t, memory=memory, cpu={"shares": 100, "quota": 500000, "period": 1000000}, pids={"limit": 20})


def update(t, *flags, code=0):
    return t.rt("update", *flags, t.id, code=code)


def update_json(t, resources, code=0):
    return t.rt("update", "-r", "-", t.id, text=json.dumps(resources), code=code)


def refused(t, result, *words):
    """With exit code 1, and each word in the message."""
    t.equal(result.code, 1, "exit code")
    for word in words:
        t.contains(result.said, word)


def creel(t):
    return t.name == "creel"


# --- memory


@case(crun="1.8.1 knows no units")
def memory(t):
    usual(t)
    check(t, memory=32 * M, reservation=24 * M)
    for given, limit in (("67108864", 64 * M), ("50M", 50 * M), ("1.5g", 1536 * M), ("40 MiB", 40 * M)):
        update(t, "--memory", given)
        check(t, memory=limit, reservation=24 * M)
    update(t, "--memory-reservation", str(20 * M))
    check(t, memory=40 * M, reservation=20 * M)


@case()
def memory_up_and_down_again(t):
    usual(t)
    for limit in (64, 16, 512, 8, 33, 32) * 3:
        update(t, "--memory", str(limit * M))
        check(t, memory=limit * M)


@case()
def memory_and_swap(t):
    usual(t)
    path(t, "swap")
    for limit, swap in ((30, 50), (60, 80), (20, 40), (100, 100), (10, 1000), (900, 1000), (20, 20)):
        update(t, "--memory", str(limit * M), "--memory-swap", str(swap * M))
        check(t, memory=limit * M, swap=(swap if V1 else swap - limit) * M)


@case()
def swap_is_given_for_the_limit_in_force(t):
    if not V1 and not creel(t):
        raise Skipped("crun 1.8.1 and runc 1.1.5 know only what is given")
    usual(t)
    path(t, "swap")
    update(t, "--memory-swap", "-1")
    check(t, memory=32 * M, swap=-1)
    update(t, "--memory-swap", str(80 * M))
    check(t, memory=32 * M, swap=(80 if V1 else 48) * M)
    update(t, "--memory", str(40 * M))
    check(t, memory=40 * M, swap=(80 if V1 else 40) * M)


@case(crun="1.8.1 leaves memory+swap limited on v1, so that the kernel refuses")
def memory_without_limit(t):
    started(t, memory={"limit": 32 * M, "swap": 64 * M})
    update(t, "--memory", "-1")
    check(t, memory=-1)
    if os.path.exists(f"{group(t, 'memory')}/{FILES['swap'][1 if V1 else 2]}"):
        check(t, swap=-1)
    update(t, "--memory", str(48 * M))
    check(t, memory=48 * M)


@case()
def memory_above_the_swap_limit_in_force_is_refused(t):
    if not V1 and not creel(t):
        raise Skipped("crun 1.8.1 and runc 1.1.5 know only what is given")
    started(t, memory={"limit": 32 * M, "swap": 64 * M})
    swap = value(t, "swap")
    refused(t, update(t, "--memory", str(100 * M), code=None), "memory")
    check(t, memory=32 * M, swap=swap)
    update(t, "--memory", str(100 * M), "--memory-swap", str(200 * M))
    check(t, memory=100 * M, swap=(200 if V1 else 100) * M)


@case(crun="1.8.1 leaves a part behind")
def swap_below_memory_is_refused(t):
    usual(t)
    path(t, "swap")
    refused(t, update(t, "--memory", str(64 * M), "--memory-swap", str(48 * M), code=None), "swap" if creel(t) else "")
    check(t, memory=32 * M)


@case()
def memory_in_use_is_not_taken_away_on_v1(t):
    if not V1:
        raise Skipped("v2 kills instead")
    # Nor can it be swapped out.
    t.linux["resources"]["memory"] = {"limit": 64 * M, "swap": 64 * M, "swappiness": 0}
    t.mount("/fill", type="tmpfs", source="tmpfs")
    t.sleeper(command=("/bin/sh", "-c", "dd if=/dev/zero of=/fill/file bs=1M count=40; exec sleep 1000"))
    used = lambda: int(open(f"{group(t, 'memory')}/memory.usage_in_bytes").read())
    t.until(lambda: used() > 40 * M, "40 MiB in use")
    result = update(t, "--memory", str(8 * M), code=1)
    if creel(t):
        refused(t, result, "linux.resources.memory.limit", "memory.limit_in_bytes", "in use (")
    check(t, memory=64 * M)
    t.equal(t.state()["status"], "running")


@case(crun="1.8.1 has other words", runc="1.1.5 has it not")
def memory_is_checked_before_on_v2(t):
    if V1:
        raise Skipped("v2 only")
    usual(t)
    for memory, word in (({"limit": 1024}, "memory limit"), ({"limit": 1024, "swap": 2048}, "memory+swap limit")):
        result = update_json(t, {"memory": {**memory, "checkBeforeUpdate": True}}, code=None)
        refused(t, result, f"rejecting {word}")
        check(t, memory=32 * M)
    t.equal(t.state()["status"], "running")
    update_json(t, {"memory": {"limit": 64 * M, "checkBeforeUpdate": True}})
    check(t, memory=64 * M)
    t.rt("update", "--memory", "4096", t.id, code=None)  # the kernel makes it true, by killing
    t.wait("stopped")


@case(crun="1.8.1 tries to write it")
def kernel_memory_is_ignored_with_a_warning(t):
    usual(t)
    for flag in ("--kernel-memory", "--kernel-memory-tcp"):
        t.contains(update(t, flag, str(16 * M)).err.lower(), "kernel memory")
    t.contains(update_json(t, {"memory": {"kernel": 1, "limit": 48 * M}}).err.lower(), "kernel memory")
    check(t, memory=48 * M)


# --- cpu


@case(crun="1.8.1 writes only what is given, and on v2 knows no former quota")
def quota_and_period(t):
    usual(t)
    shares(t, 100)
    for flags, wanted in (
        (("--cpu-period", "900000"), (500000, 900000)),
        (("--cpu-quota", "600000"), (600000, 900000)),
        (("--cpu-quota", "-1"), (-1, 900000)),
        (("--cpu-quota", "300000", "--cpu-period", "400000"), (300000, 400000)),
        (("--cpu-quota", "3000", "--cpu-period", "4000"), (3000, 4000)),
        (("--cpu-quota", "-1", "--cpu-period", "100000"), (-1, 100000)),
    ):
        update(t, *flags)
        t.equal(bandwidth(t), wanted, " ".join(flags))
    update(t, "--cpu-share", "200")
    shares(t, 200)
    t.equal(bandwidth(t), (-1, 100000))


@case()
def the_period_outlives_unrelated_updates(t):
    if not V1 and not creel(t):
        raise Skipped("forgets the period with the next unrelated update")
    usual(t)
    update(t, "--cpu-period", "900000")
    update(t, "--memory", str(48 * M))
    update(t, "--cpu-quota", "600000")
    t.equal(bandwidth(t), (600000, 900000))


@case()
def quota_or_period_where_there_was_none(t):
    started(t)
    update(t, "--cpu-quota", "30000")
    t.equal(bandwidth(t), (30000, 100000))
    t.rt("delete", "-f", t.id)
    t.sleeper()
    update(t, "--cpu-period", "50000")
    t.equal(bandwidth(t), (-1, 50000))


@case(crun="1.8.1 does not try the period again")
def a_smaller_period_within_what_the_parent_has(t):
    """The old quota would be too much for the new period."""
    if not V1:
        raise Skipped("v1 only")
    parent = f"/sys/fs/cgroup/cpu/{t.id}-pod"
    t.linux["cgroupsPath"] = f"/{t.id}-pod/inner"
    os.mkdir(parent)
    try:
        with open(f"{parent}/cpu.cfs_quota_us", "w") as file:
            file.write("50000")
        started(t)
        refused(t, update(t, "--cpu-quota", "60000", code=None), "cpu.cfs_quota_us")
        update(t, "--cpu-quota", "40000")
        update(t, "--cpu-period", "10000", "--cpu-quota", "3000")
        t.equal(bandwidth(t), (3000, 10000))
        update(t, "--cpu-period", "100000", "--cpu-quota", "50000")
        t.equal(bandwidth(t), (50000, 100000))
    finally:
        t.rt("delete", "-f", t.id, code=None)
        # Joint hierarchies have symlinks under the name of each controller.
        for directory in {os.path.realpath(path) for path in glob.glob(f"/sys/fs/cgroup/*/{t.id}-pod")}:
            os.rmdir(directory)


@case(crun="1.8.1 has no --cpu-burst", runc="1.1.5 has no --cpu-burst")
def burst(t):
    usual(t)
    check(t, burst=0)
    update(t, "--cpu-period", "900000", "--cpu-burst", "500000")
    check(t, burst=500000)
    update(t, "--memory", str(100 * M))
    check(t, burst=500000)
    # Neither may ever be above the quota: the order depends on what was.
    for quota, amount in ((600000, 600000), (20000, 10000), (700000, 650000), (5000, 0), (-1, 0)):
        update(t, "--cpu-quota", str(quota), "--cpu-burst", str(amount))
        check(t, burst=amount)
        t.equal(bandwidth(t), (quota, 900000))
    update(t, "--cpu-quota", "5000", "--cpu-burst", "5000")
    refused(t, update(t, "--cpu-quota", "4000", code=None), "4000")
    t.equal(bandwidth(t), (5000, 900000))


@case(crun="1.8.1 has no --cpu-idle", runc="1.1.5 has no --cpu-idle")
def idle(t):
    usual(t)
    check(t, idle=0)
    for number in (1, 0, 1):
        update_json(t, {"cpu": {"idle": number}})
        check(t, idle=number)
    for number in (0, 1, 0, 1):
        update(t, "--cpu-idle", str(number))
        check(t, idle=number)
    for number in (-1, 2, 3):
        refused(t, update(t, "--cpu-idle", str(number), code=None), "cpu.idle")
        check(t, idle=1)
    update(t, "--cpu-period", "10000", "--cpu-quota", "5000")
    check(t, idle=1)


@case(crun="1.8.1 has no --cpu-idle", runc="1.1.5 has no --cpu-idle; later ones refuse in other words")
def idle_and_shares(t):
    usual(t)
    path(t, "idle")
    update(t, "--cpu-idle", "1")
    refused(t, update(t, "--cpu-share", "200", code=None), "shares", "idle")
    update(t, "--cpu-idle", "0")
    shares(t, 100)
    update(t, "--cpu-idle", "1")
    update(t, "--cpu-idle", "0", "--cpu-share", "200")
    shares(t, 200)
    update(t, "--cpu-idle", "1", "--cpu-share", "100")
    check(t, idle=1)


@case(crun="1.8.1 does not try the period again", runc="1.1.5 does not try the period again")
def realtime(t):
    if not V1:
        raise Skipped("v1 only")
    usual(t)
    path(t, "rt-runtime")
    inner = f"{group(t, 'cpu')}/cpu.rt_runtime_us"
    outer = f"{os.path.dirname(group(t, 'cpu'))}/cpu.rt_runtime_us"
    before = open(outer).read()
    try:
        open(outer, "w").write("950000")  # what a parent does not have it cannot give
    except OSError as error:
        raise Skipped("no real-time CPU time to be had here") from error
    try:
        for period, runtime in ((800001, 500001), (900001, 600001), (10000, 3000), (100000, 20000)):
            update(t, "--cpu-rt-period", str(period), "--cpu-rt-runtime", str(runtime))
            check(t, **{"rt-period": period, "rt-runtime": runtime})
        update_json(t, {"cpu": {"realtimeRuntime": 30000}})
        check(t, **{"rt-period": 100000, "rt-runtime": 30000})
    finally:
        open(inner, "w").write("0")
        open(outer, "w").write(before)


@case()
def cpuset(t):
    if os.cpu_count() < 2:
        raise Skipped("one processor")
    started(t, cpu={"cpus": "0", "mems": "0"})
    update(t, "--cpuset-cpus", "1")
    check(t, cpus=1, mems=0)
    allowed = open(f"/proc/{t.state()['pid']}/status").read()
    t.equal(t.matches(allowed, r"Cpus_allowed_list:\s+(\S+)")[1], "1")
    update(t, "--cpuset-mems", "0", "--cpuset-cpus", "0-1")
    check(t, cpus="0-1", mems=0)
    refused(t, update(t, "--cpuset-cpus", "4096", code=None), "cpuset.cpus")
    check(t, cpus="0-1")


@case(crun="1.8.1 knows names in lower case only")
def names_in_any_case(t):
    if os.cpu_count() < 2:
        raise Skipped("one processor")
    started(t, cpu={"cpus": "0"})
    update_json(t, {"CPU": {"Cpus": "1"}})
    check(t, cpus=1)


# --- pids, block I/O, huge pages


@case(crun="1.8.1 writes -1 as it is", runc="1.1.5 makes 0 none")
def pids(t):
    usual(t)
    for given, limit in (("12345", 12345), ("-1", -1), ("10", 10), ("0", 1)):
        update(t, "--pids-limit", given)
        check(t, pids=limit)


@case()
def pids_limit_is_enforced(t):
    started(t)
    fork = lambda: t.exec(t.id, "sh", "-c", "for i in 1 2 3 4; do sleep 0.1 & done; wait", code=None).err
    t.lacks(fork(), "fork")
    update(t, "--pids-limit", "3")
    t.matches(fork(), "fork|EAGAIN|temporarily")
    update(t, "--pids-limit", "30")
    t.lacks(fork(), "fork")


@case(crun="1.8.1 wants CFQ's blkio.weight")
def blkio_weight(t):
    usual(t)
    path(t, "blkio")
    update(t, "--blkio-weight", "500")
    t.matches(value(t, "blkio"), r"(^|default )500$")


def disk():
    for device in glob.glob("/sys/block/*/dev"):
        if "/loop" not in device and "/ram" not in device and "/zram" not in device:
            return tuple(map(int, open(device).read().split(":")))
    raise Skipped("no block device")


@case(runc="1.1.5 does not change them")
def throttles_by_device(t):
    major, minor = disk()
    rate = lambda number: [{"major": major, "minor": minor, "rate": number}]
    started(t, blockIO={"throttleReadBpsDevice": rate(485760) + rate(485760)})
    lists = ("throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice")

    def shown():
        if not V1:
            line = t.matches(open(f"{group(t, 'blkio')}/io.max").read(), rf"^{major}:{minor} (.*)$")[1]
            return tuple(int(dict(word.split("=") for word in line.split())[key]) for key in ("rbps", "wbps", "riops", "wiops"))
        files = [f"blkio.throttle.{kind}_device" for kind in ("read_bps", "write_bps", "read_iops", "write_iops")]
        return tuple(int(t.matches(open(f"{group(t, 'blkio')}/{file}").read(), rf"^{major}:{minor} (\d+)$")[1]) for file in files)

    update_json(t, {"blockIO": dict(zip(lists, map(rate, (10485760, 9437184, 1000, 900))))})
    t.equal(shown(), (10485760, 9437184, 1000, 900))
    update_json(t, {"blockIO": {"throttleWriteIOPSDevice": rate(700)}})
    t.equal(shown(), (10485760, 9437184, 1000, 700))


@case(runc="ignores all but memory, cpu, pids, blockIO and unified")
def huge_pages(t):
    v2 = glob.glob("/sys/fs/cgroup/cgroup.controllers") + glob.glob("/sys/fs/cgroup/unified/cgroup.controllers")
    if not os.path.isdir("/sys/fs/cgroup/hugetlb") and not any("hugetlb" in open(file).read() for file in v2):
        raise Skipped("no hugetlb controller")
    started(t, hugepageLimits=[{"pageSize": "2MB", "limit": 8 * M}])
    controller = "hugetlb"
    file = "hugetlb.2MB.max"
    pid = t.state()["pid"]
    lines = [line.strip().split(":", 2) for line in open(f"/proc/{pid}/cgroup")]
    directory = next((f"/sys/fs/cgroup/hugetlb{path}" for _, names, path in lines if controller in names.split(",")), None)
    if directory:
        file = "hugetlb.2MB.limit_in_bytes"
    else:
        mount = "/sys/fs/cgroup/unified" if V1 else "/sys/fs/cgroup"
        directory = next(f"{mount}{path}" for _, names, path in lines if not names)
    update_json(t, {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * M}]})
    t.equal(open(f"{directory}/{file}").read().strip(), str(4 * M))


# --- unified


@case()
def unified(t):
    if V1:
        raise Skipped("v2 only")
    usual(t)
    update_json(t, {"unified": {"cpu.max": "max 100000", "cpu.weight": "16", "pids.max": "10", "memory.high": str(16 * M)}})
    t.equal(bandwidth(t), (-1, 100000))
    check(t, shares=16, pids=10)
    update(t, "--cpu-quota", "30000")
    t.equal(bandwidth(t), (30000, 100000))
    t.equal(open(f"{group(t, 'memory')}/memory.high").read().strip(), str(16 * M))


@case()
def unified_cpuset(t):
    if V1 or os.cpu_count() < 2:
        raise Skipped("v2 and two processors only")
    started(t, unified={"cpuset.cpus": "0", "cpuset.mems": "0"})
    update_json(t, {"unified": {"cpuset.cpus": "1"}})
    check(t, cpus=1, mems=0)


@case()
def unified_on_v1_is_refused(t):
    if not V1:
        raise Skipped("v1 only")
    usual(t)
    refused(t, update_json(t, {"unified": {"memory.high": "1000000"}}, code=None), "unified")


# --- where limits come from


INITIAL = {
    "memory": {"limit": 32 * M, "reservation": 24 * M},
    "cpu": {"shares": 100, "quota": 500000, "period": 1000000, "cpus": "0"},
    "pids": {"limit": 20},
}


def initial(t):
    check(t, memory=32 * M, reservation=24 * M, pids=20, cpus=0)
    t.equal(bandwidth(t), (500000, 1000000))
    shares(t, 100)


@case()
def all_at_once_by_flags_stdin_and_file(t):
    usual(t)
    everything = "--cpu-period 900000 --cpu-quota 600000 --cpu-share 200 --memory 67108864 --memory-reservation 33554432"
    file = t.file("resources.json", json.dumps(INITIAL))
    for back in (lambda: update_json(t, INITIAL), lambda: update(t, "-r", file), lambda: update(t, "--resources", file)):
        update(t, *everything.split(), "--pids-limit", "10")
        check(t, memory=64 * M, reservation=32 * M, pids=10)
        t.equal(bandwidth(t), (600000, 900000))
        shares(t, 200)
        back()
        initial(t)


@case()
def zeros_and_unknown_names_change_nothing(t):
    usual(t)
    cpu = dict.fromkeys(("shares", "quota", "period", "realtimeRuntime", "realtimePeriod"), 0)
    memory = dict.fromkeys(("limit", "reservation", "swap"), 0)
    if t.name == "crun":
        raise Skipped("1.8.1 writes zeros")
    update_json(t, {"memory": memory, "cpu": {**cpu, "cpus": "", "mems": ""}, "blockIO": {"blkioWeight": 0}, "new": 1})
    check(t, memory=32 * M, reservation=24 * M, pids=20)
    t.equal(bandwidth(t), (500000, 1000000))
    shares(t, 100)


@case()
def with_a_file_flags_are_ignored(t):
    usual(t)
    t.rt("update", "-r", "-", "--pids-limit", "30", t.id, text=json.dumps({"memory": {"limit": 48 * M}}))
    check(t, memory=48 * M, pids=20)


@case()
def flags_before_or_after_the_id(t):
    usual(t)
    t.rt("update", t.id, "--pids-limit", "21") if t.name != "crun" else update(t, "--pids-limit", "21")
    check(t, pids=21)


@case()
def without_limits_at_create(t):
    started(t)
    update(t, "--memory", str(64 * M), "--pids-limit", "9", "--cpu-quota", "20000", "--cpu-share", "200")
    check(t, memory=64 * M, pids=9)
    t.equal(bandwidth(t), (20000, 100000))
    shares(t, 200)


@case()
def without_any_resources_at_create(t):
    del t.linux["resources"]
    t.sleeper()
    update(t, "--memory", str(64 * M), "--pids-limit", "9")
    check(t, memory=64 * M, pids=9)


@case()
def updates_build_on_each_other(t):
    """What an update does not name stays; state, exec and delete go on."""
    usual(t)
    update(t, "--memory", str(64 * M))
    update(t, "--pids-limit", "33")
    update(t, "--cpu-quota", "250000")
    update(t, "--memory-reservation", str(48 * M))
    check(t, memory=64 * M, pids=33, reservation=48 * M)
    t.equal(bandwidth(t), (250000, 1000000) if t.name == "creel" else bandwidth(t))
    t.equal(t.state()["status"], "running")
    t.equal(t.exec(t.id, "echo", "on").out, "on\n")
    t.ends()


# --- states


@case()
def while_created(t):
    t.linux["resources"]["pids"] = {"limit": 20}
    t.create("/bin/sleep", "1000")
    update(t, "--pids-limit", "30", "--memory", str(64 * M))
    check(t, pids=30, memory=64 * M)
    t.rt("start", t.id)
    check(t, pids=30, memory=64 * M)
    t.equal(t.state()["status"], "running")


@case()
def while_paused(t):
    usual(t)
    t.rt("pause", t.id)
    update(t, "--pids-limit", "30", "--memory", str(64 * M), "--cpu-share", "200")
    t.equal(t.state()["status"], "paused")
    check(t, pids=30, memory=64 * M)
    t.rt("resume", t.id)
    t.equal(t.state()["status"], "running")


@case(crun="1.8.1 tries")
def a_stopped_container_is_refused(t):
    t.create("/bin/true")
    t.rt("start", t.id)
    t.wait("stopped")
    refused(t, update(t, "--pids-limit", "30", code=None), "container not running")


@case()
def a_container_that_there_is_not_is_refused(t):
    result = t.rt("update", "--pids-limit", "30", "nowhere", code=1)
    if t.name != "crun":
        t.contains(result.said, "container does not exist")


@case()
def while_processes_come_and_go(t):
    """exec and update take turns, or run at once; none fails and the last update counts."""
    usual(t)
    update(t, "--pids-limit", "200")
    problems = []

    def attempt(work):
        try:
            for number in range(10):
                work(number)
        except Exception as problem:
            problems.append(repr(problem))

    work = (
        lambda number: t.exec(t.id, "true"),
        lambda number: update(t, "--memory", str((64 + number) * M)),
        lambda number: update(t, "--pids-limit", f"{100 + number}"),
        lambda number: t.state(),
    )
    # runc's updates each write all limits, those of an update meanwhile included, as they were: one at a time.
    work = work if creel(t) else work[:2]
    threads = [threading.Thread(target=attempt, args=(one,)) for one in work]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    t.equal(problems, [])
    check(t, memory=73 * M, pids=109 if creel(t) else 200)


@case()
def device_access_is_never_interrupted(t):
    """An update of something else must not take /dev/null away, not even for a moment."""
    script = "while :; do echo x >/dev/null || echo failed >/failed; done"
    t.linux["resources"]["pids"] = {"limit": 20}
    t.sleeper(command=("/bin/sh", "-c", script))
    for _ in range(15):
        update(t, "--pids-limit", "30")
    t.true(not os.path.exists(f"{t.rootfs}/failed"), "/dev/null could not be written to")


# --- devices


KMSG = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
NONE = {"allow": False, "access": "rwm"}


def readable(t):
    return t.exec(t.id, "sh", "-c", "exec 3</dev/kmsg", code=None).code == 0


@case(runc="ignores them")
def devices_change_when_they_differ(t):
    t.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    for kind in ("bounding", "effective", "permitted"):
        t.process["capabilities"][kind].append("CAP_SYSLOG")
    script = "while :; do echo x >/dev/null || echo failed >/failed; done"
    t.sleeper(command=("/bin/sh", "-c", script))
    t.true(not readable(t), "denied at first")
    update_json(t, {"devices": [NONE, KMSG], "pids": {"limit": 50}})
    t.true(readable(t), "allowed by an update")
    update(t, "--pids-limit", "51")
    t.true(readable(t), "an update without devices leaves them")
    update_json(t, {"devices": [NONE]})
    t.true(not readable(t), "denied again")
    check(t, pids=51)
    t.true(not os.path.exists(f"{t.rootfs}/failed"), "/dev/null could not be written to")
    update_json(t, {"devices": [{"allow": True, "access": "rwm"}]})
    t.true(readable(t), "all is allowed")
    update_json(t, {"devices": [{"allow": True, "access": "rwm"}, {**KMSG, "allow": False}]})
    t.true(not readable(t), "all but one")
    update_json(t, {"devices": [NONE, KMSG]})
    t.true(readable(t), "a list again")
    t.equal(t.exec(t.id, "sh", "-c", "echo x >/dev/null").code, 0)


@case()
def what_others_allowed_stays(t):
    """Engines send the container's own rules with every update; a GPU's plug-in has allowed more since."""
    if not V1:
        raise Skipped("v1 only: on v2 it would be a program")
    t.linux["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]
    for kind in ("bounding", "effective", "permitted"):
        t.process["capabilities"][kind].append("CAP_SYSLOG")
    t.sleeper()
    with open(f"{group(t, 'devices')}/devices.allow", "w") as file:
        file.write("c 1:11 r")
    if t.name == "crun":
        raise Skipped("1.8.1 clears the list")
    update_json(t, {"devices": [NONE], "pids": {"limit": 50}})
    t.true(readable(t), "what was allowed from outside is gone")


# --- errors


@case()
def wrong_values_are_refused(t):
    usual(t)
    for flag, given in (
        ("--memory", "x"), ("--memory", "64X"), ("--memory", "-5"), ("--memory-swap", "64MM"), ("--cpu-quota", "many"),
        ("--cpu-share", "-1"), ("--cpu-period", "1.5"), ("--pids-limit", "few"), ("--blkio-weight", "heavy"),
    ):  # fmt: skip
        if t.name == "crun":
            raise Skipped("1.8.1 has its own rules")
        refused(t, t.rt("update", f"{flag}={given}", t.id, code=None), flag.removeprefix("--"))
    check(t, memory=32 * M, pids=20)


@case(crun="1.8.1 has its own words")
def wrong_json_is_refused(t):
    usual(t)
    for text in ("", "{", '{"memory": {"limit": "64M"}}', '{"pids": 5}', "[]"):
        t.equal(t.rt("update", "-r", "-", t.id, text=text, code=None).code, 1, text)
    refused(t, update(t, "-r", "/nowhere/resources.json", code=None), "/nowhere/resources.json", "no such file")
    check(t, memory=32 * M, pids=20)


@case(crun="1.8.1 leaves a part behind", runc="leaves a part behind")
def if_one_cannot_be_had_all_stay(t):
    usual(t)
    result = update(t, "--memory", str(48 * M), "--pids-limit", "30", "--cpu-quota", "60000", "--cpuset-cpus", "4096", code=None)
    refused(t, result, "linux.resources.cpu.cpus", "4096", "cpuset.cpus")
    check(t, memory=32 * M, reservation=24 * M, pids=20)
    t.equal(bandwidth(t), (500000, 1000000))
    update(t, "--cpu-period", "900000")
    t.equal(bandwidth(t), (500000, 900000))


@case(crun="1.8.1 ignores it", runc="says that the host has no RDT, whatever the container has")
def a_class_of_service_that_the_container_has_not_is_told(t):
    usual(t)
    for flag in ("--l3-cache-schema", "--mem-bw-schema"):
        result = update(t, flag, "L3:0=f", "--pids-limit", "30", code=None)
        refused(t, result, "no class of service", "linux.intelRdt")
    check(t, memory=32 * M, reservation=24 * M, pids=20)


@case()
def the_wrong_number_of_operands(t):
    t.rt("update", code=1)
    if t.name != "crun":
        t.rt("update", "a", "b", code=1)
