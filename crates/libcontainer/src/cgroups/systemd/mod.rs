//! The systemd cgroup driver: a transient unit for each container, whose cgroup systemd makes, watches and removes.
//!
//! It decorates the file-system driver: the unit's properties say the limits to systemd, so that it keeps to them
//! whenever it writes them anew (`daemon-reload`), and the same files are then written here in full, for what systemd
//! has no property for.
//!
//! | file | what |
//! |---|---|
//! | `plan` | the unit, and where its cgroup is |
//! | `name` | `slice:prefix:name` |
//! | `properties`, `unified`, `devices` | `linux.resources` as properties |
//! | `change` | what systemd is told of an update |
//! | `annotations`, `gvariant` | `org.systemd.property.*` |
//! | `unit` | starts, changes and stops the unit |
//! | `placeholder` | the process that a scope is started with |

mod annotations;
mod change;
mod devices;
mod gvariant;
mod name;
mod placeholder;
mod plan;
mod properties;
mod unified;
mod unit;

#[cfg(test)]
mod kernel_tests;

pub use change::UnitChange;
pub use plan::{UnitPlan, plan_unit};
pub use properties::{Property, unit_properties};
pub use unit::Unit;

pub(super) use change::plan_change;
pub(super) use placeholder::Placeholder;
pub(in crate::cgroups) use properties::round_quota;
pub(super) use unit::Started;
