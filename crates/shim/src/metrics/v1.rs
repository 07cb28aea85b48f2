//! `io.containerd.cgroups.v1.Metrics`.

use containerd_shim_protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl, MemoryStat, Metrics,
    PidsStat, RdmaEntry as RdmaMessage, RdmaStat, Throttle,
};
use containerd_shim_protos::protobuf::MessageField;
use libcontainer::cgroups::stats::{
    CpuStats, IoEntry, IoStats, MemoryCounter, MemoryStats, RdmaEntry, RdmaStats, Stats,
};

/// All of it.
pub fn metrics(stats: &Stats) -> Metrics {
    let hugetlb = stats.hugetlb.iter().map(|(size, pages)| HugetlbStat {
        usage: pages.used.usage.unwrap_or(0),
        max: pages.used.max_usage.unwrap_or(0),
        failcnt: pages.used.failcnt.unwrap_or(0),
        pagesize: size.clone(),
        ..HugetlbStat::default()
    });
    let (current, limit) = (stats.pids.current.unwrap_or(0), stats.pids.limit.unwrap_or(0));
    // What the kernel shows as "max" is 0 here, as containerd's own shim has it.
    let limit = if limit == u64::MAX { 0 } else { limit };
    Metrics {
        hugetlb: hugetlb.collect(),
        pids: MessageField::some(PidsStat { current, limit, ..PidsStat::default() }),
        cpu: MessageField::some(cpu(&stats.cpu)),
        memory: MessageField::some(memory(&stats.memory)),
        blkio: MessageField::some(blkio(&stats.io)),
        rdma: rdma(&stats.rdma).into(),
        memory_oom_control: stats
            .memory
            .oom_control
            .map(|control| MemoryOomControl {
                oom_kill_disable: control.oom_kill_disable,
                under_oom: control.under_oom,
                oom_kill: control.oom_kill,
                ..MemoryOomControl::default()
            })
            .into(),
        ..Metrics::default()
    }
}

fn cpu(cpu: &CpuStats) -> CPUStat {
    let usage = CPUUsage {
        total: cpu.usage.total.unwrap_or(0),
        kernel: cpu.usage.kernel.unwrap_or(0),
        user: cpu.usage.user.unwrap_or(0),
        per_cpu: cpu.usage.per_cpu.clone(),
        ..CPUUsage::default()
    };
    let throttling = Throttle {
        periods: cpu.throttling.periods.unwrap_or(0),
        throttled_periods: cpu.throttling.throttled_periods.unwrap_or(0),
        throttled_time: cpu.throttling.throttled_time.unwrap_or(0),
        ..Throttle::default()
    };
    CPUStat { usage: MessageField::some(usage), throttling: MessageField::some(throttling), ..CPUStat::default() }
}

fn memory(memory: &MemoryStats) -> MemoryStat {
    let stat = |name: &str| memory.stat.get(name).copied().unwrap_or(0);
    MemoryStat {
        cache: stat("cache"),
        rss: stat("rss"),
        rss_huge: stat("rss_huge"),
        mapped_file: stat("mapped_file"),
        dirty: stat("dirty"),
        writeback: stat("writeback"),
        pg_pg_in: stat("pgpgin"),
        pg_pg_out: stat("pgpgout"),
        pg_fault: stat("pgfault"),
        pg_maj_fault: stat("pgmajfault"),
        inactive_anon: stat("inactive_anon"),
        active_anon: stat("active_anon"),
        inactive_file: stat("inactive_file"),
        active_file: stat("active_file"),
        unevictable: stat("unevictable"),
        hierarchical_memory_limit: stat("hierarchical_memory_limit"),
        hierarchical_swap_limit: stat("hierarchical_memsw_limit"),
        total_cache: stat("total_cache"),
        total_rss: stat("total_rss"),
        total_rss_huge: stat("total_rss_huge"),
        total_mapped_file: stat("total_mapped_file"),
        total_dirty: stat("total_dirty"),
        total_writeback: stat("total_writeback"),
        total_pg_pg_in: stat("total_pgpgin"),
        total_pg_pg_out: stat("total_pgpgout"),
        total_pg_fault: stat("total_pgfault"),
        total_pg_maj_fault: stat("total_pgmajfault"),
        total_inactive_anon: stat("total_inactive_anon"),
        total_active_anon: stat("total_active_anon"),
        total_inactive_file: stat("total_inactive_file"),
        total_active_file: stat("total_active_file"),
        total_unevictable: stat("total_unevictable"),
        usage: MessageField::some(counter(&memory.usage)),
        swap: MessageField::some(counter(&memory.memory_and_swap)),
        kernel: MessageField::some(counter(&memory.kernel)),
        kernel_tcp: MessageField::some(counter(&memory.kernel_tcp)),
        ..MemoryStat::default()
    }
}

fn counter(counter: &MemoryCounter) -> MemoryEntry {
    MemoryEntry {
        limit: counter.limit.unwrap_or(0),
        usage: counter.usage.unwrap_or(0),
        max: counter.max_usage.unwrap_or(0),
        failcnt: counter.failcnt.unwrap_or(0),
        ..MemoryEntry::default()
    }
}

fn blkio(io: &IoStats) -> BlkIOStat {
    let list = |entries: &[IoEntry]| entries.iter().map(entry).collect::<Vec<_>>();
    BlkIOStat {
        io_service_bytes_recursive: list(&io.service_bytes),
        io_serviced_recursive: list(&io.serviced),
        io_queued_recursive: list(&io.queued),
        io_service_time_recursive: list(&io.service_time),
        io_wait_time_recursive: list(&io.wait_time),
        io_merged_recursive: list(&io.merged),
        io_time_recursive: list(&io.time),
        sectors_recursive: list(&io.sectors),
        ..BlkIOStat::default()
    }
}

fn entry(entry: &IoEntry) -> BlkIOEntry {
    let (op, major, minor, value) = (entry.op.clone(), entry.major, entry.minor, entry.value);
    BlkIOEntry { op, major, minor, value, ..BlkIOEntry::default() }
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
    use super::*;

    #[test]
    fn figures_have_their_places() {
        let mut stats = Stats::default();
        stats.cpu.usage.total = Some(7);
        stats.memory.usage.usage = Some(4096);
        stats.memory.stat.insert("total_rss".into(), 3);
        stats.pids.limit = Some(u64::MAX);
        stats.io.service_bytes = vec![IoEntry { major: 8, minor: 1, op: "Read".into(), value: 9 }];
        let found = metrics(&stats);
        assert_eq!((found.cpu.usage.total, found.memory.usage.usage, found.memory.total_rss), (7, 4096, 3));
        assert_eq!(found.pids.limit, 0);
        assert_eq!(found.blkio.io_service_bytes_recursive.first().map(|entry| entry.value), Some(9));
    }
}
