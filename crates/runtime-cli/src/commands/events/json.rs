//! Events as runc prints them. What is zero or absent is left out where Go's `omitempty` does so.

use std::collections::BTreeMap;

use libcontainer::cgroups::stats::{self, HugetlbStats, IoEntry, MemoryCounter, MemoryStats, Pressure, UNLIMITED};
use libcontainer::intel_rdt::RdtStats;
use serde::Serialize;

/// One line.
#[derive(Serialize)]
pub struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

impl<'a> Event<'a> {
    /// What was used so far.
    pub fn stats(id: &'a str, stats: &'a stats::Stats, rdt: Option<&'a RdtStats>) -> Event<'a> {
        let data = Data { intel_rdt: rdt.map_or(Rdt::None {}, Rdt::Some), ..Data::from(stats) };
        Event { kind: "stats", id, data: Some(data) }
    }

    /// Lack of memory.
    pub fn oom(id: &'a str) -> Event<'a> {
        Event { kind: "oom", id, data: None }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

#[derive(Serialize)]
struct Data<'a> {
    cpu: Cpu<'a>,
    cpuset: Cpuset<'a>,
    memory: Memory<'a>,
    pids: Pids,
    blkio: Blkio<'a>,
    hugetlb: BTreeMap<&'a str, Hugetlb>,
    intel_rdt: Rdt<'a>,
    /// It is not there yet; runc has it in every line.
    network_interfaces: Option<()>,
}

impl<'a> From<&'a stats::Stats> for Data<'a> {
    fn from(stats: &'a stats::Stats) -> Data<'a> {
        let hugetlb = stats.hugetlb.iter().map(|(size, pages)| (size.as_str(), Hugetlb::from(pages)));
        Data {
            cpu: Cpu::from(&stats.cpu),
            cpuset: Cpuset::from(&stats.cpuset),
            memory: Memory::from(&stats.memory),
            pids: Pids {
                current: stats.pids.current.unwrap_or(0),
                limit: stats.pids.limit.filter(|limit| *limit != UNLIMITED).unwrap_or(0),
            },
            blkio: Blkio::from(&stats.io),
            hugetlb: hugetlb.collect(),
            intel_rdt: Rdt::None {},
            network_interfaces: None,
        }
    }
}

/// An object in any case, as in runc.
#[derive(Serialize)]
#[serde(untagged)]
enum Rdt<'a> {
    Some(&'a RdtStats),
    None {},
}

#[derive(Serialize)]
struct Cpu<'a> {
    usage: CpuUsage<'a>,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<&'a Pressure>,
}

#[derive(Serialize)]
struct CpuUsage<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    #[serde(skip_serializing_if = "is_empty")]
    percpu: &'a [u64],
    #[serde(skip_serializing_if = "is_empty")]
    percpu_kernel: &'a [u64],
    #[serde(skip_serializing_if = "is_empty")]
    percpu_user: &'a [u64],
    kernel: u64,
    user: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_time: u64,
}

impl<'a> From<&'a stats::CpuStats> for Cpu<'a> {
    fn from(cpu: &'a stats::CpuStats) -> Cpu<'a> {
        let (usage, throttling) = (&cpu.usage, &cpu.throttling);
        Cpu {
            usage: CpuUsage {
                total: usage.total.unwrap_or(0),
                percpu: &usage.per_cpu,
                percpu_kernel: &usage.per_cpu_kernel,
                percpu_user: &usage.per_cpu_user,
                kernel: usage.kernel.unwrap_or(0),
                user: usage.user.unwrap_or(0),
            },
            throttling: Throttling {
                periods: throttling.periods.unwrap_or(0),
                throttled_periods: throttling.throttled_periods.unwrap_or(0),
                throttled_time: throttling.throttled_time.unwrap_or(0),
            },
            psi: cpu.pressure.as_ref(),
        }
    }
}

#[derive(Serialize)]
struct Cpuset<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    cpus: &'a [u16],
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "is_empty")]
    mems: &'a [u16],
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

impl<'a> From<&'a stats::CpusetStats> for Cpuset<'a> {
    fn from(cpuset: &'a stats::CpusetStats) -> Cpuset<'a> {
        Cpuset {
            cpus: &cpuset.cpus,
            cpu_exclusive: cpuset.cpu_exclusive.unwrap_or(0),
            mems: &cpuset.mems,
            mem_hardwall: cpuset.mem_hardwall.unwrap_or(0),
            mem_exclusive: cpuset.mem_exclusive.unwrap_or(0),
            memory_migrate: cpuset.memory_migrate.unwrap_or(0),
            memory_spread_page: cpuset.memory_spread_page.unwrap_or(0),
            memory_spread_slab: cpuset.memory_spread_slab.unwrap_or(0),
            memory_pressure: cpuset.memory_pressure.unwrap_or(0),
            sched_load_balance: cpuset.sched_load_balance.unwrap_or(0),
            sched_relax_domain_level: cpuset.sched_relax_domain_level.unwrap_or(0),
        }
    }
}

#[derive(Serialize)]
struct Memory<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    cache: u64,
    usage: MemoryEntry,
    swap: MemoryEntry,
    kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: MemoryEntry,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<&'a Pressure>,
}

#[derive(Debug, PartialEq, Serialize)]
struct MemoryEntry {
    limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

impl From<&MemoryCounter> for MemoryEntry {
    fn from(counter: &MemoryCounter) -> MemoryEntry {
        MemoryEntry {
            limit: counter.limit.unwrap_or(0),
            usage: counter.usage.unwrap_or(0),
            max: counter.max_usage.unwrap_or(0),
            failcnt: counter.failcnt.unwrap_or(0),
        }
    }
}

impl<'a> From<&'a MemoryStats> for Memory<'a> {
    fn from(memory: &'a MemoryStats) -> Memory<'a> {
        Memory {
            cache: memory.cache.unwrap_or(0),
            usage: MemoryEntry::from(&memory.usage),
            swap: with_swap(memory),
            kernel: MemoryEntry::from(&memory.kernel),
            kernel_tcp: MemoryEntry::from(&memory.kernel_tcp),
            raw: &memory.stat,
            psi: memory.pressure.as_ref(),
        }
    }
}

/// Memory and swap together, which v2 counts apart. The sum of what both used at most would say nothing.
fn with_swap(memory: &MemoryStats) -> MemoryEntry {
    let (Some(usage), None) = (memory.usage.usage, memory.memory_and_swap.usage) else {
        return MemoryEntry::from(&memory.memory_and_swap);
    };
    if memory.usage.failcnt.is_some() {
        // v1 without swap accounting: runc shows zeros.
        return MemoryEntry::from(&MemoryCounter::default());
    }
    let sum = |one: u64, other: Option<u64>| one.saturating_add(other.unwrap_or(0));
    MemoryEntry {
        limit: sum(memory.usage.limit.unwrap_or(0), memory.swap.limit),
        usage: sum(usage, memory.swap.usage),
        max: 0,
        failcnt: 0,
    }
}

#[derive(Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blkio<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    io_service_bytes_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    io_serviced_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    io_queue_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    io_service_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    io_wait_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    io_merged_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    io_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    sectors_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<&'a Pressure>,
}

#[derive(Serialize)]
struct BlkioEntry<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    minor: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    op: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    value: u64,
}

impl<'a> From<&'a stats::IoStats> for Blkio<'a> {
    fn from(io: &'a stats::IoStats) -> Blkio<'a> {
        let entry = |IoEntry { major, minor, op, value }: &'a IoEntry| BlkioEntry {
            major: *major,
            minor: *minor,
            op,
            value: *value,
        };
        let all = |entries: &'a [IoEntry]| entries.iter().map(entry).collect();
        Blkio {
            io_service_bytes_recursive: all(&io.service_bytes),
            io_serviced_recursive: all(&io.serviced),
            io_queue_recursive: all(&io.queued),
            io_service_time_recursive: all(&io.service_time),
            io_wait_time_recursive: all(&io.wait_time),
            io_merged_recursive: all(&io.merged),
            io_time_recursive: all(&io.time),
            sectors_recursive: all(&io.sectors),
            psi: io.pressure.as_ref(),
        }
    }
}

/// Of pages reserved, where the kernel counts them.
#[derive(Serialize)]
struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

impl From<&HugetlbStats> for Hugetlb {
    fn from(HugetlbStats { used, reserved }: &HugetlbStats) -> Hugetlb {
        Hugetlb {
            usage: reserved.usage.or(used.usage).unwrap_or(0),
            max: reserved.max_usage.or(used.max_usage).unwrap_or(0),
            failcnt: reserved.failcnt.or(used.failcnt).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use libcontainer::cgroups::stats::{HugetlbCounter, Stats};

    use super::*;

    fn printed(stats: &Stats) -> String {
        serde_json::to_string(&Event::stats("c1", stats, None)).expect("json")
    }

    #[test]
    fn a_class_of_service_is_told_in_runcs_words() {
        let rdt = RdtStats { schemata: vec!["L3:0=f".into()], l3_cache_schema: "L3:0=f".into(), ..RdtStats::default() };
        let line = serde_json::to_string(&Event::stats("c1", &Stats::default(), Some(&rdt))).expect("json");
        assert!(line.contains(r#""intel_rdt":{"l3_cache_schema":"L3:0=f","schemata":["L3:0=f"]},"#), "{line}");
    }

    #[test]
    fn a_line_without_figures_has_runcs_members() {
        assert_eq!(
            printed(&Stats::default()),
            "{\"type\":\"stats\",\"id\":\"c1\",\"data\":{\"cpu\":{\"usage\":{\"kernel\":0,\"user\":0},\"throttling\":{}},\
             \"cpuset\":{\"cpu_exclusive\":0,\"mem_hardwall\":0,\"mem_exclusive\":0,\"memory_migrate\":0,\
             \"memory_spread_page\":0,\"memory_spread_slab\":0,\"memory_pressure\":0,\"sched_load_balance\":0,\
             \"sched_relax_domain_level\":0},\"memory\":{\"usage\":{\"limit\":0,\"failcnt\":0},\
             \"swap\":{\"limit\":0,\"failcnt\":0},\"kernel\":{\"limit\":0,\"failcnt\":0},\
             \"kernelTCP\":{\"limit\":0,\"failcnt\":0}},\"pids\":{},\"blkio\":{},\"hugetlb\":{},\"intel_rdt\":{},\
             \"network_interfaces\":null}}"
        );
        assert_eq!(serde_json::to_string(&Event::oom("c1")).expect("json"), "{\"type\":\"oom\",\"id\":\"c1\"}");
    }

    #[test]
    fn figures_are_where_runc_has_them() {
        let mut stats = Stats::default();
        stats.pids.current = Some(3);
        stats.pids.limit = Some(UNLIMITED);
        stats.io.queued = vec![IoEntry { major: 0, minor: 7, op: "Read".to_owned(), value: 0 }];
        stats.cpu.throttling.throttled_periods = Some(4);
        let reserved = HugetlbCounter { usage: Some(1 << 21), ..HugetlbCounter::default() };
        let used = HugetlbCounter { usage: Some(0), failcnt: Some(5), ..HugetlbCounter::default() };
        stats.hugetlb.insert("2MB".to_owned(), HugetlbStats { used, reserved });
        let text = printed(&stats);
        for part in [
            "\"pids\":{\"current\":3}",
            "\"ioQueueRecursive\":[{\"minor\":7,\"op\":\"Read\"}]",
            "\"throttling\":{\"throttledPeriods\":4}",
            "\"hugetlb\":{\"2MB\":{\"usage\":2097152,\"failcnt\":5}}",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn swap_is_memory_and_swap() {
        let counter =
            |usage, limit| MemoryCounter { usage: Some(usage), limit: Some(limit), ..MemoryCounter::default() };
        let v2 = MemoryStats { usage: counter(10, 100), swap: counter(1, 50), ..MemoryStats::default() };
        assert_eq!(with_swap(&v2), MemoryEntry { limit: 150, usage: 11, max: 0, failcnt: 0 });
        let v2 = MemoryStats { usage: counter(10, UNLIMITED), swap: counter(1, 50), ..MemoryStats::default() };
        assert_eq!(with_swap(&v2).limit, UNLIMITED);
        let v1 = MemoryStats { usage: counter(10, 100), memory_and_swap: counter(12, 200), ..MemoryStats::default() };
        assert_eq!(with_swap(&v1), MemoryEntry { limit: 200, usage: 12, max: 0, failcnt: 0 });
    }
}
