//! The container's user namespace: which ids of the host its ids are (config-linux.md "User namespace mappings").

mod apply;
mod detached;
mod helper;
mod joined;
mod obstacles;
mod plan;

pub use apply::{become_root, write_maps};
pub use detached::detached;
pub use joined::maps_of;
#[cfg(any(test, fuzzing))]
pub(crate) use joined::parse as parse_map;
pub use obstacles::explain;
pub use plan::{Origin, UsernsPlan, Writer, Writers, check_map, plan};
