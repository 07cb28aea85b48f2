//! The plain attributes of a process: resource limits, OOM score, user and groups, umask.

mod apply;
mod plan;
mod user;

pub use apply::{become_user, limit, own_stdio};
pub use plan::{AttributesPlan, Limit, plan};
pub use user::home_of;
