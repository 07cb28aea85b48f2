//! Kernel parameters of the container's namespaces (config-linux.md "Sysctl").
//!
//! They are written through the host's /proc, opened before the container's root is entered: a /proc inside it may be
//! anything (CVE-2019-16884, CVE-2025-52881). The kernel shows each thread its own namespaces' values there.

mod apply;
mod plan;

pub use apply::apply;
pub use plan::{Owned, SysctlPlan, SysctlWrite, plan};
