//! The container's root filesystem: mounts, devices, masks, and becoming `/`.
//!
//! [`plan()`] decides everything and makes no system call. The rest runs in the container's init, a single-threaded
//! process in its new mount namespace, in three parts between which the caller runs hooks and makes the console:
//!
//! 1. [`prepare`]: propagation, the root as a mount, the mounts in the spec's order, devices and links;
//! 2. [`enter`]: pivot_root(2), or what was asked for in its place;
//! 3. [`finish`]: what must come last: read-only mounts, the read-only root, read-only and masked paths.
//!
//! Every mount is made detached, given its attributes, and only then attached to a target that was resolved to a
//! descriptor inside the root. So nobody can see it half made, and no path is walked twice.
//!
//! A mount that was made and not attached costs an RCU grace period (about a millisecond) when it is dropped; so
//! nothing is cloned before it is known to be needed.

mod apply;
mod bind;
mod cgroup;
mod devices;
mod idmap;
mod legacy;
mod live;
mod loop_device;
mod masks;
mod mount;
mod options;
mod pivot;
mod plan;
mod plan_cgroups;
mod plan_devices;
mod plan_idmap;
mod plan_label;
mod plan_mounts;
mod target;
#[cfg(test)]
mod tests;
mod tmpcopyup;

pub use apply::{Rootfs, enter, finish, prepare, prepare_with};
pub use bind::{HostTree, Outside, Sources};
pub use devices::open_null;
pub use idmap::{MapNamespaces, map_ids};
pub use live::{LiveMounts, detach};
pub use loop_device::LoopDevice;
pub use options::{Attributes, MOUNT_OPTIONS, Parameter, Propagation};
pub use plan::{Pivot, RootPropagation, RootfsInput, RootfsPlan, plan};
pub use plan_cgroups::{CgroupV1, HierarchyMount, HierarchySource};
pub use plan_devices::{DeviceKind, DeviceNode};
pub use plan_idmap::{IdMaps, Idmap, Maps};
pub use plan_mounts::{Action, Bind, Change, Filesystem, MountStep, Remount};
