//! The process that a scope is started with.
//!
//! systemd makes a scope for processes that exist, and ends it when they are gone; the container's own is to be born in
//! the scope's cgroup, with its limits in force. So a process that only sleeps holds the scope open until then.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::error::{Result, SysContext};
use crate::sys::clone::{CloneArgs, Cloned, SingleThreaded, clone3, exit_now};
use crate::sys::fd::close_all_but;

/// A sleeping child of this process; killed and collected when dropped, and killed with its parent.
#[derive(Debug)]
pub(crate) struct Placeholder {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Placeholder {
    pub(super) fn start() -> Result<Placeholder> {
        let parent = rustix::process::getpid();
        let proof = prove().sys("stat", "/proc/self/task: the caller of libcontainer must have one thread")?;
        match clone3(&proof, CloneArgs::default()).sys("clone3", "the scope's first process")? {
            Cloned::Child(_) => {
                // System calls only, here and in the loop: none of them takes memory or a lock.
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                if rustix::process::getppid() != Some(parent) {
                    exit_now(1);
                }
                // What is typed at a terminal is meant for the runtime, which decides what becomes of this process.
                let _ = rustix::process::setsid();
                let _ = close_all_but(-1, &[], crate::host::own_descriptors);
                loop {
                    let _ = rustix::event::poll(&mut [], None);
                }
            }
            Cloned::Parent(pid, pidfd) => Ok(Placeholder { pid, pidfd }),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }
}

#[cfg(not(test))]
fn prove() -> Result<SingleThreaded, rustix::io::Errno> {
    SingleThreaded::prove()
}

/// Tests have threads; the clone does nothing that they could disturb.
#[cfg(test)]
fn prove() -> Result<SingleThreaded, rustix::io::Errno> {
    Ok(SingleThreaded::pretend())
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
        });
    }
}
