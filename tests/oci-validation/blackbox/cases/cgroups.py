"""linux.cgroupsPath and linux.resources, as the files of the cgroup show them, on v1 and v2."""

import os

from suite import Skipped, case

V1 = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def group(t, controller):
    """The directory of the container's cgroup in the hierarchy of a controller."""
    pid = t.state()["pid"]
    for line in open(f"/proc/{pid}/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        if V1 and controller in controllers.split(","):
            return f"/sys/fs/cgroup/{controller}{path}"
        if not V1 and controllers == "":
            return f"/sys/fs/cgroup{path}"
    raise Skipped(f"the {controller} controller is not mounted")


def value(t, controller, v1, v2):
    return open(f"{group(t, controller)}/{v1 if V1 else v2}").read().strip()


def remove_parents(name):
    """Parents are shared property: runtimes leave them."""
    for path, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if name in path.split("/"):
            os.rmdir(path)


def started(t, **resources):
    t.linux["resources"].update(resources)
    t.sleeper()


@case()
def memory_limit(t):
    started(t, memory={"limit": 64 << 20})
    t.equal(value(t, "memory", "memory.limit_in_bytes", "memory.max"), str(64 << 20))


@case()
def memory_reservation(t):
    started(t, memory={"limit": 64 << 20, "reservation": 32 << 20})
    t.equal(value(t, "memory", "memory.soft_limit_in_bytes", "memory.low"), str(32 << 20))


@case()
def memory_and_swap(t):
    started(t, memory={"limit": 64 << 20, "swap": 96 << 20})
    t.equal(value(t, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"), str((96 if V1 else 32) << 20))


@case()
def memory_without_limit(t):
    started(t, memory={"limit": -1})
    t.true(value(t, "memory", "memory.limit_in_bytes", "memory.max") in ("max", "9223372036854771712"), "a limit is set")


@case()
def memory_swappiness_and_oom_killer(t):
    if not V1:
        raise Skipped("v1 only")
    started(t, memory={"limit": 64 << 20, "swappiness": 20, "disableOOMKiller": True})
    t.equal(value(t, "memory", "memory.swappiness", ""), "20")
    t.contains(value(t, "memory", "memory.oom_control", ""), "oom_kill_disable 1")


@case()
def memory_limit_is_enforced(t):
    t.linux["resources"]["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    t.sh("dd if=/dev/zero of=/dev/null bs=200M count=1", code={1, 137})


@case()
def pids_limit(t):
    started(t, pids={"limit": 17})
    t.equal(value(t, "pids", "pids.max", "pids.max"), "17")


@case()
def pids_limit_is_enforced(t):
    t.linux["resources"]["pids"] = {"limit": 4}
    t.matches(t.sh("for i in 1 2 3 4 5 6; do sleep 1 & done; wait", code=None).err, "fork")


@case(crun="1.8.1 writes -1 to v1's pids.max")
def pids_without_limit(t):
    started(t, pids={"limit": -1})
    t.equal(value(t, "pids", "pids.max", "pids.max"), "max")


@case()
def cpu_shares(t):
    started(t, cpu={"shares": 2048})
    # v2: runc's formula until 1.4, and the one after it that keeps 1024 at 100.
    t.contains(("2048",) if V1 else ("79", "174"), value(t, "cpu", "cpu.shares", "cpu.weight"))


@case()
def cpu_quota_and_period(t):
    started(t, cpu={"quota": 20000, "period": 50000})
    if V1:
        t.equal(value(t, "cpu", "cpu.cfs_quota_us", ""), "20000")
        t.equal(value(t, "cpu", "cpu.cfs_period_us", ""), "50000")
    else:
        t.equal(value(t, "cpu", "", "cpu.max"), "20000 50000")


@case()
def cpuset(t):
    started(t, cpu={"cpus": "0", "mems": "0"})
    t.equal(value(t, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0")
    t.equal(t.matches(open(f"/proc/{t.state()['pid']}/status").read(), r"Cpus_allowed_list:\s+(\S+)")[1], "0")


@case()
def cpuset_is_the_parents_without_the_field(t):
    t.config["linux"]["cgroupsPath"] = f"/{t.id}/deep/er"
    t.sleeper()
    mine, its = (open(f"/proc/{p}/status").read() for p in ("self", t.state()["pid"]))
    allowed = lambda text: t.matches(text, r"Cpus_allowed_list:\s+(\S+)")[1]
    t.equal(allowed(its), allowed(mine))
    t.rt("delete", "-f", t.id)
    remove_parents(t.id)


@case()
def blkio_throttling(t):
    disk = next((line.split()[2] for line in open("/proc/self/mountinfo") if not line.split()[2].startswith("0:")), None)
    if not disk:
        raise Skipped("no mounted block device")
    if os.path.exists(f"/sys/dev/block/{disk}/partition"):  # only whole disks can be throttled
        disk = open(f"/sys/dev/block/{disk}/../dev").read()
    major, minor = map(int, disk.split(":"))
    started(t, blockIO={"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1 << 20}]})
    t.contains(value(t, "blkio", "blkio.throttle.read_bps_device", "io.max"), str(1 << 20))


@case(crun="1.8.1 wants CFQ's blkio.weight")
def blkio_weight(t):
    if V1 and not os.path.exists("/sys/fs/cgroup/blkio/blkio.bfq.weight") and not bfq():
        raise Skipped("this kernel has no BFQ weights")
    started(t, blockIO={"weight": 500})
    if not V1 and not os.path.exists(f"{group(t, 'io')}/io.bfq.weight"):
        t.equal(value(t, "io", "", "io.weight"), "default 4950")  # 10 to 1000 drawn out to 1 to 10000
    else:
        t.matches(value(t, "blkio", "blkio.bfq.weight", "io.bfq.weight"), r"500$|50$")


def bfq():
    os.makedirs("/sys/fs/cgroup/blkio/probe", exist_ok=True)
    try:
        return os.path.exists("/sys/fs/cgroup/blkio/probe/blkio.bfq.weight")
    finally:
        os.rmdir("/sys/fs/cgroup/blkio/probe")


@case(crun="1.8.1 leaves the cgroups behind")
def hugetlb_or_an_error(t):
    """A limit that cannot be set must not be lost silently."""
    t.linux["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 << 20}]
    t.process["args"] = ["sleep", "1000"]
    t.save()
    if t.rt("run", "-d", t.id, code={0, 1}).code == 0:
        t.equal(value(t, "hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), str(4 << 20))
    else:
        t.none_left()


@case(crun="1.8.1 leaves the cgroups behind")
def the_weight_of_a_device_or_an_error(t):
    """It takes BFQ, and a disk that it schedules; a weight for any other must not get lost silently."""
    t.linux["resources"]["blockIO"] = {"weight": 500, "weightDevice": [{"major": 4095, "minor": 7, "weight": 300}]}
    t.process["args"] = ["sleep", "1000"]
    t.save()
    result = t.rt("run", "-d", t.id, code={0, 1})
    if result.code == 0:
        if os.path.exists(f"{group(t, 'blkio')}/{'blkio' if V1 else 'io'}.bfq.weight_device"):
            t.contains(value(t, "blkio", "blkio.bfq.weight_device", "io.bfq.weight"), "4095:7 300")
    else:
        if t.name == "creel":
            t.contains(result.said, "weight")
        t.none_left()


@case(crun="1.8.1 leaves the cgroups behind")
def rdma_of_a_device_that_is_not_there_is_refused(t):
    t.linux["resources"]["rdma"] = {"no-such-hca": {"hcaHandles": 3, "hcaObjects": 1000}}
    result = t.refused("rdma")
    if t.name == "creel":
        t.contains(result.said, "linux.resources.rdma")


@case()
def an_absolute_path_is_below_the_root(t):
    t.linux["cgroupsPath"] = f"/{t.id}-group"
    t.linux["resources"]["pids"] = {"limit": 9}
    t.sleeper()
    t.equal(group(t, "pids"), f"/sys/fs/cgroup{'/pids' if V1 else ''}/{t.id}-group")


@case()
def a_relative_path_is_somewhere_below(t):
    t.linux["cgroupsPath"] = f"{t.id}-dir/group"
    t.linux["resources"]["pids"] = {"limit": 9}
    t.sleeper()
    directory = group(t, "pids")
    t.true(directory.endswith(f"/{t.id}-dir/group"), directory)
    t.rt("delete", "-f", t.id)
    remove_parents(f"{t.id}-dir")


@case()
def without_a_path_the_group_has_the_id(t):
    t.sleeper()
    t.contains(group(t, "pids"), t.id)


@case()
def every_process_is_in_the_group(t):
    t.sleeper(command=["sh", "-c", "sleep 1001 & exec sleep 1000"])
    procs = lambda: len(open(f"{group(t, 'pids')}/cgroup.procs").read().split())
    t.until(lambda: procs() == 2, "two processes")


@case()
def the_group_goes_with_the_container(t):
    t.sleeper()
    directory = group(t, "memory")
    t.true(os.path.isdir(directory), directory)
    t.rt("delete", "-f", t.id)
    t.true(not os.path.exists(directory), f"{directory} is still there")


@case()
def the_group_goes_even_with_groups_inside(t):
    t.sleeper()
    directory = group(t, "pids")
    os.makedirs(f"{directory}/made/inside")
    t.rt("delete", "-f", t.id)
    t.true(not os.path.exists(directory), f"{directory} is still there")


@case()
def other_groups_are_left_alone(t):
    base = f"/sys/fs/cgroup{'/pids' if V1 else ''}/{t.id}-other"
    os.mkdir(base)
    try:
        t.linux["cgroupsPath"] = f"/{t.id}-other/mine"
        t.sleeper()
        t.rt("delete", "-f", t.id)
        t.true(os.path.isdir(base), "the parent was removed")
    finally:
        remove_parents(f"{t.id}-other")


@case()
def pause_shows_in_the_freezer(t):
    t.sleeper()
    t.rt("pause", t.id)
    t.equal(value(t, "freezer", "freezer.state", "cgroup.freeze"), "FROZEN" if V1 else "1")
    t.rt("resume", t.id)
    t.equal(value(t, "freezer", "freezer.state", "cgroup.freeze"), "THAWED" if V1 else "0")


@case(crun="1.8.1 leaves the cgroups behind")
def an_unusable_limit_is_refused(t):
    t.linux["resources"]["cpu"] = {"cpus": "4096"}
    t.refused()


@case(crun="1.8.1 leaves the cgroups behind")
def unified_resources_on_v1_are_refused(t):
    if not V1:
        raise Skipped("v1 only")
    t.linux["resources"]["unified"] = {"memory.high": "1000000"}
    t.refused("unified")
