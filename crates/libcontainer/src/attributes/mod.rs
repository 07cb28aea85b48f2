//! The attributes of a process: resource limits, OOM score, user and groups, umask, scheduling, memory policy, personality.

mod apply;
mod apply_scheduling;
mod plan;
mod plan_memory;
mod plan_scheduling;
mod user;

pub use apply::{become_user, limit, own_stdio, score_own};
pub use apply_scheduling::{move_back, move_to_initial, run_on, set_execution_domain};
pub use plan::{AttributesPlan, Limit, plan};
pub use plan_memory::{MemoryPolicyPlan, known_memory_flags, known_memory_modes};
pub use plan_scheduling::{Cpus, SchedulerPlan, SchedulingPlan};
pub use user::home_of;
