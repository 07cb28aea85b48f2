//! Intel RDT: a class of service (a group of resctrl) that says how much cache and memory bandwidth processes get, and a
//! group that measures it (config-linux.md "IntelRdt").

mod apply;
mod plan;
mod schemata;
mod stats;

pub use apply::{Changed, RdtGroup};
pub use plan::{NewSchemata, RdtPlan, group_name, plan, plan_update};
pub use stats::{BandwidthStats, CacheStats, L3CacheInfo, MemBwInfo, RdtStats};
