//! A user namespace of the container's own: which ids of the host its ids are (config-linux.md "User namespace mappings").

mod apply;
mod plan;

pub use apply::{become_root, write_maps};
pub use plan::{UsernsPlan, plan};
