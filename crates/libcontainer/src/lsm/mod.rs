//! Security module labels: the AppArmor profile or SELinux label that the payload is executed with.

mod apply;
mod plan;

pub use apply::{label_next_exec, labelling_keys};
pub use plan::{LsmPlan, plan};
