//! Hearing at once when a container runs out of memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::error::{During, Phase, Result, SysContext};

use super::oom::{self, MEMORY, V1_COUNTS, V2_COUNTS};
use super::{Cgroup, dir};

/// How long the kernel's own notice of a cgroup's removal is waited for, to tell it from one of lack of memory.
const REMOVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// A descriptor that becomes ready when the container runs out of memory, for a poll or epoll loop of the caller's.
///
/// From the moment that it is made nothing is lost: what happens before the first [`OomWatch::read`] is seen by it.
///
/// - v1: an eventfd, registered with `memory.oom_control` through `cgroup.event_control` (kernel doc
///   cgroup-v1/memory.rst "OOM Control"). It counts, so what happens in quick succession, or while nobody looks, is kept.
///   It is told when the container's limit, or one above it, is met, before a process is chosen; limits that a payload
///   gives to sub-cgroups of its own are only found at the next read.
/// - v2: `memory.events` itself, kept open: it is ready for `POLLPRI` from a change until it is read again. An inotify
///   watch would tell no more, and takes one of the user's 128 instances (`fs.inotify.max_user_instances`), which run out
///   on hosts with many containers.
///
/// It ends, with all that the kernel keeps for it, when it is dropped.
#[derive(Debug)]
pub struct OomWatch {
    directory: OwnedFd,
    descriptor: OwnedFd,
    v1: bool,
    /// The OOM killer's count at the last look.
    kills: u64,
    /// v1: how often lack of memory was told of that has not shown in the count yet.
    announced: u64,
}

/// What has happened since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomSeen {
    /// Memory ran out, or the OOM killer has killed processes of the container; several times count as one.
    pub oom: bool,
    /// The cgroup was removed: nothing will happen any more.
    pub gone: bool,
}

impl Cgroup {
    /// Watches for lack of memory from now on. `None` if the container is in no memory cgroup, or in one that is gone.
    ///
    /// # Errors
    /// [`Kind::System`](crate::error::Kind::System) if the kernel refuses (a v1 hierarchy that is mounted read-only).
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        let Some(path) = self.dir_of(MEMORY) else { return Ok(None) };
        let v1 = self.legacy_dir_of(MEMORY).is_some();
        match dir::open(path).and_then(|directory| OomWatch::arm(directory, v1)) {
            Err(errno) if dir::is_gone(errno) => Ok(None),
            armed => {
                let armed = armed.sys("open", path.display()).within(|| "watching for lack of memory");
                armed.during(Phase::Stats).map(Some)
            }
        }
    }
}

impl OomWatch {
    fn arm(directory: OwnedFd, v1: bool) -> Result<OomWatch, Errno> {
        let descriptor = if v1 {
            let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let control = dir::open_to_read(directory.as_fd(), V1_COUNTS)?;
            register(directory.as_fd(), &counter, &control)?;
            counter
        } else {
            dir::open_to_read(directory.as_fd(), V2_COUNTS)?
        };
        // After it was armed, so that nothing falls in between.
        let mut watch = OomWatch { directory, descriptor, v1, kills: 0, announced: 0 };
        watch.kills = watch.count()?;
        Ok(watch)
    }

    /// What to poll the descriptor for: it is always "readable" on v2.
    pub fn interest(&self) -> PollFlags {
        if self.v1 { PollFlags::IN } else { PollFlags::PRI }
    }

    /// What has happened since the last call. It may be called at any time, and does not wait; but for the one case that
    /// a v1 cgroup has just been removed, which the kernel tells in the same way as lack of memory: that takes up to a
    /// quarter of a second.
    ///
    /// # Errors
    /// If the kernel's files cannot be read.
    pub fn read(&mut self) -> Result<OomSeen> {
        let seen = if self.v1 { self.read_v1() } else { self.read_v2() };
        seen.sys("read", "memory events").during(Phase::Stats)
    }

    fn read_v2(&mut self) -> Result<OomSeen, Errno> {
        let before = self.kills;
        match self.count() {
            Err(errno) if dir::is_gone(errno) => Ok(OomSeen { oom: false, gone: true }),
            count => {
                self.kills = count?;
                Ok(OomSeen { oom: self.kills > before, gone: false })
            }
        }
    }

    fn read_v1(&mut self) -> Result<OomSeen, Errno> {
        let mut told = take(&self.descriptor)?;
        let count = match self.count() {
            // A cgroup is empty when it is removed, so all that is told later is the removal, once.
            Err(errno) if dir::is_gone(errno) => {
                if told == 1 {
                    let mut later = [PollFd::new(&self.descriptor, PollFlags::IN)];
                    rustix::io::retry_on_intr(|| poll(&mut later, Some(&REMOVAL)))?;
                    told += take(&self.descriptor)?;
                }
                return Ok(OomSeen { oom: told > 1, gone: true });
            }
            count => count?,
        };
        // Lack of memory is told before the process is killed and counted: the two must not be taken for two events.
        let killed = count.saturating_sub(self.kills);
        let expected = self.announced + told;
        self.kills = count;
        self.announced = expected.saturating_sub(killed);
        Ok(OomSeen { oom: told > 0 || killed > expected, gone: false })
    }

    fn count(&self) -> Result<u64, Errno> {
        if self.v1 {
            return oom::kills(self.directory.as_fd(), true);
        }
        // By this descriptor, since reading it is what makes it wait for the next change.
        Ok(oom::kills_in(&dir::contents(self.descriptor.as_fd())?))
    }
}

/// Has v1 tell `counter` of what happens to `control`; until the former is closed.
fn register(directory: BorrowedFd<'_>, counter: &OwnedFd, control: &OwnedFd) -> Result<(), Errno> {
    dir::write(directory, "cgroup.event_control", &format!("{} {}", counter.as_raw_fd(), control.as_raw_fd()))
}

/// What an eventfd has counted since the last time.
fn take(counter: &OwnedFd) -> Result<u64, Errno> {
    let mut count = [0u8; 8];
    match rustix::io::retry_on_intr(|| rustix::io::read(counter, &mut count)) {
        Ok(_) => Ok(u64::from_ne_bytes(count)),
        Err(Errno::AGAIN) => Ok(0),
        Err(errno) => Err(errno),
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
