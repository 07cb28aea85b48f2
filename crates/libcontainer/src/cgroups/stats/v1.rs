//! The files of v1's controllers.

use crate::error::Result;

use super::parse;
use super::source::Source;
use super::types::{
    Burst, CpuStats, CpuUsage, CpusetStats, HugetlbCounter, HugetlbStats, IoEntry, IoStats, MemoryCounter, MemoryStats,
    PidsStats, Throttling,
};

/// A clock tick of cpuacct.stat in nanoseconds: the kernel shows USER_HZ, which is 100 on every architecture of ours.
const TICK: u64 = 10_000_000;

/// `cpuacct`: time used.
pub(super) fn usage(source: &Source<'_>) -> Result<CpuUsage> {
    let (per_cpu_user, per_cpu_kernel) = source.parsed("cpuacct.usage_all", parse::usage_all)?.unwrap_or_default();
    let ticks = source.table("cpuacct.stat")?;
    let time = |name| ticks.get(name).map(|ticks| ticks.saturating_mul(TICK));
    Ok(CpuUsage {
        total: source.number("cpuacct.usage")?,
        user: time("user"),
        kernel: time("system"),
        per_cpu: source.parsed("cpuacct.usage_percpu", parse::numbers)?.unwrap_or_default(),
        per_cpu_user,
        per_cpu_kernel,
    })
}

/// `cpu`: what the quota did; the time used is cpuacct's.
pub(super) fn throttling(source: &Source<'_>) -> Result<CpuStats> {
    let stat = source.table("cpu.stat")?;
    let value = |name| stat.get(name).copied();
    Ok(CpuStats {
        throttling: Throttling {
            periods: value("nr_periods"),
            throttled_periods: value("nr_throttled"),
            throttled_time: value("throttled_time"),
        },
        burst: Burst { periods: value("nr_bursts"), time: value("burst_time") },
        ..CpuStats::default()
    })
}

/// `cpuset`.
pub(super) fn cpuset(source: &Source<'_>) -> Result<CpusetStats> {
    let list = |file| Ok(source.parsed(file, parse::list)?.unwrap_or_default());
    let level = source.parsed("cpuset.sched_relax_domain_level", |text| text.trim().parse().ok())?;
    Ok(CpusetStats {
        cpus: list("cpuset.cpus")?,
        mems: list("cpuset.mems")?,
        cpu_exclusive: source.number("cpuset.cpu_exclusive")?,
        mem_exclusive: source.number("cpuset.mem_exclusive")?,
        mem_hardwall: source.number("cpuset.mem_hardwall")?,
        memory_migrate: source.number("cpuset.memory_migrate")?,
        memory_spread_page: source.number("cpuset.memory_spread_page")?,
        memory_spread_slab: source.number("cpuset.memory_spread_slab")?,
        memory_pressure: source.number("cpuset.memory_pressure")?,
        sched_load_balance: source.number("cpuset.sched_load_balance")?,
        sched_relax_domain_level: level.flatten(),
    })
}

/// `memory`.
pub(super) fn memory(source: &Source<'_>) -> Result<MemoryStats> {
    let stat = source.table("memory.stat")?;
    Ok(MemoryStats {
        usage: counter(source, "memory")?,
        memory_and_swap: counter(source, "memory.memsw")?,
        kernel: counter(source, "memory.kmem")?,
        kernel_tcp: counter(source, "memory.kmem.tcp")?,
        cache: stat.get("cache").copied(),
        stat,
        oom_control: source.parsed("memory.oom_control", parse::oom_control)?,
        ..MemoryStats::default()
    })
}

fn counter(source: &Source<'_>, name: &str) -> Result<MemoryCounter> {
    let Some(usage) = source.number(&format!("{name}.usage_in_bytes"))? else { return Ok(MemoryCounter::default()) };
    Ok(MemoryCounter {
        usage: Some(usage),
        max_usage: source.number(&format!("{name}.max_usage_in_bytes"))?,
        failcnt: source.number(&format!("{name}.failcnt"))?,
        limit: source.number(&format!("{name}.limit_in_bytes"))?,
    })
}

/// `pids`.
pub(super) fn pids(source: &Source<'_>) -> Result<PidsStats> {
    Ok(PidsStats {
        current: source.number("pids.current")?,
        limit: source.number("pids.max")?,
        peak: source.number("pids.peak")?,
        max_events: source.parsed("pids.events", |text| parse::value_of(text, "max"))?.flatten(),
    })
}

/// `blkio`. As in runc, the first of these that has anything: BFQ's files if it has been built for debugging, BFQ's, CFQ's
/// (before Linux 5.0), the throttling layer's (before Linux 5.0 not recursive).
pub(super) fn blkio(source: &Source<'_>) -> Result<IoStats> {
    let read = |file: String| Ok(source.parsed(&file, parse::blkio)?.unwrap_or_default());
    for (prefix, suffix) in [("blkio.bfq.", "_recursive"), ("blkio.", "_recursive")] {
        let file = |name: &str| format!("{prefix}{name}{suffix}");
        let serviced: Vec<IoEntry> = read(file("io_serviced"))?;
        if !serviced.is_empty() {
            return Ok(IoStats {
                serviced,
                service_bytes: read(file("io_service_bytes"))?,
                queued: read(file("io_queued"))?,
                service_time: read(file("io_service_time"))?,
                wait_time: read(file("io_wait_time"))?,
                merged: read(file("io_merged"))?,
                time: read(file("time"))?,
                sectors: read(file("sectors"))?,
                ..IoStats::default()
            });
        }
    }
    for suffix in ["_recursive", ""] {
        let file = |name: &str| format!("blkio.throttle.{name}{suffix}");
        let serviced: Vec<IoEntry> = read(file("io_serviced"))?;
        if !serviced.is_empty() {
            return Ok(IoStats { serviced, service_bytes: read(file("io_service_bytes"))?, ..IoStats::default() });
        }
    }
    Ok(IoStats::default())
}

/// `hugetlb`, of one page size.
pub(super) fn hugetlb(source: &Source<'_>, size: &str) -> Result<Option<HugetlbStats>> {
    let counter = |name: &str| {
        let Some(usage) = source.number(&format!("{name}.usage_in_bytes"))? else { return Ok(None) };
        Ok(Some(HugetlbCounter {
            usage: Some(usage),
            max_usage: source.number(&format!("{name}.max_usage_in_bytes"))?,
            failcnt: source.number(&format!("{name}.failcnt"))?,
            limit: source.number(&format!("{name}.limit_in_bytes"))?,
        }))
    };
    let Some(used) = counter(&format!("hugetlb.{size}"))? else { return Ok(None) };
    let reserved = counter(&format!("hugetlb.{size}.rsvd"))?.unwrap_or_default();
    Ok(Some(HugetlbStats { used, reserved }))
}
