//! Which namespaces a container gets, makes or joins (config-linux.md "Namespaces").

mod apply;
mod plan;

pub use apply::{OpenNamespace, bring_up_loopback, join_all_but, join_of, open, unshare};
pub use plan::{Join, Kind, NamespacesPlan, plan};
