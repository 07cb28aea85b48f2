//! `events`: what a container uses, again and again, and when it runs out of memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Store, require_state};
use crate::cgroups::stats::Stats;
use crate::cgroups::{Cgroup, OomWatch};
use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::intel_rdt::RdtStats;

/// What a container has used so far.
///
/// # Errors
/// [`Kind::WrongState`] if it has stopped.
pub fn stats(store: &Store, id: &str) -> Result<Stats> {
    let state = require_state(&store.open(id)?, id)?;
    state.open_init()?.ok_or_else(|| not_running(id))?;
    state.cgroup.require().during(Phase::Stats)?;
    state.cgroup.stats()
}

/// What its class of service has and uses; `None` if it has none.
///
/// # Errors
/// [`Kind::NotFound`] if it does not exist.
pub fn rdt_stats(store: &Store, id: &str) -> Result<Option<RdtStats>> {
    Ok(require_state(&store.open(id)?, id)?.intel_rdt.map(|group| group.stats()))
}

/// Watches a container for lack of memory from now on, for a loop of the caller's own; `None` if it has no memory cgroup.
///
/// # Errors
/// [`Kind::NotFound`] if it does not exist; [`Kind::System`] if the kernel refuses.
pub fn watch_oom(store: &Store, id: &str) -> Result<Option<OomWatch>> {
    require_state(&store.open(id)?, id)?.cgroup.watch_oom()
}

/// Watches a container from now on.
///
/// # Errors
/// [`Kind::WrongState`] if it has stopped; [`Kind::Invalid`] if `interval` is zero.
pub fn events(store: &Store, id: &str, interval: Duration) -> Result<Events> {
    let state = require_state(&store.open(id)?, id)?;
    if interval.is_zero() {
        // runc's words.
        return Err(Error::new(Kind::Invalid, "duration interval must be greater than 0"));
    }
    state.cgroup.require().during(Phase::Stats)?;
    // Before it is looked whether init lives: what happens to it from then on is told.
    let watch = state.cgroup.watch_oom()?;
    let init = state.open_init()?.ok_or_else(|| not_running(id))?;
    Ok(Events { cgroup: state.cgroup, watch, init, interval, next: Instant::now() + interval, ended: false })
}

fn not_running(id: &str) -> Error {
    Error::new(Kind::WrongState, format!("container with id {id} is not running"))
}

/// What happens in a container.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An interval is over: what it has used so far.
    Stats(Box<Stats>),
    /// It ran out of memory; several times in quick succession are told once.
    Oom,
}

/// The events of a container, until its init has ended.
#[derive(Debug)]
pub struct Events {
    cgroup: Cgroup,
    watch: Option<OomWatch>,
    init: OwnedFd,
    interval: Duration,
    next: Instant,
    ended: bool,
}

/// Why a wait is over.
struct Ready {
    watch: bool,
    init: bool,
    unread: bool,
}

impl Events {
    /// Waits for the next event; `None` when the container has ended. If `reader` is given, what the events are written
    /// to, they end as well when nobody can read it any more.
    ///
    /// # Errors
    /// If the kernel's files cannot be read.
    pub fn next(&mut self, reader: Option<BorrowedFd<'_>>) -> Result<Option<Event>> {
        while !self.ended {
            let ready = self.wait(reader)?;
            if ready.unread {
                break;
            }
            // When init is seen to have ended, the kernel has counted what it died of.
            self.ended = ready.init;
            if (ready.watch || ready.init) && self.ran_out_of_memory()? {
                return Ok(Some(Event::Oom));
            }
            if !self.ended && Instant::now() >= self.next {
                return self.tick();
            }
        }
        Ok(None)
    }

    fn tick(&mut self) -> Result<Option<Event>> {
        // Intervals that nobody had the time for are left out.
        let now = Instant::now();
        self.next = Some(self.next + self.interval).filter(|next| *next > now).unwrap_or(now + self.interval);
        // On v1 what happens in sub-cgroups is not told, but counted.
        if self.ran_out_of_memory()? {
            self.next = now;
            return Ok(Some(Event::Oom));
        }
        match self.cgroup.stats() {
            Ok(stats) => Ok(Some(Event::Stats(Box::new(stats)))),
            // It has ended, and was deleted, in this very moment.
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ran_out_of_memory(&mut self) -> Result<bool> {
        let Some(watch) = &mut self.watch else { return Ok(false) };
        let seen = watch.read()?;
        if seen.gone {
            self.watch = None;
        }
        Ok(seen.oom)
    }

    fn wait(&self, reader: Option<BorrowedFd<'_>>) -> Result<Ready> {
        let init = self.init.as_fd();
        let nothing = (init, PollFlags::empty());
        let watch = self.watch.as_ref().map_or(nothing, |watch| (watch.as_fd(), watch.interest()));
        let written = reader.map_or(nothing, |reader| (reader, PollFlags::empty()));
        let mut fds = [(init, PollFlags::IN), watch, written].map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
        let left = self.next.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut fds, Some(&timeout)) {
            Err(Errno::INTR) => {}
            polled => drop(polled.sys("poll", "the container's events").during(Phase::Stats)?),
        }
        let [init, watch, written] = fds.map(|fd| !fd.revents().is_empty());
        Ok(Ready { watch, init, unread: written && reader.is_some() })
    }
}
