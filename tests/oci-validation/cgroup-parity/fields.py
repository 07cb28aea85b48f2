"""The values of linux.resources that are tried, one at a time, and the device nodes that are probed on v2."""

MIB = 1 << 20
LOOP = "the loop device's numbers"  # put in when it is known


def device(**limits):
    return [{"major": LOOP, "minor": LOOP, **limits}]


def rule(allow, access="rwm", **which):
    return {"allow": allow, "access": access, **which}


KMSG = {"type": "c", "major": 1, "minor": 11}
DENY = rule(False)

# (what is said in the table, linux.resources)
FIELDS = [
    ("memory.limit 64 MiB", {"memory": {"limit": 64 * MIB}}),
    ("memory.limit 0", {"memory": {"limit": 0}}),
    ("memory.limit -1", {"memory": {"limit": -1}}),
    ("memory.limit 64 MiB, swap 96 MiB", {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}),
    ("memory.limit 64 MiB, swap 64 MiB", {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}),
    ("memory.limit 64 MiB, swap 0", {"memory": {"limit": 64 * MIB, "swap": 0}}),
    ("memory.limit 64 MiB, swap -1", {"memory": {"limit": 64 * MIB, "swap": -1}}),
    ("memory.limit -1, swap -1", {"memory": {"limit": -1, "swap": -1}}),
    ("memory.limit -1, swap 96 MiB", {"memory": {"limit": -1, "swap": 96 * MIB}}),
    ("memory.limit 64 MiB, swap 32 MiB", {"memory": {"limit": 64 * MIB, "swap": 32 * MIB}}),
    ("memory.swap 96 MiB", {"memory": {"swap": 96 * MIB}}),
    ("memory.swap -1", {"memory": {"swap": -1}}),
    ("memory.reservation 32 MiB", {"memory": {"reservation": 32 * MIB}}),
    ("memory.reservation -1", {"memory": {"reservation": -1}}),
    ("memory.limit 64 MiB, reservation 32 MiB", {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB}}),
    ("memory.kernel 32 MiB", {"memory": {"kernel": 32 * MIB}}),
    ("memory.kernelTCP 32 MiB", {"memory": {"kernelTCP": 32 * MIB}}),
    ("memory.swappiness 20", {"memory": {"swappiness": 20}}),
    ("memory.swappiness 0", {"memory": {"swappiness": 0}}),
    ("memory.disableOOMKiller true", {"memory": {"disableOOMKiller": True}}),
    ("memory.useHierarchy true", {"memory": {"useHierarchy": True}}),
    ("memory.checkBeforeUpdate true", {"memory": {"limit": 64 * MIB, "checkBeforeUpdate": True}}),
    ("cpu.shares 0", {"cpu": {"shares": 0}}),
    ("cpu.shares 2", {"cpu": {"shares": 2}}),
    ("cpu.shares 512", {"cpu": {"shares": 512}}),
    ("cpu.shares 1024", {"cpu": {"shares": 1024}}),
    ("cpu.shares 2048", {"cpu": {"shares": 2048}}),
    ("cpu.shares 262144", {"cpu": {"shares": 262144}}),
    ("cpu.quota 20000", {"cpu": {"quota": 20000}}),
    ("cpu.quota -1", {"cpu": {"quota": -1}}),
    ("cpu.quota 0", {"cpu": {"quota": 0}}),
    ("cpu.period 50000", {"cpu": {"period": 50000}}),
    ("cpu.quota 20000, period 50000", {"cpu": {"quota": 20000, "period": 50000}}),
    ("cpu.quota 20000, burst 10000", {"cpu": {"quota": 20000, "burst": 10000}}),
    ("cpu.idle 1", {"cpu": {"idle": 1}}),
    ("cpu.idle 0", {"cpu": {"idle": 0}}),
    ("cpu.realtimePeriod 500000", {"cpu": {"realtimePeriod": 500000}}),
    ("cpu.realtimeRuntime 1000", {"cpu": {"realtimeRuntime": 1000}}),
    ("cpu.cpus 0", {"cpu": {"cpus": "0"}}),
    ("cpu.cpus 0-1", {"cpu": {"cpus": "0-1"}}),
    ("cpu.mems 0", {"cpu": {"mems": "0"}}),
    ("cpu.cpus 0, mems 0", {"cpu": {"cpus": "0", "mems": "0"}}),
    ("pids.limit 17", {"pids": {"limit": 17}}),
    ("pids.limit 0", {"pids": {"limit": 0}}),
    ("pids.limit -1", {"pids": {"limit": -1}}),
    ("blockIO.weight 500", {"blockIO": {"weight": 500}}),
    ("blockIO.weight 10", {"blockIO": {"weight": 10}}),
    ("blockIO.leafWeight 300", {"blockIO": {"leafWeight": 300}}),
    ("blockIO.weightDevice 500", {"blockIO": {"weightDevice": device(weight=500)}}),
    ("blockIO.throttleReadBpsDevice 1 MiB", {"blockIO": {"throttleReadBpsDevice": device(rate=MIB)}}),
    ("blockIO.throttleWriteBpsDevice 1 MiB", {"blockIO": {"throttleWriteBpsDevice": device(rate=MIB)}}),
    ("blockIO.throttleReadIOPSDevice 100", {"blockIO": {"throttleReadIOPSDevice": device(rate=100)}}),
    ("blockIO.throttleWriteIOPSDevice 100", {"blockIO": {"throttleWriteIOPSDevice": device(rate=100)}}),
    ("hugepageLimits 2MB 4 MiB", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}),
    ("network.classID 0x100001", {"network": {"classID": 0x100001}}),
    ("network.priorities lo 3", {"network": {"priorities": [{"name": "lo", "priority": 3}]}}),
    ("rdma of a device that is not there", {"rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 1000}}}),
    ("unified memory.high 99 MiB", {"unified": {"memory.high": str(99 * MIB)}}),
    ("unified memory.min, cpu.weight", {"unified": {"memory.min": str(MIB), "cpu.weight": "333"}}),
    ("unified io.max", {"unified": {"io.max": f"{LOOP} rbps=1048576"}}),
    ("unified pids.max beside pids.limit", {"pids": {"limit": 20}, "unified": {"pids.max": "77"}}),
    ("unified of a file that is not there", {"unified": {"memory.nothing": "1"}}),
    ("devices: none said", {"devices": []}),
    ("devices: kmsg rw", {"devices": [DENY, rule(True, "rw", **KMSG)]}),
    ("devices: kmsg r", {"devices": [DENY, rule(True, "r", **KMSG)]}),
    ("devices: all of major 1", {"devices": [DENY, rule(True, "rw", type="c", major=1)]}),
    ("devices: all character devices", {"devices": [DENY, rule(True, type="c")]}),
    ("devices: a block device", {"devices": [DENY, rule(True, "rw", type="b", major=8, minor=0)]}),
    ("devices: everything", {"devices": [rule(True)]}),
    ("devices: everything but kmsg", {"devices": [rule(True), rule(False, **KMSG)]}),
    ("devices: kmsg rw, then not w", {"devices": [DENY, rule(True, "rw", **KMSG), rule(False, "w", **KMSG)]}),
    (
        "devices: major 1, then not kmsg",
        {"devices": [DENY, rule(True, "rw", type="c", major=1), rule(False, "rw", **KMSG)]},
    ),
]

# Nodes that are made and opened where the rules cannot be read back; null and the like are open to everybody.
NODES = "c:1:3 c:1:7 c:1:11 c:4:0 c:5:0 c:5:1 c:5:2 c:10:200 c:10:229 c:10:237 b:8:0".split()

# What changes by itself, as patterns of file names.
NOISE = r"""
    tasks cgroup\.(procs|threads|stat|events|event_control|kill|pressure) .*\.pressure .*\.stat(\.local)? .*numa_stat
    .*usage.* .*\.current .*\.peak .*\.events(\.local)? .*failcnt .*slabinfo memory\.(reclaim|force_empty|pressure_level)
    cpuacct\..* blkio\.(reset_stats|sectors.*|time.*|io_.*) blkio\.throttle\.io_.* blkio\.bfq\.(sectors|time|io_).*
    
""".split()
