//! `io.containerd.cgroups.v2.Metrics`.

use std::collections::BTreeMap;

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats, PidsStat,
    RdmaEntry as RdmaMessage, RdmaStat,
};
use containerd_shim_protos::protobuf::MessageField;
use libcontainer::cgroups::stats::{CpuStats, IoStats, MemoryStats, Pressure, RdmaEntry, RdmaStats, Stall, Stats};

/// The message counts in microseconds, the library in nanoseconds.
const NANOS_PER_MICRO: u64 = 1000;

/// All of it.
pub fn metrics(stats: &Stats) -> Metrics {
    let hugetlb = stats.hugetlb.iter().map(|(size, pages)| HugeTlbStat {
        current: pages.used.usage.unwrap_or(0),
        max: pages.used.limit.unwrap_or(0),
        failcnt: pages.used.failcnt.unwrap_or(0),
        pagesize: size.clone(),
        ..HugeTlbStat::default()
    });
    let (current, limit) = (stats.pids.current.unwrap_or(0), stats.pids.limit.unwrap_or(0));
    Metrics {
        pids: MessageField::some(PidsStat { current, limit, ..PidsStat::default() }),
        cpu: MessageField::some(cpu(&stats.cpu)),
        memory: MessageField::some(memory(&stats.memory)),
        rdma: rdma(&stats.rdma).into(),
        io: MessageField::some(io(&stats.io)),
        hugetlb: hugetlb.collect(),
        memory_events: stats
            .memory
            .events
            .map(|events| MemoryEvents {
                low: events.low,
                high: events.high,
                max: events.max,
                oom: events.oom,
                oom_kill: events.oom_kill,
                oom_group_kill: events.oom_group_kill,
                ..MemoryEvents::default()
            })
            .into(),
        ..Metrics::default()
    }
}

fn cpu(cpu: &CpuStats) -> CPUStat {
    let micros = |nanos: Option<u64>| nanos.unwrap_or(0) / NANOS_PER_MICRO;
    CPUStat {
        usage_usec: micros(cpu.usage.total),
        user_usec: micros(cpu.usage.user),
        system_usec: micros(cpu.usage.kernel),
        nr_periods: cpu.throttling.periods.unwrap_or(0),
        nr_throttled: cpu.throttling.throttled_periods.unwrap_or(0),
        throttled_usec: micros(cpu.throttling.throttled_time),
        nr_bursts: cpu.burst.periods.unwrap_or(0),
        burst_usec: micros(cpu.burst.time),
        psi: cpu.pressure.as_ref().map(pressure).into(),
        ..CPUStat::default()
    }
}

fn memory(memory: &MemoryStats) -> MemoryStat {
    let stat = |name: &str| memory.stat.get(name).copied().unwrap_or(0);
    // Since Linux 5.9 told apart by what was evicted.
    let both = |name: &str| stat(name) + stat(&format!("{name}_anon")) + stat(&format!("{name}_file"));
    MemoryStat {
        anon: stat("anon"),
        file: stat("file"),
        kernel_stack: stat("kernel_stack"),
        slab: stat("slab"),
        sock: stat("sock"),
        shmem: stat("shmem"),
        file_mapped: stat("file_mapped"),
        file_dirty: stat("file_dirty"),
        file_writeback: stat("file_writeback"),
        anon_thp: stat("anon_thp"),
        inactive_anon: stat("inactive_anon"),
        active_anon: stat("active_anon"),
        inactive_file: stat("inactive_file"),
        active_file: stat("active_file"),
        unevictable: stat("unevictable"),
        slab_reclaimable: stat("slab_reclaimable"),
        slab_unreclaimable: stat("slab_unreclaimable"),
        pgfault: stat("pgfault"),
        pgmajfault: stat("pgmajfault"),
        workingset_refault: both("workingset_refault"),
        workingset_activate: both("workingset_activate"),
        workingset_nodereclaim: stat("workingset_nodereclaim"),
        pgrefill: stat("pgrefill"),
        pgscan: stat("pgscan"),
        pgsteal: stat("pgsteal"),
        pgactivate: stat("pgactivate"),
        pgdeactivate: stat("pgdeactivate"),
        pglazyfree: stat("pglazyfree"),
        pglazyfreed: stat("pglazyfreed"),
        thp_fault_alloc: stat("thp_fault_alloc"),
        thp_collapse_alloc: stat("thp_collapse_alloc"),
        usage: memory.usage.usage.unwrap_or(0),
        usage_limit: memory.usage.limit.unwrap_or(0),
        swap_usage: memory.swap.usage.unwrap_or(0),
        swap_limit: memory.swap.limit.unwrap_or(0),
        max_usage: memory.usage.max_usage.unwrap_or(0),
        swap_max_usage: memory.swap.max_usage.unwrap_or(0),
        psi: memory.pressure.as_ref().map(pressure).into(),
        ..MemoryStat::default()
    }
}

/// The message has one entry for each device, with all its numbers.
fn io(io: &IoStats) -> IOStat {
    let mut devices: BTreeMap<(u64, u64), IOEntry> = BTreeMap::new();
    for (list, bytes) in [(&io.service_bytes, true), (&io.serviced, false)] {
        for one in list {
            let device = devices.entry((one.major, one.minor)).or_default();
            (device.major, device.minor) = (one.major, one.minor);
            match (one.op.as_str(), bytes) {
                ("Read", true) => device.rbytes = one.value,
                ("Write", true) => device.wbytes = one.value,
                ("Read", false) => device.rios = one.value,
                ("Write", false) => device.wios = one.value,
                _ => {}
            }
        }
    }
    let (usage, psi) = (devices.into_values().collect(), io.pressure.as_ref().map(pressure).into());
    IOStat { usage, psi, ..IOStat::default() }
}

fn pressure(pressure: &Pressure) -> PSIStats {
    let data = |stall: &Stall| PSIData {
        avg10: stall.avg10,
        avg60: stall.avg60,
        avg300: stall.avg300,
        total: stall.total,
        ..PSIData::default()
    };
    let (some, full) = (MessageField::some(data(&pressure.some)), MessageField::some(data(&pressure.full)));
    PSIStats { some, full, ..PSIStats::default() }
}

/// Absent where no container uses any, as in containerd's own shim.
fn rdma(stats: &RdmaStats) -> Option<RdmaStat> {
    let message = |entry: &RdmaEntry| RdmaMessage {
        device: entry.device.clone(),
        hca_handles: entry.hca_handles,
        hca_objects: entry.hca_objects,
        ..RdmaMessage::default()
    };
    let list = |entries: &[RdmaEntry]| entries.iter().map(message).collect::<Vec<_>>();
    let (current, limit) = (list(&stats.current), list(&stats.limit));
    (!current.is_empty() || !limit.is_empty()).then(|| RdmaStat { current, limit, ..RdmaStat::default() })
}

#[cfg(test)]
mod tests {
    use libcontainer::cgroups::stats::IoEntry;

    use super::*;

    #[test]
    fn figures_have_their_places_and_units() {
        let mut stats = Stats::default();
        stats.cpu.usage.total = Some(7_000_000);
        stats.memory.usage.limit = Some(u64::MAX);
        stats.memory.stat.insert("workingset_refault_file".into(), 3);
        stats.memory.stat.insert("workingset_refault_anon".into(), 2);
        let entry = |op: &str, value| IoEntry { major: 8, minor: 1, op: op.into(), value };
        stats.io.service_bytes = vec![entry("Read", 9), entry("Write", 8)];
        stats.io.serviced = vec![entry("Read", 2)];
        stats.io.pressure = Some(Pressure { some: Stall { avg10: 1.5, ..Stall::default() }, full: Stall::default() });
        let found = metrics(&stats);
        assert_eq!((found.cpu.usage_usec, found.memory.workingset_refault), (7_000, 5));
        assert_eq!(found.memory.usage_limit, u64::MAX);
        assert_eq!(found.io.usage.len(), 1);
        let device = found.io.usage.first().expect("one");
        assert_eq!((device.rbytes, device.wbytes, device.rios, device.wios), (9, 8, 2, 0));
        assert!(found.io.psi.some.avg10 > 1.0);
    }
}
