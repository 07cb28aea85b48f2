//! Finding and signalling all processes of a container.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, Kind, Phase, Result, SysContext};
use crate::host::describe_process;
use crate::sys::signal;

use super::freezer::timespec;
use super::{Cgroup, dir};

/// How long killed processes may take to be gone. What takes longer hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one round waits for those that it has killed before it looks for new ones.
const ROUND: Duration = Duration::from_secs(1);

/// The round in which processes are frozen before they are listed: they fork faster than they can be killed.
const FREEZING_ROUND: u32 = 3;

/// How often processes that are new are sent a signal that is not SIGKILL: it need not end them, nor keep them from
/// forking for ever.
const SIGNALLING_ROUNDS: u32 = 10;

/// How many processes are held by descriptors at a time; far fewer than a process may have open.
const BATCH: usize = 256;

impl Cgroup {
    /// The pids, as this PID namespace numbers them, of all processes in the container's cgroup and its sub-cgroups,
    /// sorted; none if the cgroup is gone.
    ///
    /// # Errors
    /// [`Kind::System`] if the cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>> {
        self.main().map_or(Ok(Vec::new()), pids_below).map_err(|error| error.during(Phase::Cgroup))
    }

    /// Sends `signal` to every process, and with SIGKILL returns when all are gone, thawing them if need be. Otherwise
    /// nothing is frozen or thawed: that is for `pause` and `resume`, which may be at work beside.
    ///
    /// # Errors
    /// [`Kind::System`] if a process may not be signalled, or is still there ten seconds after it was killed.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        let sent = if signal == libc::SIGKILL { self.end_all() } else { self.signal_all(signal) };
        sent.map_err(|error| error.during(Phase::Kill))
    }

    fn signal_all(&self, signal: i32) -> Result<()> {
        let mut reached = BTreeSet::new();
        // What was forked before its parent got the signal is found in the next round.
        for _ in 0..SIGNALLING_ROUNDS {
            let new: Vec<i32> = self.pids()?.into_iter().filter(|pid| reached.insert(*pid)).collect();
            if new.is_empty() {
                break;
            }
            new.chunks(BATCH).try_for_each(|batch| self.signal(batch, signal).map(drop))?;
        }
        Ok(())
    }

    fn end_all(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        // Since Linux 5.14, all at once. On a hybrid host what is not in the v2 cgroup is left to what follows.
        if let Some(path) = self.dirs().get("") {
            let _ = dir::open(path).and_then(|directory| dir::write(directory.as_fd(), "cgroup.kill", "1"));
        }
        for round in 0.. {
            let stopped = round >= FREEZING_ROUND && self.freeze().is_ok();
            let pids = self.pids()?;
            for batch in pids.chunks(BATCH) {
                let killed = self.signal(batch, libc::SIGKILL);
                // A frozen process dies when it is thawed (on v1); it may have been frozen before we came.
                let thawed = self.thaw();
                wait(&killed?, (Instant::now() + ROUND).min(deadline));
                thawed.or_else(
                    |error| if dir::is_gone(error.errno().unwrap_or(Errno::IO)) { Ok(()) } else { Err(error) },
                )?;
            }
            let Some(first) = pids.first() else {
                return if stopped { self.thaw() } else { Ok(()) };
            };
            if Instant::now() >= deadline {
                let stuck = describe_process(*first);
                let what = format!("{stuck} is still there {} seconds after SIGKILL", PATIENCE.as_secs());
                return Err(Error::new(Kind::System, what)
                    .cause("it hangs in the kernel")
                    .remedy(format!("see /proc/{first}/stack, and try again when what it waits for is over")));
            }
            if round > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Signals those of `pids` that are in the container; gives their pidfds.
    ///
    /// A pid may have passed on to a stranger since it was listed. So each is held by a pidfd first and then has to be
    /// in the list again: it is then the same process, or one that is gone and gets nothing.
    fn signal(&self, pids: &[i32], signal: i32) -> Result<Vec<OwnedFd>> {
        let mut held = Vec::with_capacity(pids.len());
        for pid in pids {
            match Pid::from_raw(*pid).ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty())) {
                // EINVAL: a thread of a threaded cgroup, whose process has a line of its own or dies by the others.
                Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => {}
                pidfd => held.push((*pid, pidfd.sys("pidfd_open", pid)?)),
            }
        }
        let still = self.pids()?;
        held.retain(|(pid, _)| still.binary_search(pid).is_ok());
        for (pid, pidfd) in &held {
            match signal::pidfd_send(pidfd.as_fd(), signal) {
                Err(Errno::SRCH) => {}
                sent => sent.sys("pidfd_send_signal", format!("process {pid}, signal {signal}"))?,
            }
        }
        Ok(held.into_iter().map(|(_, pidfd)| pidfd).collect())
    }
}

/// Waits until the processes have ended; whether they have, the next listing tells.
fn wait(pidfds: &[OwnedFd], deadline: Instant) {
    for pidfd in pidfds {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timespec(left))) {
                Err(Errno::INTR) => {}
                _ => break,
            }
        }
    }
}

/// As [`Cgroup::pids`], for one hierarchy.
pub(super) fn pids_below(path: &Path) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    let list = |directory: std::os::fd::BorrowedFd<'_>| {
        pids.append(&mut dir::processes(directory)?);
        Ok(())
    };
    match dir::open(path).and_then(|directory| dir::walk(directory.as_fd(), list, |_, _| Ok(()))) {
        Err(errno) if !dir::is_gone(errno) => return Err(Error::system("read", path.display(), errno)),
        _ => {}
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}
