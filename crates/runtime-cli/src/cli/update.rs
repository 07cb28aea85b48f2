//! The flags of `update`.

use std::path::PathBuf;

use clap::Args;

use super::path;

/// `update`. Values are parsed by the command, which knows what an empty one means.
#[derive(Debug, Default, Args)]
pub struct Update {
    /// Take them from this file, or stdin if it is -, as JSON like config.json's linux.resources, and ignore other flags
    #[arg(long, short, value_name = "path", value_parser = path())]
    pub resources: Option<PathBuf>,
    /// The weight for block I/O, 10 to 1000
    #[arg(long, value_name = "weight")]
    pub blkio_weight: Option<String>,
    /// The period, in microseconds, in which the processes may use the CPU quota
    #[arg(long, value_name = "us")]
    pub cpu_period: Option<String>,
    /// CPU time in each period, in microseconds; -1 for any
    #[arg(long, value_name = "us")]
    pub cpu_quota: Option<String>,
    /// Unused CPU time that may be used in a later period, in microseconds
    #[arg(long, value_name = "us")]
    pub cpu_burst: Option<String>,
    /// The weight for CPU time, 2 to 262144
    #[arg(long, value_name = "shares")]
    pub cpu_share: Option<String>,
    /// The period of the real-time CPU quota, in microseconds (cgroup v1)
    #[arg(long, value_name = "us")]
    pub cpu_rt_period: Option<String>,
    /// Real-time CPU time in each such period, in microseconds (cgroup v1)
    #[arg(long, value_name = "us")]
    pub cpu_rt_runtime: Option<String>,
    /// 1: only CPU time that nobody else wants; 0: as usual
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<String>,
    /// CPUs to run on, such as 0-3,7
    #[arg(long, value_name = "list")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "list")]
    pub cpuset_mems: Option<String>,
    /// Memory limit in bytes, or with a unit such as 64M; -1 for none
    #[arg(long, value_name = "bytes")]
    pub memory: Option<String>,
    /// Memory that is kept when others want some, as --memory
    #[arg(long, value_name = "bytes")]
    pub memory_reservation: Option<String>,
    /// Limit of memory and swap together, as --memory; -1 for any swap
    #[arg(long, value_name = "bytes")]
    pub memory_swap: Option<String>,
    /// Ignored: the kernel has no such limit any more
    #[arg(long, value_name = "bytes", hide = true)]
    pub kernel_memory: Option<String>,
    /// Ignored: the kernel has no such limit any more
    #[arg(long, value_name = "bytes", hide = true)]
    pub kernel_memory_tcp: Option<String>,
    /// The number of processes and threads; -1 for any
    #[arg(long, value_name = "number")]
    pub pids_limit: Option<String>,
    /// What its class of service gets of the L3 cache, such as L3:0=ff;1=f (Intel RDT)
    #[arg(long, value_name = "schema")]
    pub l3_cache_schema: Option<String>,
    /// What its class of service gets of the memory bandwidth, such as MB:0=20;1=70 (Intel RDT)
    #[arg(long, value_name = "schema")]
    pub mem_bw_schema: Option<String>,
    /// The container
    #[arg(value_name = "container-id")]
    pub id: String,
}
