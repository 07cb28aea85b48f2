//! Output that is still under way: how long the end of its process waits for it.
//!
//! A client that hears of the end, or whose deletion is answered, may give up what it has not read yet: containerd's
//! (1.6, and since 1.7.2) closes its FIFOs then. So both wait for readers that read, and for no others.

use std::time::{Duration, Instant};

use crate::process::{Exit, Held, Name};
use crate::shim::Shim;

/// How long a reader may do nothing before it is taken for one that does not read.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long anybody waits for readers, as containerd's own shim does at a deletion.
const LONGEST_DRAINING: Duration = Duration::from_secs(10);

/// How long it may take to see that somebody has read.
const LONGEST_GLANCE: Duration = Duration::from_millis(20);

/// What of a process's output has not been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Relays that shall end and have not.
    pub relays: usize,
    /// How many bytes these have relayed.
    pub relayed: u64,
    /// How many bytes are in FIFOs, and in loggers' pipes.
    pub unread: u64,
}

/// Waiting for a backlog to be read.
#[derive(Debug)]
pub struct Draining {
    last: Backlog,
    /// When somebody has read, as far as was seen.
    read_at: Instant,
    begun: Instant,
}

impl Draining {
    /// From now on.
    pub fn begin(now: Instant) -> Draining {
        Draining { last: Backlog { unread: u64::MAX, ..Backlog::default() }, read_at: now, begun: now }
    }

    /// When to look again: nothing tells that a FIFO was read.
    pub fn deadline(&self) -> Instant {
        Instant::now() + (self.begun.elapsed() / 8).min(LONGEST_GLANCE)
    }

    /// Whether there is something to wait for. `relays_pause` is how long a relay may wait for its reader.
    fn goes_on(&mut self, backlog: Backlog, relays_pause: Duration, now: Instant) -> bool {
        let is_relayed = (backlog.relays, backlog.relayed) != (self.last.relays, self.last.relayed);
        // More of it, with nothing relayed, comes from other processes that have the FIFO open: no reader's doing.
        if is_relayed || backlog.unread < self.last.unread {
            (self.last, self.read_at) = (backlog, now);
        }
        let pause = if backlog.relays > 0 { relays_pause } else { LONGEST_PAUSE };
        let is_empty = backlog.relays == 0 && backlog.unread == 0;
        !is_empty && now < self.read_at + pause && now < self.begun + LONGEST_DRAINING
    }
}

/// A process that has ended, and nobody was told yet.
#[derive(Debug)]
pub struct Lingering {
    /// Whose end it is.
    pub name: Name,
    /// What is to be told.
    pub exit: Exit,
    draining: Draining,
}

impl Lingering {
    /// When it is to be looked after.
    pub fn deadline(&self) -> Instant {
        self.draining.deadline()
    }
}

impl Shim {
    /// A process has ended; its end is told when its last words have been read. A client that hears of it before it has
    /// as much as opened the FIFO gives that up (`ctr` does), and the output of a fast process would be lost.
    pub(crate) fn linger(&mut self, name: Name, exit: Exit) {
        self.end_terminal(&name);
        let now = Instant::now();
        self.lingering.push(Lingering { name, exit, draining: Draining::begin(now) });
        self.stop_lingering(now);
    }

    /// Whether a process has ended, though nobody was told.
    pub(crate) fn lingers(&self, container: &str, exec: &str) -> bool {
        self.lingering.iter().any(|one| one.name.container == container && one.name.exec == exec)
    }

    /// Tells of those whose output was read, or who have waited long enough for that.
    pub(crate) fn stop_lingering(&mut self, now: Instant) {
        for mut one in std::mem::take(&mut self.lingering) {
            let process = self.containers.get(&one.name.container).and_then(|it| it.process(&one.name.exec).ok());
            let backlog = process.map(|process| self.backlog(&process.held)).unwrap_or_default();
            match one.draining.goes_on(backlog, LONGEST_PAUSE, now) {
                true => self.lingering.push(one),
                false => self.ended(&one.name, one.exit),
            }
        }
    }

    /// Whether the deletion of a process has to wait for the readers of its output; if not, what is left is given up.
    pub(crate) fn still_drains(&mut self, held: &mut Held, draining: &mut Draining, now: Instant) -> bool {
        let goes_on = draining.goes_on(self.backlog(held), LONGEST_DRAINING, now);
        if !goes_on {
            std::mem::take(&mut held.pumps).into_iter().for_each(|pump| self.drop_pump(pump));
            held.outputs.clear();
        }
        goes_on
    }

    fn backlog(&self, held: &Held) -> Backlog {
        let ending = held.pumps.iter().filter_map(|number| self.pumps.get(number)).filter(|pump| pump.is_ending());
        let unread = held.outputs.iter().map(|fifo| rustix::io::ioctl_fionread(fifo).unwrap_or(0));
        Backlog {
            relays: ending.clone().count(),
            relayed: ending.map(|pump| pump.relayed()).sum(),
            unread: unread.sum(),
        }
    }

    /// Nobody has a terminal's other end any more: what was written is all that there will be, and what is typed has
    /// nowhere to go. Into a pipe, others that the process has left may still write.
    fn end_terminal(&mut self, name: &Name) {
        let Some(container) = self.containers.get_mut(&name.container) else { return };
        let Ok(process) = container.process_mut(&name.exec) else { return };
        let typed = process.held.typed.take();
        let screen = if process.held.console.is_some() { process.held.pumps.clone() } else { Vec::new() };
        typed.into_iter().for_each(|pump| self.drop_pump(pump));
        screen.into_iter().for_each(|pump| self.finish_pump(pump));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unread(unread: u64) -> Backlog {
        Backlog { unread, ..Backlog::default() }
    }

    fn relay(relayed: u64, unread: u64) -> Backlog {
        Backlog { relays: 1, relayed, unread }
    }

    #[test]
    fn who_reads_is_waited_for() {
        let begun = Instant::now();
        let at = |millis: u64| begun + Duration::from_millis(millis);
        let mut draining = Draining::begin(begun);
        for (step, left) in [900, 600, 300, 10].into_iter().enumerate() {
            assert!(draining.goes_on(unread(left), LONGEST_PAUSE, at(400 * step as u64)), "{left}");
        }
        assert!(!draining.goes_on(unread(0), LONGEST_PAUSE, at(1300)));
        assert!(!Draining::begin(begun).goes_on(unread(0), LONGEST_PAUSE, begun), "nothing to read");
    }

    #[test]
    fn who_does_not_read_is_not_waited_for() {
        let begun = Instant::now();
        let at = |millis: u64| begun + Duration::from_millis(millis);
        let mut draining = Draining::begin(begun);
        assert!(draining.goes_on(unread(10), LONGEST_PAUSE, at(0)));
        // Others write.
        assert!(draining.goes_on(unread(20), LONGEST_PAUSE, at(300)));
        assert!(!draining.goes_on(unread(30), LONGEST_PAUSE, at(600)));
    }

    #[test]
    fn a_relay_into_a_full_pipe_goes_on_while_that_is_read() {
        let begun = Instant::now();
        let at = |millis: u64| begun + Duration::from_millis(millis);
        let mut draining = Draining::begin(begun);
        for step in 0..10 {
            assert!(draining.goes_on(relay(step * 4096, 65536), LONGEST_PAUSE, at(400 * step)));
        }
        assert!(!draining.goes_on(relay(9 * 4096, 65536), LONGEST_PAUSE, at(4200)), "it is stuck");
        // A deletion has more patience, but not without end.
        let mut draining = Draining::begin(begun);
        assert!(draining.goes_on(relay(0, 65536), LONGEST_DRAINING, at(0)));
        assert!(draining.goes_on(relay(0, 65536), LONGEST_DRAINING, at(9000)));
        assert!(draining.goes_on(relay(1, 65536), LONGEST_DRAINING, at(9500)));
        assert!(!draining.goes_on(relay(2, 65536), LONGEST_DRAINING, at(10_000)));
    }
}
