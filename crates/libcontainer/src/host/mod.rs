//! Facts about this machine, read once and handed to the planners, which therefore need no system call.

mod cgroups;
mod proc;

pub use cgroups::{CgroupFacts, Hierarchy};
pub use proc::HostProc;

use serde::{Deserialize, Serialize};

use crate::error::{Result, SysContext};

/// What the planners need to know of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The runtime's effective user id.
    pub euid: u32,
    /// The highest capability number that this kernel knows (`/proc/sys/kernel/cap_last_cap`).
    pub last_capability: u32,
    /// Whether the AppArmor security module is active.
    pub apparmor: bool,
    /// Whether the SELinux security module is active.
    pub selinux: bool,
    /// How control groups are laid out here.
    pub cgroups: CgroupFacts,
}

impl HostFacts {
    /// Reads them.
    ///
    /// # Errors
    /// If /proc is not what proc(5) says.
    pub fn gather() -> Result<HostFacts> {
        Ok(HostFacts {
            euid: rustix::process::geteuid().as_raw(),
            last_capability: last_capability()?,
            apparmor: std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y")),
            selinux: std::path::Path::new("/sys/fs/selinux/enforce").exists(),
            cgroups: CgroupFacts::gather()?,
        })
    }
}

fn last_capability() -> Result<u32> {
    let path = "/proc/sys/kernel/cap_last_cap";
    let text = std::fs::read_to_string(path).sys("read", path)?;
    text.trim().parse().map_err(|_| crate::Error::unsupported(format!("{path} holds no number but {text:?}")))
}
