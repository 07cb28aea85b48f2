//! `linux.resources` in the terms of cgroup v1 (kernel doc admin-guide/cgroup-v1), which are the spec's own.
//!
//! A value of 0 means "not asked for" where runc takes it so. Left alone, as runc does: `memory.kernel` and
//! `memory.kernelTCP` (gone from the kernel), `memory.useHierarchy` (always on where it matters) and
//! `memory.checkBeforeUpdate` (the kernel's own behaviour on v1).

use crate::error::{Error, Result};
use crate::spec::{BlockIo, Cpu, HugepageLimit, Memory, Network, Resources};

use super::devices::DeviceAccess;
use super::write::CgroupWrite;

/// Limits of cpu.shares, to which the kernel would silently pull other values (MIN_SHARES, MAX_SHARES).
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// What is to be written for `resources`, in order.
///
/// # Errors
/// For a value that v1 cannot express; the error names the field.
pub fn writes(resources: &Resources) -> Result<Vec<CgroupWrite>> {
    let mut writes = DeviceAccess::parse(&resources.devices)?.v1_writes()?;
    writes.extend(limits(resources)?);
    Ok(writes)
}

/// [`writes`] without devices.
pub(super) fn limits(resources: &Resources) -> Result<Vec<CgroupWrite>> {
    if let Some(key) = resources.unified.keys().next() {
        // runc's words, which its users' scripts look for, are among them.
        let why =
            format!("\"{key}\" is an invalid configuration here: it is for cgroup v2, and the controllers are on v1");
        return Err(Error::invalid("linux.resources.unified", why).remedy("use the fields for memory, cpu and so on"));
    }
    let mut writes = Vec::new();
    if let Some(memory) = &resources.memory {
        self::memory(memory, &mut writes)?;
    }
    if let Some(cpu) = &resources.cpu {
        self::cpu(cpu, &mut writes)?;
    }
    writes.extend(resources.pids.as_ref().and_then(super::common::pids));
    if let Some(block_io) = &resources.block_io {
        self::block_io(block_io, &mut writes);
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        super::common::check_page_size(index, limit)?;
        hugepages(index, limit, &mut writes);
    }
    if let Some(network) = &resources.network {
        self::network(network, &mut writes);
    }
    writes.extend(super::common::rdma(&resources.rdma)?);
    Ok(writes)
}

/// The limit is never allowed to be above that of memory and swap together, so which of both has to be written first
/// depends on what was in force; the first one waits for the second if the kernel says so.
fn memory(memory: &Memory, writes: &mut Vec<CgroupWrite>) -> Result<()> {
    const SWAP_FILE: &str = "memory.memsw.limit_in_bytes";
    const SWAP: &str = "linux.resources.memory.swap";
    let asked = |value: Option<i64>| value.filter(|value| *value != 0);
    let (limit, swap) = (asked(memory.limit), asked(memory.swap));
    writes.extend(
        limit.map(|limit| CgroupWrite::new("memory.limit_in_bytes", limit, "linux.resources.memory.limit").may_wait()),
    );
    match (swap, limit) {
        (Some(swap), _) => writes.push(CgroupWrite::new(SWAP_FILE, swap, SWAP)),
        // Unlimited memory means unlimited swap too, where the kernel accounts for swap.
        (None, Some(-1)) => writes.push(CgroupWrite::new(SWAP_FILE, -1, SWAP).ignored_if_missing()),
        (None, _) => {}
    }
    writes.extend(asked(memory.reservation).map(|reservation| {
        CgroupWrite::new("memory.soft_limit_in_bytes", reservation, "linux.resources.memory.reservation")
    }));
    if memory.disable_oom_killer == Some(true) {
        writes.push(CgroupWrite::new("memory.oom_control", 1, "linux.resources.memory.disableOOMKiller"));
    }
    // Engines written in Go say -1 for "not asked for".
    if let Some(swappiness) = memory.swappiness.filter(|swappiness| *swappiness != u64::MAX) {
        let field = "linux.resources.memory.swappiness";
        if swappiness > 100 {
            return Err(Error::invalid(field, format!("{swappiness} is not between 0 and 100")));
        }
        writes.push(CgroupWrite::new("memory.swappiness", swappiness, field));
    }
    Ok(())
}

/// A period, or a burst, that does not go with the quota in force waits until the new quota is.
fn cpu(cpu: &Cpu, writes: &mut Vec<CgroupWrite>) -> Result<()> {
    let asked = |value: Option<u64>| value.filter(|value| *value != 0);
    let asked_time = |value: Option<i64>| value.filter(|value| *value != 0);
    if let Some(period) = asked(cpu.realtime_period) {
        writes.push(CgroupWrite::new("cpu.rt_period_us", period, "linux.resources.cpu.realtimePeriod").may_wait());
    }
    if let Some(runtime) = asked_time(cpu.realtime_runtime) {
        writes.push(CgroupWrite::new("cpu.rt_runtime_us", runtime, "linux.resources.cpu.realtimeRuntime"));
    }
    if let Some(shares) = asked(cpu.shares) {
        let field = "linux.resources.cpu.shares";
        if !SHARES.contains(&shares) {
            return Err(Error::invalid(
                field,
                format!("{shares} is not between {} and {}", SHARES.start(), SHARES.end()),
            ));
        }
        // An idle group takes none, but may be about to be idle no more.
        writes.push(CgroupWrite::new("cpu.shares", shares, field).may_wait());
    }
    if let Some(period) = asked(cpu.period) {
        writes.push(CgroupWrite::new("cpu.cfs_period_us", period, "linux.resources.cpu.period").may_wait());
    }
    if let Some(burst) = cpu.burst {
        let write = CgroupWrite::new("cpu.cfs_burst_us", burst, "linux.resources.cpu.burst");
        writes.push(write.may_wait().ignored_if_missing()); // since Linux 5.14
    }
    if let Some(quota) = asked_time(cpu.quota) {
        writes.push(CgroupWrite::new("cpu.cfs_quota_us", quota, "linux.resources.cpu.quota"));
    }
    writes.extend(cpu.idle.map(|idle| CgroupWrite::new("cpu.idle", idle, "linux.resources.cpu.idle")));
    writes.extend(super::common::cpuset(cpu));
    Ok(())
}

/// The weights' files are called differently under the BFQ scheduler, which is all that is left since Linux 5.0.
fn block_io(block_io: &BlockIo, writes: &mut Vec<CgroupWrite>) {
    let asked = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    if let Some(weight) = asked(block_io.weight) {
        let write = CgroupWrite::new("blkio.weight", weight, "linux.resources.blockIO.weight");
        writes.push(write.or("blkio.bfq.weight", weight));
    }
    if let Some(weight) = asked(block_io.leaf_weight) {
        writes.push(CgroupWrite::new("blkio.leaf_weight", weight, "linux.resources.blockIO.leafWeight"));
    }
    for (index, device) in block_io.weight_device.iter().enumerate() {
        let field = format!("linux.resources.blockIO.weightDevice[{index}]");
        let value = |weight: u16| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = asked(device.weight) {
            let write = CgroupWrite::new("blkio.weight_device", value(weight), format!("{field}.weight"));
            writes.push(write.or("blkio.bfq.weight_device", value(weight)));
        }
        if let Some(weight) = asked(device.leaf_weight) {
            writes.push(CgroupWrite::new("blkio.leaf_weight_device", value(weight), format!("{field}.leafWeight")));
        }
    }
    for (file, list, devices) in [
        ("blkio.throttle.read_bps_device", "throttleReadBpsDevice", &block_io.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", "throttleWriteBpsDevice", &block_io.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", "throttleReadIOPSDevice", &block_io.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", "throttleWriteIOPSDevice", &block_io.throttle_write_iops_device),
    ] {
        for (index, device) in devices.iter().enumerate() {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            writes.push(CgroupWrite::new(file, value, format!("linux.resources.blockIO.{list}[{index}]")));
        }
    }
}

/// Usage at fault time, and at reservation time where the kernel (5.7) knows that.
fn hugepages(index: usize, limit: &HugepageLimit, writes: &mut Vec<CgroupWrite>) {
    let (size, limit) = (&limit.page_size, limit.limit);
    let field = format!("linux.resources.hugepageLimits[{index}]");
    writes.push(CgroupWrite::new(format!("hugetlb.{size}.limit_in_bytes"), limit, field.clone()));
    writes.push(CgroupWrite::new(format!("hugetlb.{size}.rsvd.limit_in_bytes"), limit, field).ignored_if_missing());
}

fn network(network: &Network, writes: &mut Vec<CgroupWrite>) {
    if let Some(class) = network.class_id.filter(|class| *class != 0) {
        writes.push(CgroupWrite::new("net_cls.classid", class, "linux.resources.network.classID"));
    }
    for (index, interface) in network.priorities.iter().enumerate() {
        let value = format!("{} {}", interface.name, interface.priority);
        writes.push(CgroupWrite::new(
            "net_prio.ifpriomap",
            value,
            format!("linux.resources.network.priorities[{index}]"),
        ));
    }
}
