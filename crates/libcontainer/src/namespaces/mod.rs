//! Which namespaces a container gets, makes or joins (config-linux.md "Namespaces").

mod apply;
mod aside;
mod plan;

pub use apply::{OpenNamespace, bring_up_loopback, join_all_but, join_of, open, unshare};
pub use aside::with_mounts_aside;
pub use plan::{Join, Kind, NamespacesPlan, plan};
