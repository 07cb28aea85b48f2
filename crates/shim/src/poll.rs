//! The one place where the shim waits: epoll(7), with what each descriptor is for.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use libcontainer::error::{Result, SysContext};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Token {
    /// The socket that containerd connects to.
    Listener,
    /// Signals, of which only those of children matter.
    Signals,
    /// The connection to containerd's events service.
    Publisher,
    /// A client.
    Connection(u32),
    /// A worker's report.
    Worker(u32),
    /// Where a stream that is relayed comes from.
    Source(u32),
    /// Where it goes.
    Sink(u32),
    /// A container that may run out of memory.
    Memory(u32),
}

impl Token {
    fn to_u64(self) -> u64 {
        let (kind, number): (u32, u32) = match self {
            Token::Listener => (0, 0),
            Token::Signals => (1, 0),
            Token::Publisher => (2, 0),
            Token::Connection(number) => (3, number),
            Token::Worker(number) => (4, number),
            Token::Source(number) => (5, number),
            Token::Sink(number) => (6, number),
            Token::Memory(number) => (7, number),
        };
        u64::from(kind) << 32 | u64::from(number)
    }

    fn from_u64(data: u64) -> Option<Token> {
        let number = (data & u64::from(u32::MAX)) as u32;
        Some(match data >> 32 {
            0 => Token::Listener,
            1 => Token::Signals,
            2 => Token::Publisher,
            3 => Token::Connection(number),
            4 => Token::Worker(number),
            5 => Token::Source(number),
            6 => Token::Sink(number),
            7 => Token::Memory(number),
            _ => return None,
        })
    }
}

/// An epoll instance that knows what it watches.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
    watched: BTreeMap<Token, EventFlags>,
}

impl Poll {
    /// Watches nothing.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn new() -> Result<Poll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).sys("epoll_create1", "")?;
        Ok(Poll { epoll, watched: BTreeMap::new() })
    }

    /// Watches `fd` for `flags` from now on, or for nothing, not even its end, if there are none. A token stands for the
    /// same descriptor all its life. False if it cannot be watched, as ordinary files cannot: they are always ready.
    pub fn watch(&mut self, token: Token, fd: impl AsFd, flags: EventFlags) -> bool {
        let before = self.watched.get(&token).copied().unwrap_or(EventFlags::empty());
        if before == flags {
            return true;
        }
        let data = EventData::new_u64(token.to_u64());
        let done = match (before.is_empty(), flags.is_empty()) {
            // Explicitly, even if it is about to be closed: a copy of it in a worker would keep it watched.
            (_, true) => epoll::delete(&self.epoll, fd),
            (true, false) => epoll::add(&self.epoll, fd, data, flags),
            (false, false) => epoll::modify(&self.epoll, fd, data, flags),
        };
        match flags.is_empty() {
            true => drop(self.watched.remove(&token)),
            false if done.is_ok() => drop(self.watched.insert(token, flags)),
            false => {}
        }
        done.is_ok()
    }

    /// Waits for something to happen, no longer than until `deadline`; gives what did, and how.
    ///
    /// # Errors
    /// If the kernel refuses epoll_wait(2).
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Vec<(Token, EventFlags)>> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // Rounded up: the kernel counts in milliseconds, and too early would mean once more.
        let left = left.map(|left| left + Duration::from_millis(1));
        let timeout =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        let mut events = Vec::with_capacity(16);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => Err(errno).sys("epoll_wait", "")?,
        }
        let token = |event: &Event| {
            let (flags, data) = (event.flags, event.data);
            Token::from_u64(data.u64()).map(|token| (token, flags))
        };
        Ok(events.iter().filter_map(token).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let streams = [Token::Source(0), Token::Sink(1)];
        let many = [Token::Connection(7), Token::Worker(u32::MAX), Token::Memory(2)].into_iter().chain(streams);
        for token in [Token::Listener, Token::Signals, Token::Publisher].into_iter().chain(many) {
            assert_eq!(Token::from_u64(token.to_u64()), Some(token));
        }
        assert_eq!(Token::from_u64(99 << 32), None);
    }

    #[test]
    fn a_descriptor_is_watched_for_what_is_wanted_at_the_time() {
        let mut poll = Poll::new().expect("epoll");
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        assert!(poll.watch(Token::Sink(1), &writer, EventFlags::OUT));
        assert_eq!(poll.wait(soon()).expect("wait"), [(Token::Sink(1), EventFlags::OUT)]);
        assert!(poll.watch(Token::Sink(1), &writer, EventFlags::empty()));
        assert!(poll.watch(Token::Source(1), &reader, EventFlags::IN));
        assert_eq!(poll.wait(soon()).expect("wait"), []);
        drop(writer);
        assert_eq!(poll.wait(soon()).expect("wait"), [(Token::Source(1), EventFlags::HUP)]);
        assert!(poll.watch(Token::Source(1), &reader, EventFlags::empty()));
        assert_eq!(poll.wait(soon()).expect("wait"), []);
        let file = std::fs::File::open("/proc/self/exe").expect("file");
        assert!(!poll.watch(Token::Sink(3), &file, EventFlags::OUT));
    }
}
