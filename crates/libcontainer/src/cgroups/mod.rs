//! Control groups: where a container's processes are counted, limited, frozen and found.
//!
//! [`plan()`] decides, purely, where the directories are to be and what is to be written to them, on cgroup v1, v2 and
//! hybrid hosts; [`Cgroup::create`] carries that out and gives the [`Membership`] by which a new process gets in. What
//! is stored of it is a [`Cgroup`]: enough to add to it, list it, freeze it, kill it and remove it.
//!
//! | file | what |
//! |---|---|
//! | `plan` | the places, and which limit goes to which hierarchy |
//! | `v1`, `v2`, `common` | `linux.resources` as writes to files |
//! | `devices` | device rules as v1 lines and as a v2 program |
//! | `create`, `controllers`, `writer`, `delegate` | carries a plan out |
//! | `division` | crun's annotations for sub-cgroups |
//! | `undelegated` | what a caller cannot have to whom little or nothing was delegated |
//! | `update` | limits that change while the container lives |
//! | `membership` | how a process gets in |
//! | `freezer`, `kill`, `remove` | what can be done to all processes, and the end |
//! | `stats` | what has been used |
//! | `oom` | whether memory ran out: afterwards, and at once |
//! | `systemd` | the driver that has systemd make and watch the cgroup |
//! | `dir` | reading, writing and walking directories by descriptor |

#![allow(clippy::disallowed_methods, reason = "cgroup directories are the host's, and have no links")]

mod common;
mod controllers;
mod create;
mod delegate;
mod devices;
mod dir;
mod division;
mod freezer;
mod kill;
mod membership;
mod oom;
mod plan;
mod remove;
pub mod stats;
mod systemd;
mod undelegated;
mod update;
mod v1;
mod v2;
mod write;
mod writer;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod kernel_tests;

pub use devices::{DeviceAccess, DeviceKind, Devices, Instruction, Rule, tell_unknown_access};
pub use membership::Membership;
pub use oom::{OomSeen, OomWatch, OutOfMemory};
pub use plan::{CgroupPlan, HierarchyPlan, plan};
pub use systemd::{Property, Unit, UnitChange, UnitPlan, plan_unit, unit_properties};
pub use update::{MemoryCheck, UpdatePlan, Updated, plan_update};
pub use write::{CgroupWrite, IfMissing};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A container's cgroups: one directory in each hierarchy.
///
/// It is plain data for state.json. The directories are absolute paths into the host's cgroup mounts, which containers
/// cannot redirect: a cgroup file system has no symbolic links, and does not let a directory move to another parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    dirs: BTreeMap<String, PathBuf>,
    /// The systemd unit that they are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
    /// How many processes of an earlier user of the directories the kernel had killed for lack of memory.
    #[serde(default, skip_serializing_if = "is_none_killed")]
    killed_before: u64,
}

fn is_none_killed(count: &u64) -> bool {
    *count == 0
}

impl Cgroup {
    fn new(dirs: BTreeMap<String, PathBuf>) -> Cgroup {
        Cgroup { dirs, unit: None, killed_before: 0 }
    }

    /// The systemd unit that has these directories, if systemd's driver made it.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// Refuses what needs a cgroup, where the container has none.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](crate::error::Kind::Unsupported).
    pub fn require(&self) -> Result<()> {
        if !self.dirs.is_empty() {
            return Ok(());
        }
        Err(Error::unsupported("the container has no cgroup")
            .cause("none could be made by the user who made it, or there are none on this host")
            .remedy(undelegated::REMEDY))
    }

    /// The directories by hierarchy: the controllers joined by commas, or `name=systemd`, on v1; the empty key on v2.
    pub fn dirs(&self) -> &BTreeMap<String, PathBuf> {
        &self.dirs
    }

    /// The directory that has this controller: on v1 its own hierarchy's, else v2's.
    pub fn dir_of(&self, controller: &str) -> Option<&Path> {
        self.legacy_dir_of(controller).or_else(|| self.dirs.get("").map(PathBuf::as_path))
    }

    /// The directory in the v1 hierarchy of this controller.
    fn legacy_dir_of(&self, controller: &str) -> Option<&Path> {
        let legacy = self.dirs.iter().find(|(key, _)| key.split(',').any(|one| one == controller));
        legacy.map(|(_, dir)| dir.as_path())
    }

    /// The directory whose members are taken for the container's: v2's where there is nothing else, and otherwise that
    /// of the devices or freezer controller, which nobody moves processes out of (runc looks there as well).
    fn main(&self) -> Option<&Path> {
        let legacy = |controller: &str| self.dir_of(controller).filter(|dir| Some(*dir) != self.beside());
        legacy("devices").or_else(|| legacy("freezer")).or_else(|| {
            let (_, dir) = self.dirs.iter().find(|(key, _)| !key.is_empty()).or_else(|| self.dirs.iter().next())?;
            Some(dir.as_path())
        })
    }

    /// v2's directory, where it is only the companion of v1's (hybrid).
    fn beside(&self) -> Option<&Path> {
        self.dirs.get("").filter(|_| self.dirs.len() > 1).map(PathBuf::as_path)
    }
}
