//! The maps of a user namespace that exists already: what they are the kernel tells of a process in it only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::detached::Holder;
use super::plan::UsernsPlan;
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::host::HostProc;
use crate::spec::IdMapping;
use crate::sys::clone::visit;

/// Reads them as this process sees them, through one that goes in and ends.
///
/// # Errors
/// If the namespace is this process's own, or one in which it has no privileges.
pub fn maps_of(namespace: BorrowedFd<'_>, proc: &HostProc) -> Result<UsernsPlan> {
    read(namespace, proc).during(Phase::Namespaces)
}

fn read(namespace: BorrowedFd<'_>, proc: &HostProc) -> Result<UsernsPlan> {
    // Were it ignored, which a caller may have passed on, nothing of the process would be left to be read.
    crate::sys::signal::reset(libc::SIGCHLD);
    let (pid, pidfd) = visit(namespace, libc::CLONE_NEWUSER as u64).sys("clone3", "a process to join with")?;
    let holder = Holder(pidfd);
    match status(&holder.0)? {
        0 => Ok(UsernsPlan::new(map(proc, pid, "uid_map")?, map(proc, pid, "gid_map")?)),
        number => {
            let errno = Errno::from_raw_os_error(number);
            let error = Error::system("setns", "user", errno);
            Err(match errno {
                Errno::INVAL => error
                    .cause("it is the user namespace that the runtime is in")
                    .remedy("remove the user namespace from linux.namespaces"),
                Errno::PERM => error.cause("it takes CAP_SYS_ADMIN in it"),
                _ => error,
            })
        }
    }
}

/// What the process ended with; it is not collected yet.
fn status(pidfd: &OwnedFd) -> Result<i32> {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let ended = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), ended));
    let ended = ended.sys("waitid", "the process that joins")?;
    ended
        .and_then(|ended| ended.exit_status())
        .ok_or_else(|| Error::system("waitid", "the process that joins", Errno::CHILD))
}

fn map(proc: &HostProc, pid: Pid, file: &str) -> Result<Vec<IdMapping>> {
    parse(&proc.read_of(pid.as_raw_pid(), file)?)
        .ok_or_else(|| Error::unsupported(format!("{file} of a user namespace is not what user_namespaces(7) says")))
}

/// The lines of /proc/PID/uid_map.
pub(crate) fn parse(text: &str) -> Option<Vec<IdMapping>> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next().and_then(|number| number.ok());
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    text.lines().map(range).collect()
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags, open};

    use super::super::detached;
    use super::*;
    use crate::testing::is_root;

    #[test]
    fn the_maps_are_those_that_were_written() {
        if !is_root("the_maps_are_those_that_were_written") {
            return;
        }
        let proc = HostProc::open().expect("/proc");
        let map =
            |from: u32| (0..6).map(|i| IdMapping { container_id: 10 * i, host_id: from + 20 * i, size: 3 }).collect();
        let plan = UsernsPlan::new(map(1000), map(70_000));
        let namespace = detached(&plan).expect("namespace");
        assert_eq!(maps_of(namespace.as_fd(), &proc).expect("maps"), plan);
        let own = open("/proc/self/ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("own");
        let error = maps_of(own.as_fd(), &proc).expect_err("own").to_string();
        assert!(error.contains("the user namespace that the runtime is in"), "{error}");
    }
}
