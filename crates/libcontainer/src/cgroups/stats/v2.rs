//! The files of v2's controllers, and pressure, which is v2's on hybrid hosts too.

use std::collections::BTreeMap;

use crate::error::Result;

use super::parse;
use super::source::Source;
use super::types::{
    Burst, CpuStats, CpuUsage, CpusetStats, HugetlbCounter, HugetlbStats, IoStats, MemoryCounter, MemoryStats,
    MiscStats, PidsStats, Stats, Throttling,
};

/// `cpu`. The time used is told even without the controller.
pub(super) fn cpu(source: &Source<'_>) -> Result<CpuStats> {
    let stat = source.table("cpu.stat")?;
    let value = |name| stat.get(name).copied();
    let time = |name| value(name).map(|microseconds| microseconds.saturating_mul(1000));
    Ok(CpuStats {
        usage: CpuUsage {
            total: time("usage_usec"),
            user: time("user_usec"),
            kernel: time("system_usec"),
            ..CpuUsage::default()
        },
        throttling: Throttling {
            periods: value("nr_periods"),
            throttled_periods: value("nr_throttled"),
            throttled_time: time("throttled_usec"),
        },
        burst: Burst { periods: value("nr_bursts"), time: time("burst_usec") },
        pressure: None,
    })
}

/// `cpuset`.
pub(super) fn cpuset(source: &Source<'_>) -> Result<CpusetStats> {
    let list = |file| Ok(source.parsed(file, parse::list)?.unwrap_or_default());
    let (cpus, mems) = (list("cpuset.cpus.effective")?, list("cpuset.mems.effective")?);
    Ok(CpusetStats { cpus, mems, ..CpusetStats::default() })
}

/// `memory`.
pub(super) fn memory(source: &Source<'_>) -> Result<MemoryStats> {
    let stat = source.table("memory.stat")?;
    Ok(MemoryStats {
        usage: counter(source, "memory")?,
        swap: counter(source, "memory.swap")?,
        cache: stat.get("file").copied(),
        stat,
        events: source.parsed("memory.events", parse::memory_events)?,
        events_local: source.parsed("memory.events.local", parse::memory_events)?,
        swap_events: source.parsed("memory.swap.events", parse::swap_events)?,
        ..MemoryStats::default()
    })
}

fn counter(source: &Source<'_>, name: &str) -> Result<MemoryCounter> {
    let Some(usage) = source.number(&format!("{name}.current"))? else { return Ok(MemoryCounter::default()) };
    Ok(MemoryCounter {
        usage: Some(usage),
        max_usage: source.number(&format!("{name}.peak"))?,
        failcnt: None,
        limit: source.number(&format!("{name}.max"))?,
    })
}

/// `pids`. Without the controller the processes are counted, as runc does.
pub(super) fn pids(source: &Source<'_>) -> Result<PidsStats> {
    let Some(current) = source.number("pids.current")? else {
        return Ok(PidsStats { current: Some(source.processes()?), ..PidsStats::default() });
    };
    Ok(PidsStats {
        current: Some(current),
        limit: source.number("pids.max")?,
        peak: source.number("pids.peak")?,
        max_events: source.parsed("pids.events", |text| parse::value_of(text, "max"))?.flatten(),
    })
}

/// `io`, in v1's terms as runc converts it.
pub(super) fn io(source: &Source<'_>) -> Result<IoStats> {
    let mut stats = IoStats::default();
    let text = source.text("io.stat")?.unwrap_or_default();
    for (key, mut entry) in parse::io_stat(&text) {
        let (entries, op) = match key {
            "rbytes" => (&mut stats.service_bytes, "Read"),
            "wbytes" => (&mut stats.service_bytes, "Write"),
            "rios" => (&mut stats.serviced, "Read"),
            "wios" => (&mut stats.serviced, "Write"),
            "cost.usage" => (&mut stats.cost_usage, "Count"),
            "cost.wait" => (&mut stats.cost_wait, "Count"),
            "cost.indebt" => (&mut stats.cost_indebt, "Count"),
            "cost.indelay" => (&mut stats.cost_indelay, "Count"),
            _ => continue,
        };
        op.clone_into(&mut entry.op);
        entries.push(entry);
    }
    Ok(stats)
}

/// `hugetlb`, of one page size.
pub(super) fn hugetlb(source: &Source<'_>, size: &str) -> Result<Option<HugetlbStats>> {
    let counter = |name: &str| -> Result<HugetlbCounter> {
        let usage = source.number(&format!("{name}.current"))?;
        Ok(HugetlbCounter { usage, limit: source.number(&format!("{name}.max"))?, ..HugetlbCounter::default() })
    };
    let name = format!("hugetlb.{size}");
    let mut used = counter(&name)?;
    if used.usage.is_none() {
        return Ok(None);
    }
    used.failcnt = source.parsed(&format!("{name}.events"), |text| parse::value_of(text, "max"))?.flatten();
    Ok(Some(HugetlbStats { used, reserved: counter(&format!("{name}.rsvd"))? }))
}

/// `misc`.
pub(super) fn misc(source: &Source<'_>) -> Result<BTreeMap<String, MiscStats>> {
    let mut stats: BTreeMap<String, MiscStats> = BTreeMap::new();
    for (name, value) in source.table("misc.current")? {
        stats.entry(name).or_default().usage = Some(value);
    }
    if stats.is_empty() {
        return Ok(stats);
    }
    for (name, value) in source.table("misc.max")? {
        stats.entry(name).or_default().limit = Some(value);
    }
    for (name, value) in source.table("misc.events")? {
        if let Some(name) = name.strip_suffix(".max") {
            stats.entry(name.to_owned()).or_default().events = Some(value);
        }
    }
    Ok(stats)
}

/// Time lost by waiting. On a hybrid host the container's processes are in v2's hierarchy as well, which counts it.
pub(super) fn add_pressure(source: &Source<'_>, stats: &mut Stats) -> Result<()> {
    stats.cpu.pressure = source.parsed("cpu.pressure", parse::pressure)?;
    stats.memory.pressure = source.parsed("memory.pressure", parse::pressure)?;
    stats.io.pressure = source.parsed("io.pressure", parse::pressure)?;
    Ok(())
}
