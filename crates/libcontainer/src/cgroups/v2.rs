//! `linux.resources` in the terms of cgroup v2 (kernel doc admin-guide/cgroup-v2.rst).
//!
//! The spec's terms are v1's; the conversions are those of runc, so that a config means the same under both. What v2
//! has no counterpart for is left alone, as runc does: real-time CPU time, swappiness, disabling the OOM killer, kernel
//! memory, leaf weights, network classes and priorities. `memory.checkBeforeUpdate` is for updates. Devices are not
//! files on v2 but a program ([`DeviceAccess::program`](super::devices::DeviceAccess::program)).

use crate::error::{Error, Result};
use crate::spec::{BlockIo, Cpu, HugepageLimit, Memory, Resources};

use super::write::CgroupWrite;

/// Files that every cgroup has and that are for the runtime.
const NO_LIMITS: [&str; 5] = ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type"];

/// The kernel's default for the second number in cpu.max, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// What is to be written for `resources`, in order.
///
/// # Errors
/// For a value that v2 cannot express; the error names the field.
pub fn writes(resources: &Resources) -> Result<Vec<CgroupWrite>> {
    let mut writes = Vec::new();
    writes.extend(resources.pids.as_ref().and_then(super::common::pids));
    if let Some(memory) = &resources.memory {
        self::memory(memory, &mut writes)?;
    }
    if let Some(block_io) = &resources.block_io {
        self::block_io(block_io, &mut writes);
    }
    if let Some(cpu) = &resources.cpu {
        self::cpu(cpu, &mut writes);
        writes.extend(super::common::cpuset(cpu));
    }
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        super::common::check_page_size(index, limit)?;
        hugepages(index, limit, &mut writes);
    }
    writes.extend(super::common::rdma(&resources.rdma)?);
    // Last, so that they have the last word.
    for (file, value) in &resources.unified {
        unified(file, value, &mut writes)?;
    }
    Ok(writes)
}

fn memory(memory: &Memory, writes: &mut Vec<CgroupWrite>) -> Result<()> {
    let asked = |value: Option<i64>| value.filter(|value| *value != 0);
    let (limit, swap) = (asked(memory.limit), asked(memory.swap));
    if let Some(swap) = swap_alone(limit, swap)? {
        let write = CgroupWrite::new("memory.swap.max", or_max(swap), "linux.resources.memory.swap");
        // Without swap accounting there is no swap to be limited to nothing, or to all of it.
        writes.push(if swap <= 0 { write.ignored_if_missing() } else { write });
    }
    writes.extend(limit.map(|limit| CgroupWrite::new("memory.max", or_max(limit), "linux.resources.memory.limit")));
    writes.extend(
        asked(memory.reservation).map(|reservation| {
            CgroupWrite::new("memory.low", or_max(reservation), "linux.resources.memory.reservation")
        }),
    );
    Ok(())
}

fn or_max(value: i64) -> String {
    if value == -1 { "max".to_owned() } else { value.to_string() }
}

/// v1 counts memory and swap together, v2 swap alone: -1 is unlimited, `None` not asked for.
pub(super) fn swap_alone(limit: Option<i64>, swap: Option<i64>) -> Result<Option<i64>> {
    let invalid = |why: String| Err(Error::invalid("linux.resources.memory.swap", why));
    match (swap, limit) {
        (None, Some(-1)) => Ok(Some(-1)), // unlimited memory means unlimited swap too, as on v1
        (None, _) => Ok(None),
        (Some(-1), _) => Ok(Some(-1)),
        (Some(swap), Some(-1)) => Ok(Some(swap)),
        (Some(swap), None) => invalid(format!("{swap} needs linux.resources.memory.limit beside it")),
        (Some(swap), Some(limit)) if limit < 0 || swap < limit => {
            invalid(format!("{swap} is memory and swap together, and less than the memory limit {limit}"))
        }
        (Some(swap), Some(limit)) => Ok(Some(swap - limit)),
    }
}

fn cpu(cpu: &Cpu, writes: &mut Vec<CgroupWrite>) {
    // An idle group takes no weight: before it becomes so, or after it was.
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        writes.push(CgroupWrite::new("cpu.weight", cpu_weight(shares), "linux.resources.cpu.shares").may_wait());
    }
    writes.extend(cpu.idle.map(|idle| CgroupWrite::new("cpu.idle", idle, "linux.resources.cpu.idle")));
    if let Some(burst) = cpu.burst {
        writes.push(CgroupWrite::new("cpu.max.burst", burst, "linux.resources.cpu.burst").may_wait());
    }
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let field = if quota.is_some() { "linux.resources.cpu.quota" } else { "linux.resources.cpu.period" };
        let quota = quota.filter(|quota| *quota > 0).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        writes.push(CgroupWrite::new("cpu.max", format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD)), field));
    }
}

/// v1's shares (2 to 262144, default 1024) as v2's weight (1 to 10000, default 100): runc's curve through
/// all three points.
pub(super) fn cpu_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// A weight goes to BFQ where that scheduler is in use, and else to the general one in its own scale.
fn block_io(block_io: &BlockIo, writes: &mut Vec<CgroupWrite>) {
    if let Some(weight) = block_io.weight.filter(|weight| *weight != 0) {
        let write = CgroupWrite::new("io.bfq.weight", weight, "linux.resources.blockIO.weight");
        writes.push(write.or("io.weight", io_weight(weight)));
    }
    for (index, device) in block_io.weight_device.iter().enumerate() {
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            let field = format!("linux.resources.blockIO.weightDevice[{index}].weight");
            writes.push(CgroupWrite::new("io.bfq.weight", value, field).ignored_if_missing());
        }
    }
    for (key, list, devices) in [
        ("rbps", "throttleReadBpsDevice", &block_io.throttle_read_bps_device),
        ("wbps", "throttleWriteBpsDevice", &block_io.throttle_write_bps_device),
        ("riops", "throttleReadIOPSDevice", &block_io.throttle_read_iops_device),
        ("wiops", "throttleWriteIOPSDevice", &block_io.throttle_write_iops_device),
    ] {
        for (index, device) in devices.iter().enumerate() {
            let value = format!("{}:{} {key}={}", device.major, device.minor, device.rate);
            writes.push(CgroupWrite::new("io.max", value, format!("linux.resources.blockIO.{list}[{index}]")));
        }
    }
}

/// v1's 10 to 1000 as v2's 1 to 10000, linearly.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

fn hugepages(index: usize, limit: &HugepageLimit, writes: &mut Vec<CgroupWrite>) {
    let (size, limit) = (&limit.page_size, limit.limit);
    let field = format!("linux.resources.hugepageLimits[{index}]");
    writes.push(CgroupWrite::new(format!("hugetlb.{size}.max"), limit, field.clone()));
    writes.push(CgroupWrite::new(format!("hugetlb.{size}.rsvd.max"), limit, field).ignored_if_missing());
}

/// Files of v2 verbatim; such as io.max take one line at a time.
fn unified(file: &str, value: &str, writes: &mut Vec<CgroupWrite>) -> Result<()> {
    let field = format!("linux.resources.unified[\"{file}\"]");
    let named =
        file.split_once('.').is_some_and(|(controller, parameter)| !controller.is_empty() && !parameter.is_empty());
    if file.contains('/') || !named {
        return Err(Error::invalid(field, "must be a file's name in the form CONTROLLER.PARAMETER"));
    }
    if NO_LIMITS.contains(&file) {
        return Err(Error::invalid(field, "is no limit: it moves, stops or ends processes"));
    }
    // An empty value is written too: it resets some files.
    for line in value.strip_suffix('\n').unwrap_or(value).split('\n') {
        writes.push(CgroupWrite::new(file.to_owned(), line, field.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_meet_the_ends_and_the_defaults_of_both_scales() {
        for (shares, weight) in
            [(1, 1), (2, 1), (3, 2), (1024, 100), (262_143, 10_000), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        for (v1, v2) in [(10, 1), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(v1), v2, "{v1}");
        }
    }

    #[test]
    fn swap_is_what_memory_and_swap_together_leave() {
        assert_eq!(swap_alone(None, None), Ok(None));
        assert_eq!(swap_alone(Some(-1), None), Ok(Some(-1)));
        assert_eq!(swap_alone(Some(100), None), Ok(None));
        assert_eq!(swap_alone(Some(100), Some(300)), Ok(Some(200)));
        assert_eq!(swap_alone(Some(100), Some(100)), Ok(Some(0)));
        assert_eq!(swap_alone(Some(100), Some(-1)), Ok(Some(-1)));
        assert_eq!(swap_alone(Some(-1), Some(300)), Ok(Some(300)));
        for (limit, swap) in [(None, 300), (Some(500), 300), (Some(-2), 300)] {
            let error = swap_alone(limit, Some(swap)).expect_err("no sense").to_string();
            assert!(error.starts_with("linux.resources.memory.swap: 300 "), "{error}");
        }
    }

    #[test]
    fn unified_takes_file_names_only() {
        for file in ["", "memory", ".max", "memory.", "../memory.max", "sub/memory.max", "cgroup.procs"] {
            let mut writes = Vec::new();
            assert!(unified(file, "1", &mut writes).is_err(), "{file}");
            assert!(writes.is_empty());
        }
    }
}
