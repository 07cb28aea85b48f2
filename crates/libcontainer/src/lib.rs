//! libcontainer turns an OCI bundle into a container.
//!
//! Two ideas carry it. **Plan, then act**: [`plan`] makes every decision from the spec and facts about the host, as
//! plain data; the `apply` modules carry plans out. **Descriptors, not paths**: whatever a container could redirect is
//! opened once, checked on the descriptor and used through it.
//!
//! The layers, from the bottom; imports only go down, and domains never import each other:
//!
//! | layer | modules |
//! |---|---|
//! | L5 lifecycle | [`container`] |
//! | L4 processes | [`process`] |
//! | L3 the whole plan | [`plan`]; [`features`], what plans can be of |
//! | L2 domains | [`namespaces`], [`netdev`], [`userns`], [`rootfs`], [`cgroups`], [`seccomp`], [`capabilities`], [`lsm`], [`attributes`], [`sysctl`], [`hooks`], [`terminal`], [`intel_rdt`] |
//! | L1 basics | [`host`], [`paths`], [`dbus`], [`error`], [`spec`] |
//! | L0 system calls | `sys`, the only `unsafe` |

#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod attributes;
pub mod capabilities;
pub mod cgroups;
pub mod container;
pub mod dbus;
pub mod error;
pub mod features;
pub mod hooks;
pub mod host;
pub mod intel_rdt;
pub mod lsm;
pub mod namespaces;
pub mod netdev;
pub mod paths;
pub mod plan;
pub mod process;
pub mod rootfs;
pub mod seccomp;
pub mod spec;
pub mod sysctl;
pub mod terminal;
pub(crate) mod tree;
pub mod userns;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod sys;
#[cfg(test)]
mod testing;

pub use error::{Error, Result};
