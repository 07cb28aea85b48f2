//! Freezing all processes of a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Error, Kind, Phase, Result, SysContext};

use super::{Cgroup, dir};

/// How long v2 may take to stop every process.
const PATIENCE: Duration = Duration::from_secs(10);

/// v1 only: how often "FROZEN" is written before giving up, after how many failures everything is thawed for a moment
/// so that a burst of new processes can settle, and after how many the kernel is given a moment.
const ATTEMPTS: u32 = 1000;
const ATTEMPTS_PER_THAW: u32 = 50;
const ATTEMPTS_PER_PAUSE: u32 = 25;
const THAWED_MOMENT: Duration = Duration::from_millis(10);
const MOMENT: Duration = Duration::from_micros(10);

/// v1's file and its words, v2's file.
const STATE: &str = "freezer.state";
const FROZEN: &str = "FROZEN";
const THAWED: &str = "THAWED";
const FREEZE: &str = "cgroup.freeze";

/// How the container's freezer is worked.
enum Freezer<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

impl Cgroup {
    fn freezer(&self) -> Option<Freezer<'_>> {
        let legacy = self.dirs().iter().find(|(key, _)| key.split(',').any(|controller| controller == "freezer"));
        let legacy = legacy.map(|(_, dir)| Freezer::V1(dir));
        legacy.or_else(|| self.dirs().get("").map(|dir| Freezer::V2(dir)))
    }

    /// Stops every process, and returns when they have stopped. On failure they are let go again.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without a freezer; [`Kind::System`] if they do not stop in time.
    pub fn freeze(&self) -> Result<()> {
        let Some(freezer) = self.freezer() else {
            return Err(Error::unsupported("the container has no freezer cgroup").during(Phase::Cgroup));
        };
        let (Freezer::V1(path) | Freezer::V2(path)) = freezer;
        let frozen = dir::open(path).and_then(|directory| match freezer {
            Freezer::V1(_) => freeze_v1(directory.as_fd()),
            Freezer::V2(_) => freeze_v2(directory.as_fd()),
        });
        frozen.sys("write", path.display()).map_err(|error| {
            let _ = self.thaw();
            let error = error.within("freezing cgroup").during(Phase::Cgroup);
            match error.errno() {
                Some(Errno::TIMEDOUT) => error.cause("a process in it does not stop, or new ones keep coming"),
                Some(Errno::NOENT | Errno::NODEV) => error.of_kind(Kind::NotFound).cause("the cgroup is gone"),
                _ => error,
            }
        })
    }

    /// Lets every process go on.
    ///
    /// # Errors
    /// [`Kind::System`] if the kernel refuses.
    pub fn thaw(&self) -> Result<()> {
        let (path, file, value) = match self.freezer() {
            Some(Freezer::V1(path)) => (path, STATE, THAWED),
            Some(Freezer::V2(path)) => (path, FREEZE, "0"),
            None => return Ok(()),
        };
        let thawed = dir::open(path).and_then(|directory| dir::write(directory.as_fd(), file, value));
        thawed
            .sys("write", path.join(file).display())
            .map_err(|error| error.within("thawing cgroup").during(Phase::Cgroup))
    }

    /// Whether this container was frozen. A frozen ancestor does not count: only the one who froze it can thaw it. A
    /// cgroup that is gone is not frozen.
    ///
    /// # Errors
    /// [`Kind::System`] if the state cannot be read.
    pub fn is_frozen(&self) -> Result<bool> {
        let Some(Freezer::V1(path) | Freezer::V2(path)) = self.freezer() else { return Ok(false) };
        let frozen = match dir::open(path) {
            Ok(directory) => is_frozen_at(directory.as_fd()),
            Err(errno) if dir::is_gone(errno) => Ok(false),
            Err(errno) => Err(errno),
        };
        frozen.sys("read", path.display()).map_err(|error| error.during(Phase::Cgroup))
    }
}

/// Whether a directory of v1's freezer or of v2 was frozen itself; false for those of other hierarchies.
pub(super) fn is_frozen_at(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    for file in ["freezer.self_freezing", FREEZE] {
        match dir::read(directory, file) {
            Ok(text) => return Ok(text.trim_end() == "1"),
            Err(errno) if dir::is_gone(errno) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(false)
}

/// v1 stays in "FREEZING" if a process is busy, or if a new one has appeared, and then wants to be told again.
fn freeze_v1(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let state = rustix::fs::openat(
        directory,
        STATE,
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    for attempt in 1..=ATTEMPTS {
        dir::put(state.as_fd(), FROZEN)?;
        if dir::contents(state.as_fd())?.trim_end() == FROZEN {
            return Ok(());
        }
        if attempt % ATTEMPTS_PER_THAW == 0 {
            dir::put(state.as_fd(), THAWED)?;
            std::thread::sleep(THAWED_MOMENT);
        } else if attempt % ATTEMPTS_PER_PAUSE == 0 {
            std::thread::sleep(MOMENT);
        }
    }
    Err(Errno::TIMEDOUT)
}

/// v2 tells when it is done, by a line in cgroup.events.
fn freeze_v2(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let events = dir::open_to_read(directory, "cgroup.events")?;
    dir::write(directory, FREEZE, "1")?;
    wait_for_event(&events, "frozen 1", Instant::now() + PATIENCE)
}

/// Waits until a file of events has this line.
fn wait_for_event(events: &OwnedFd, line: &str, deadline: Instant) -> Result<(), Errno> {
    while !dir::contents(events.as_fd())?.lines().any(|event| event == line) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::TIMEDOUT);
        }
        // A change since the last read makes it ready at once, so none is missed.
        match poll(&mut [PollFd::new(events, PollFlags::PRI)], Some(&timespec(left))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A duration as poll(2) takes it.
pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}
