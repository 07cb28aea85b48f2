//! A user namespace of the container's own: which ids of the host its ids are (config-linux.md "User namespace mappings").

mod apply;
mod detached;
mod plan;

pub use apply::{become_root, write_maps};
pub use detached::detached;
pub use plan::{UsernsPlan, check_map, plan};
