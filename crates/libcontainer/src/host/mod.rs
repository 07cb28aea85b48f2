//! Facts about this machine, read once and handed to the planners, which therefore need no system call.

#![allow(clippy::disallowed_methods, reason = "facts are read from the host's own /proc and /sys")]

mod cgroups;
mod file;
mod identity;
mod proc;
mod process;
mod resctrl;
pub mod socket;
mod systemd;

pub use cgroups::{CgroupFacts, Delegation, Hierarchy};
pub use identity::{all_users_in, in_user_namespace, user_name};
pub use proc::HostProc;
pub use process::describe_process;
pub use resctrl::{Resctrl, ResctrlFacts};
pub use systemd::SystemdFacts;

pub(crate) use file::{read_all, read_file};

use std::os::fd::RawFd;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Result, SysContext};

/// The numbers of this process's open descriptors, by its own /proc.
pub fn own_descriptors() -> Result<Vec<RawFd>, Errno> {
    HostProc::open().map_err(|error| error.errno().unwrap_or(Errno::NOSYS))?.own_descriptors()
}

/// What the planners need to know of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// What bears on a single process.
    pub process: ProcessFacts,
    /// How control groups are laid out here.
    pub cgroups: CgroupFacts,
    /// The manager of units, if it is to make the container's cgroup.
    pub systemd: Option<SystemdFacts>,
    /// resctrl, if the container is to have a class of service in it and it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<ResctrlFacts>,
}

/// What bears on a single process: all that `exec` needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// The runtime's effective user id.
    pub euid: u32,
    /// Its effective group id.
    #[serde(default)]
    pub egid: u32,
    /// Whether it is in a user namespace other than the host's: root there is not the host's.
    #[serde(default)]
    pub user_namespace: bool,
    /// The highest capability number that this kernel knows (`/proc/sys/kernel/cap_last_cap`).
    pub last_capability: u32,
    /// Whether the AppArmor security module is active.
    pub apparmor: bool,
    /// Whether the SELinux security module is active.
    pub selinux: bool,
}

impl HostFacts {
    /// Reads them, and, if it is to make the container's cgroup, asks `systemd`. `rootless`: whether a container may do
    /// without cgroups that the runtime may not make; where nothing is said, it may unless the host's root runs this. Only
    /// who has a class of service in mind looks at resctrl ([`Resctrl::facts`]).
    ///
    /// # Errors
    /// If /proc is not what proc(5) says, or there is no systemd to be asked.
    pub fn gather(systemd: bool, rootless: Option<bool>) -> Result<HostFacts> {
        let process = ProcessFacts::gather()?;
        let mut cgroups = CgroupFacts::gather()?;
        if process.is_rootless() || rootless == Some(true) {
            cgroups.find_delegated(rootless.unwrap_or(true), process.is_rootless());
        }
        let systemd = systemd.then(|| SystemdFacts::gather(&cgroups)).transpose()?;
        Ok(HostFacts { process, cgroups, systemd, resctrl: None })
    }
}

impl ProcessFacts {
    /// Whether this is not the host's root, to whom alone the kernel grants some of what a container may be given.
    pub fn is_rootless(&self) -> bool {
        self.euid != 0 || self.user_namespace
    }

    /// Reads them.
    ///
    /// # Errors
    /// If /proc is not what proc(5) says.
    pub fn gather() -> Result<ProcessFacts> {
        Ok(ProcessFacts {
            euid: rustix::process::geteuid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
            user_namespace: in_user_namespace(),
            last_capability: last_capability()?,
            apparmor: read_file("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y")),
            selinux: rustix::fs::access(c"/sys/fs/selinux/enforce", rustix::fs::Access::EXISTS).is_ok(),
        })
    }
}

fn last_capability() -> Result<u32> {
    let path = "/proc/sys/kernel/cap_last_cap";
    let text = read_file(path).sys("read", path)?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| crate::Error::unsupported(format!("{path} holds no number")))
}
