//! Is that process still the one that was meant, what is it doing, and how did it end?

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::error::{Error, Result, SysContext};
use crate::host::read_file;

/// A cloned process has this flag until it executes something (`PF_FORKNOEXEC` of linux/sched.h, the ninth field of
/// proc_pid_stat(5)): a container whose init has it is created, without it is running. The kernel keeps the status, so
/// there is none of ours that a crash could leave wrong.
const PF_FORKNOEXEC: u64 = 0x40;

/// How long a process may take to die of SIGKILL before it is given up.
pub const DEATH_LIMIT: Duration = Duration::from_secs(10);

/// What /proc/PID/stat tells of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// When it started, in clock ticks after boot: with the pid, its identity.
    pub start_time: u64,
    /// Whether it has executed something since it was cloned.
    pub has_executed: bool,
    /// Whether it has exited and only its status is left.
    pub is_dead: bool,
}

/// Reads the stat of `pid`; `None` if there is no such process.
pub fn stat(pid: i32) -> Option<ProcessStat> {
    parse_stat(std::str::from_utf8(&read_file(format!("/proc/{pid}/stat")).ok()?).ok()?)
}

/// proc_pid_stat(5): the second field is in parentheses and may hold anything, parentheses and spaces among it.
fn parse_stat(text: &str) -> Option<ProcessStat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(ProcessStat {
        start_time: number(22)?,
        has_executed: number(9)? & PF_FORKNOEXEC == 0,
        is_dead: matches!(fields.first(), Some(&("Z" | "X" | "x"))),
    })
}

/// Opens a pidfd of the process that had `pid` and `start_time`; `None` if it is gone, even if its pid is in use again.
pub fn open_process(pid: i32, start_time: u64) -> Result<Option<OwnedFd>> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
    let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        // EINVAL: it is being collected at this moment, so that the number stands for no process any more.
        Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
        other => other.sys("pidfd_open", pid)?,
    };
    // Checked after the pidfd was opened: from here on the pid cannot change its owner unnoticed.
    let same = stat(pid).is_some_and(|stat| stat.start_time == start_time && !stat.is_dead);
    Ok(same.then_some(pidfd))
}

/// Waits until the process of `pidfd` has ended, no longer than `limit`; whether it has.
pub fn wait_for_end(pidfd: BorrowedFd<'_>, limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut watched = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut watched, Some(&timeout)) {
            Err(Errno::INTR) => continue,
            other => return other.sys("poll", "pidfd").map(|ready| ready > 0),
        }
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// Collects a child of this process; blocks until it has ended.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Ended> {
    collect(pidfd, WaitIdOptions::EXITED)?
        .ok_or_else(|| Error::system("waitid", "the container's process", Errno::CHILD))
}

/// Collects a child of this process if it has ended.
pub fn try_reap(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>> {
    collect(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

fn collect(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Ended>> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            Err(Errno::INTR) => continue,
            other => {
                let status = other.sys("waitid", "the container's process")?;
                return Ok(status.and_then(|status| match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Some(Ended::Exited(code)),
                    (None, signal) => signal.map(Ended::Killed),
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_process_name_does_not_confuse_the_fields() {
        let text = "7 (a) R 1 (b) S 1 7 7 0 -1 4194368 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let stat = parse_stat(text).expect("valid");
        assert_eq!(stat, ProcessStat { start_time: 12345, has_executed: false, is_dead: false });
    }

    #[test]
    fn this_process_is_found_by_pid_and_start_time_only() {
        let pid = rustix::process::getpid().as_raw_pid();
        let own = stat(pid).expect("alive");
        assert!(own.has_executed && !own.is_dead);
        assert!(open_process(pid, own.start_time).expect("open").is_some());
        assert!(open_process(pid, own.start_time + 1).expect("open").is_none());
    }

    #[test]
    fn a_child_is_seen_to_end() {
        let mut child = std::process::Command::new("/bin/sh").args(["-c", "kill -9 $$"]).spawn().expect("sh");
        let pid = Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("pidfd");
        assert!(wait_for_end(pidfd.as_fd(), Duration::from_secs(10)).expect("poll"));
        assert_eq!(reap(pidfd.as_fd()).expect("reap"), Ended::Killed(9));
        assert!(child.wait().is_err(), "it was collected by its pidfd");
    }
}
