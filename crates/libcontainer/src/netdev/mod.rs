//! Network devices of the host that are moved into the container's network namespace (config-linux.md "Network Devices").
//!
//! They are the namespace's from then on: when it ends, the kernel destroys virtual ones and gives physical ones back. If the container does not come to be, we bring them all back.

mod apply;
mod plan;
mod rtnetlink;

pub use apply::{Moved, move_all};
pub use plan::{NetDevicePlan, plan};
