//! What is known of a container's use of resources.
//!
//! Every figure is that of the container and all that is below it, since its cgroup was made, unless it says otherwise.
//! A figure is absent (`None`, or an empty collection) where the kernel, the cgroup version or the controller does not
//! have it. A limit that is not set is [`UNLIMITED`] on v2, and on v1 what the kernel shows instead (for memory,
//! 9223372036854771712: the highest page of a signed number).

use std::collections::BTreeMap;

use serde::Serialize;

/// What the kernel writes as `max`.
pub const UNLIMITED: u64 = u64::MAX;

/// A container's use of resources, by controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// v1 `cpuacct` and `cpu`, v2 `cpu`.
    pub cpu: CpuStats,
    /// Which processors and memory nodes it may use.
    pub cpuset: CpusetStats,
    /// `memory`.
    pub memory: MemoryStats,
    /// `pids`.
    pub pids: PidsStats,
    /// v1 `blkio`, v2 `io`.
    pub io: IoStats,
    /// `hugetlb`, by page size as the kernel names it (`2MB`, `1GB`).
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// `rdma`.
    pub rdma: RdmaStats,
    /// v2 `misc`, by resource (`sev`, `sgx_epc`).
    pub misc: BTreeMap<String, MiscStats>,
}

/// Time on processors. All times are in nanoseconds, whatever unit the kernel's file has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuStats {
    /// Time used.
    pub usage: CpuUsage,
    /// How often a quota stopped it.
    pub throttling: Throttling,
    /// How often it used more than its quota by what it had saved.
    pub burst: Burst,
    /// Time lost by waiting for a processor.
    pub pressure: Option<Pressure>,
}

/// Time used on processors, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    pub total: Option<u64>,
    /// In user mode. On v1 a count of clock ticks, so only precise to 10 ms.
    pub user: Option<u64>,
    /// In the kernel. On v1 a count of clock ticks, so only precise to 10 ms.
    pub kernel: Option<u64>,
    /// v1: all of it, by processor.
    pub per_cpu: Vec<u64>,
    /// v1: in user mode, by processor.
    pub per_cpu_user: Vec<u64>,
    /// v1: in the kernel, by processor.
    pub per_cpu_kernel: Vec<u64>,
}

/// What a CPU quota did (kernel doc sched-bwc.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Throttling {
    /// Periods in which it wanted to run.
    pub periods: Option<u64>,
    /// Periods in which it used its quota up and was stopped.
    pub throttled_periods: Option<u64>,
    /// How long it was stopped, in nanoseconds, summed over processors.
    pub throttled_time: Option<u64>,
}

/// What `cpu.burst` allowed (kernel doc sched-bwc.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Burst {
    /// Periods in which it used more than its quota.
    pub periods: Option<u64>,
    /// Time beyond the quota, in nanoseconds.
    pub time: Option<u64>,
}

/// Pressure stall information (kernel doc accounting/psi.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one task was stalled.
    pub some: Stall,
    /// All tasks that were not idle were stalled at once.
    pub full: Stall,
}

/// One line of pressure stall information.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stall {
    /// Percent of the last ten seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// All of it, in microseconds.
    pub total: u64,
}

/// Which processors and memory nodes may be used, and v1's switches (kernel docs cgroup-v1/cpusets.rst, cgroup-v2.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpusetStats {
    /// Processors, by number. v2: those that are left after what the ancestors allow.
    pub cpus: Vec<u16>,
    /// Memory nodes, by number; v2 as for `cpus`.
    pub mems: Vec<u16>,
    /// v1 `cpu_exclusive`: no sibling has these processors.
    pub cpu_exclusive: Option<u64>,
    /// v1 `mem_exclusive`: no sibling has these memory nodes.
    pub mem_exclusive: Option<u64>,
    /// v1 `mem_hardwall`: the kernel's own allocations stay in there too.
    pub mem_hardwall: Option<u64>,
    /// v1 `memory_migrate`: pages move when the nodes change.
    pub memory_migrate: Option<u64>,
    /// v1 `memory_spread_page`: page cache is spread over the nodes.
    pub memory_spread_page: Option<u64>,
    /// v1 `memory_spread_slab`: the kernel's objects are spread over the nodes.
    pub memory_spread_slab: Option<u64>,
    /// v1 `memory_pressure`: how often, in thousandths per second, memory had to be reclaimed lately.
    pub memory_pressure: Option<u64>,
    /// v1 `sched_load_balance`: load is balanced among the processors.
    pub sched_load_balance: Option<u64>,
    /// v1 `sched_relax_domain_level`: how far a processor looks for work; -1 for the system's default.
    pub sched_relax_domain_level: Option<i64>,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryStats {
    /// Memory without swap.
    pub usage: MemoryCounter,
    /// v1 `memsw`: memory and swap together.
    pub memory_and_swap: MemoryCounter,
    /// v2: swap alone.
    pub swap: MemoryCounter,
    /// v1: the kernel's memory, part of `usage`.
    pub kernel: MemoryCounter,
    /// v1: buffers of TCP sockets.
    pub kernel_tcp: MemoryCounter,
    /// Page cache: `cache` on v1 (the container's own cgroup), `file` on v2.
    pub cache: Option<u64>,
    /// All of `memory.stat` as the kernel names it; bytes, but for events and pages (`pgfault`, `workingset_…`).
    pub stat: BTreeMap<String, u64>,
    /// v1: what the OOM killer may do and did in the container's own cgroup, without what is below it.
    pub oom_control: Option<OomControl>,
    /// v2: how often limits were met, also below.
    pub events: Option<MemoryEvents>,
    /// v2: how often limits were met, only in the container's own cgroup (since Linux 5.2).
    pub events_local: Option<MemoryEvents>,
    /// v2: how often swap's limits were met.
    pub swap_events: Option<SwapEvents>,
    /// Time lost by waiting for memory.
    pub pressure: Option<Pressure>,
}

/// What is counted and limited in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryCounter {
    /// Used now.
    pub usage: Option<u64>,
    /// Used at most (v2: since Linux 5.19, swap since 6.5).
    pub max_usage: Option<u64>,
    /// v1: how often the limit was met.
    pub failcnt: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
}

/// v1's `memory.oom_control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OomControl {
    /// 1 if the OOM killer is switched off: what needs memory waits.
    pub oom_kill_disable: u64,
    /// 1 while something waits for memory.
    pub under_oom: u64,
    /// How many processes the OOM killer has killed (since Linux 4.13).
    pub oom_kill: u64,
}

/// v2's `memory.events`: how often something happened (kernel doc cgroup-v2.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MemoryEvents {
    /// Memory was reclaimed though it was under the low boundary.
    pub low: u64,
    /// Processes were throttled to reclaim, since the high boundary was exceeded.
    pub high: u64,
    /// The limit was about to be exceeded.
    pub max: u64,
    /// The limit was met and an allocation was about to fail.
    pub oom: u64,
    /// Processes killed by any OOM killer.
    pub oom_kill: u64,
    /// All processes were killed together, for `memory.oom.group` (since Linux 5.17).
    pub oom_group_kill: u64,
}

/// v2's `memory.swap.events`: how often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SwapEvents {
    /// The high threshold was exceeded (since Linux 5.8).
    pub high: u64,
    /// The limit was about to be exceeded.
    pub max: u64,
    /// Swap could not be had, by the limit or because the host has no more.
    pub fail: u64,
}

/// Numbers of tasks: processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PidsStats {
    /// Now.
    pub current: Option<u64>,
    /// How many there may be.
    pub limit: Option<u64>,
    /// At most so far.
    pub peak: Option<u64>,
    /// How often the limit refused one.
    pub max_events: Option<u64>,
}

/// Block devices. On v1 which of these there are depends on the I/O scheduler; `service_bytes` and `serviced` there always
/// are. On v2 these two, and the four of the `iocost` controller where it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IoStats {
    /// Bytes transferred.
    pub service_bytes: Vec<IoEntry>,
    /// Requests done.
    pub serviced: Vec<IoEntry>,
    /// Requests waiting now.
    pub queued: Vec<IoEntry>,
    /// Time between dispatch and completion, in nanoseconds.
    pub service_time: Vec<IoEntry>,
    /// Time spent in the scheduler's queues, in nanoseconds.
    pub wait_time: Vec<IoEntry>,
    /// Requests merged into others.
    pub merged: Vec<IoEntry>,
    /// Time that it had the disk, in milliseconds.
    pub time: Vec<IoEntry>,
    /// Sectors transferred.
    pub sectors: Vec<IoEntry>,
    /// v2 `cost.usage`: device time used, in microseconds.
    pub cost_usage: Vec<IoEntry>,
    /// v2 `cost.wait`: time waited for a share, in microseconds.
    pub cost_wait: Vec<IoEntry>,
    /// v2 `cost.indebt`: time in debt, in microseconds.
    pub cost_indebt: Vec<IoEntry>,
    /// v2 `cost.indelay`: time delayed for debt, in microseconds.
    pub cost_indelay: Vec<IoEntry>,
    /// Time lost by waiting for devices.
    pub pressure: Option<Pressure>,
}

/// One number of one block device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IoEntry {
    /// The device's major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// What kind of requests: `Read`, `Write`, and on v1 `Sync`, `Async`, `Discard`, `Total`; `Count` for costs; empty if
    /// the file does not tell them apart.
    pub op: String,
    /// The number.
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HugetlbStats {
    /// Pages in use.
    pub used: HugetlbCounter,
    /// Pages reserved, in use or not (since Linux 5.7).
    pub reserved: HugetlbCounter,
}

/// What is counted and limited of huge pages, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HugetlbCounter {
    /// Now.
    pub usage: Option<u64>,
    /// v1: at most so far.
    pub max_usage: Option<u64>,
    /// How often the limit refused some.
    pub failcnt: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
}

/// RDMA devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RdmaStats {
    /// In use.
    pub current: Vec<RdmaEntry>,
    /// Allowed.
    pub limit: Vec<RdmaEntry>,
}

/// One RDMA device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RdmaEntry {
    /// Its name, such as `mlx4_0`.
    pub device: String,
    /// Handles; `u32::MAX` for any number.
    pub hca_handles: u32,
    /// Objects; `u32::MAX` for any number.
    pub hca_objects: u32,
}

/// One resource of v2's `misc`, in a unit of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MiscStats {
    /// In use.
    pub usage: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
    /// How often the limit was about to be exceeded.
    pub events: Option<u64>,
}
