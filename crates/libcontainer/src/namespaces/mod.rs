//! Which namespaces a container gets, makes or joins (config-linux.md "Namespaces").

#![allow(
    clippy::disallowed_methods,
    reason = "paths of namespaces are the host's, and what is opened is checked to be one"
)]

mod apply;
mod aside;
mod plan;
mod time;

pub use apply::{OpenNamespace, bring_up_loopback, join, join_all_of, open, unshare};
pub use aside::{with_mounts_aside, with_mounts_of};
pub use plan::{Join, Kind, NamespacesPlan, plan};
pub use time::{OwnTime, TimePlan, enter_time, make_time, plan_time};
