//! Seccomp: which system calls the container's process may make (config-linux.md "Seccomp").
//!
//! [`plan`] checks the profile, [`compile`] turns it into a BPF program, [`load`] puts that over the calling thread.
//! Only the last must happen in the container's process; a [`Filter`] crosses over as bytes. Where an agent is to be asked
//! (SCMP_ACT_NOTIFY), [`hand_over`] gives it the listener that loading gave.

mod agent;
mod annotated;
mod apply;
mod cache;
mod compile;
mod enosys;
mod filter;
mod listener;
mod names;
mod plan;
mod raw;
mod validate;

pub use agent::hand_over;
pub use annotated::plan_annotated;
pub use apply::load;
pub use cache::compile_cached;
pub use compile::compile;
pub use compile::library_version;
pub use filter::Filter;
pub use listener::Listener;
pub use names::{KNOWN_ACTIONS, KNOWN_ARCHS, KNOWN_FLAGS, KNOWN_OPERATORS};
pub use plan::{Action, Condition, Operator, Rule, SeccompPlan, plan};
#[cfg(any(test, fuzzing))]
pub(crate) use validate::is_loadable;

#[cfg(test)]
mod default_profile;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;
