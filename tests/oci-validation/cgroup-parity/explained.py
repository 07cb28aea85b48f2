"""Why a peer's value differs from creel's: (layouts, fields, files, peers, text), all but the text regular expressions that
must match as a whole. The first that matches a difference explains it."""

V1, V2 = "v1", "v2.*"
ANY = ".*"
CREATE = r"\(create\)"
DEVICES = r"devices/devices\.list|\(devices that open\)"
V1_HABIT = "v2 has no such limit. crun refuses; runc and creel ignore it, as engines expect that send v1's fields by habit."

EXPLAINED = [
    # --- memory
    (
        ANY,
        "memory.limit 0",
        CREATE,
        "crun",
        "crun writes the 0, and its own init dies of it; for runc and creel a 0 means that nothing was asked for.",
    ),
    (
        ANY,
        "memory.limit 64 MiB, swap 0",
        CREATE,
        "crun",
        "crun takes the 0 for a limit of memory and swap that is below the memory limit; for runc and creel it means that "
        "nothing was asked for.",
    ),
    (
        V2,
        "memory.limit -1, swap 96 MiB",
        CREATE,
        "runc",
        "runc takes it since 1.2.2, as creel does: without a memory limit the value is the limit of swap alone.",
    ),
    (
        V1,
        "memory.kernelTCP.*",
        r"memory/memory\.kmem\.tcp.*",
        "crun",
        "runc ignores the field, which the specification has deprecated, and so does creel.",
    ),
    (V2, "memory.(kernel|swappiness|disableOOMKiller|useHierarchy).*", CREATE, "crun", V1_HABIT),
    # --- cpu
    (
        V1,
        "cpu.quota -1",
        CREATE,
        "crun",
        "crun 1.8.1 gets ERANGE for what it writes to cpu.cfs_quota_us; -1 is v1's own word for no limit.",
    ),
    (ANY, ".*burst.*", ".*burst.*", "runc|crun", "The field is known to runc since 1.2 and to crun since 1.11."),
    (
        ANY,
        "cpu.idle 1",
        ".*",
        "runc",
        "runc 1.1.5 does not know the field. The kernel shows an idle group with the least weight.",
    ),
    (
        V2,
        "cpu.shares.*",
        r"cpu\.weight.*",
        "runc|crun",
        "The formula of runc since 1.3.2 and crun since 1.23, in which v1's default of 1024 becomes v2's default of 100; "
        "before, it became 39.",
    ),
    (V2, "cpu.realtime.*", CREATE, "crun", V1_HABIT),
    # --- pids
    (V1, "pids.limit -1", CREATE, "crun", "crun writes -1, which pids.max does not take, before 1.13."),
    (
        ANY,
        "pids.limit 0",
        r"(pids/)?pids\.max",
        "runc|crun",
        "runc since 1.4 makes it 1, since init itself is one; before, and in crun, it means no limit.",
    ),
    # --- block devices
    (
        V1,
        "blockIO.weight.*",
        CREATE,
        "crun",
        "crun wants the file of CFQ, a scheduler that is gone since Linux 5.0; BFQ's blkio.bfq.weight took its place.",
    ),
    (
        V2,
        "blockIO.(leafWeight|weightDevice).*",
        CREATE,
        "crun",
        "v2 has no leaf weights, and weights of devices go to BFQ, which this kernel has not loaded. crun refuses; runc and "
        "creel ignore it.",
    ),
    # --- the rest
    (
        V2,
        "hugepageLimits.*",
        r"hugetlb\..*\.rsvd\.max",
        "runc|crun",
        "runc since 1.1.10 limits reservations as well, so that a process is refused at mmap(2) and not killed at its first "
        "access.",
    ),
    (V2, "network.*", CREATE, "crun", V1_HABIT),
    (
        ANY,
        "rdma.*",
        CREATE,
        "crun",
        "crun ignores the field; in runc and creel a limit that cannot be set is an error, so that it is not lost silently.",
    ),
    # --- the systemd driver
    (
        "v2-systemd",
        "nothing",
        r"\(directory\)|cgroup\.controllers|rdma\.max|misc\.max",
        "crun",
        "crun makes a sub-cgroup of the unit for the container and passes on to it what it knows, which is neither rdma nor "
        "misc. creel and runc use the unit's own.",
    ),
    (
        "v2-systemd",
        "nothing",
        r"pids\.max",
        "crun",
        "What systemd gives every unit (DefaultTasksMax), which holds for crun's sub-cgroup as well, from above.",
    ),
    # --- devices
    (
        ANY,
        "devices: none said",
        DEVICES,
        "crun",
        "Without a rule crun 1.8.1 sets none, and every device is open; runc and creel deny what no rule allows.",
    ),
    (
        V1,
        "devices: major 1, then not kmsg",
        CREATE,
        "crun",
        "v1's list cannot have a hole in a wildcard. crun leaves the device open; runc and creel refuse.",
    ),
    (
        V2,
        "devices: major 1, then not kmsg",
        CREATE,
        "runc",
        "v2's program can have a hole in a wildcard; runc refuses what v1's list could not have.",
    ),
    (
        ANY,
        "nothing|devices:.*",
        DEVICES,
        "crun",
        "The devices that crun 1.8.1 opens to every container: 5:1 (console) is among them, 10:200 (net/tun) is not.",
    ),
    (
        V2,
        "devices: everything but kmsg",
        DEVICES,
        "runc",
        "That every container may make nodes (which opens none) comes after the config's rules; in creel it is therefore "
        "above them, in runc a rule about one device stands against it.",
    ),
]
