//! Capabilities (capabilities(7)): which of root's powers the container's process keeps.
//!
//! The init sequence calls, in this order: [`drop_bounding`], [`keep_across_setuid`]`(true)`, its change of user,
//! [`keep_across_setuid`]`(false)`, [`apply_after_setuid`].

mod apply;
mod plan;

pub use apply::{apply_after_setuid, drop_bounding, keep_across_setuid};
pub use plan::{CapabilityPlan, add, known, plan};
