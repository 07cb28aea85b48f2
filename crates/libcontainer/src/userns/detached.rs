//! A user namespace that no process lives in: maps for idmapped mounts.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use super::apply::write_maps;
use super::plan::UsernsPlan;
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::host::HostProc;
use crate::sys::clone::hold;

/// Makes it; it lives as long as the descriptor, or the mounts that are mapped by it.
///
/// # Errors
/// If user namespaces cannot be had here, or the maps are not the caller's to write.
pub fn detached(plan: &UsernsPlan) -> Result<OwnedFd> {
    make(plan).during(Phase::Namespaces)
}

fn make(plan: &UsernsPlan) -> Result<OwnedFd> {
    let (pid, pidfd) = hold(libc::CLONE_NEWUSER as u64).map_err(|errno| {
        let error = Error::system("clone3", "CLONE_NEWUSER", errno);
        if errno == Errno::NOSPC { error.cause("/proc/sys/user/max_user_namespaces is reached") } else { error }
    })?;
    let _holder = Holder(pidfd);
    write_maps(plan, pid.as_raw_pid(), &HostProc::open()?)?;
    open_namespace(pid)
}

#[allow(clippy::disallowed_methods, reason = "the host's /proc")]
fn open_namespace(pid: Pid) -> Result<OwnedFd> {
    let path = format!("/proc/{}/ns/user", pid.as_raw_pid());
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).sys("open", path)
}

/// A process in the namespace, which is needed only until somebody else holds that, or has read of it.
pub(super) struct Holder(pub(super) OwnedFd);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| {
            waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&self.0)), WaitIdOptions::EXITED)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::spec::IdMapping;
    use crate::testing::is_root;

    #[test]
    fn a_namespace_outlives_its_process() {
        if !is_root("a_namespace_outlives_its_process") {
            return;
        }
        let map = |host_id| vec![IdMapping { container_id: 0, host_id, size: 10 }];
        let plan = UsernsPlan::new(map(1000), map(2000));
        let namespace = detached(&plan).expect("namespace");
        assert_eq!(crate::sys::namespace::kind_of(namespace.as_fd()), Ok(libc::CLONE_NEWUSER as u64));
        let own =
            rustix::fs::fstat(rustix::fs::open("/proc/self/ns/user", OFlags::RDONLY, Mode::empty()).expect("open"));
        assert_ne!(rustix::fs::fstat(&namespace).expect("stat").st_ino, own.expect("stat").st_ino);
        // A map that the kernel refuses is told.
        let error = detached(&UsernsPlan::new(vec![], map(1))).expect_err("empty").to_string();
        assert!(error.contains("uid_map"), "{error}");
    }
}
