//! Bytes from one descriptor to another, without ever waiting for either: a terminal and its FIFOs, a pipe and a log
//! file. A pump holds one chunk; while the reader does not take it, nothing more is read, and the writer waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

/// What a pipe takes at once without blocking, and a terminal hands out at most.
const CHUNK: usize = 4096;
/// How many it moves at a time, a pipe's fill: a process that writes without end must not keep others waiting.
const MOST_CHUNKS: usize = 16;

/// One direction of one stream.
#[derive(Debug)]
pub struct Pump {
    from: OwnedFd,
    to: OwnedFd,
    /// What was read and is not yet written.
    chunk: Vec<u8>,
    /// Nothing more will be written: what is there now is all that there will be.
    is_last: bool,
    /// How many bytes it has written.
    relayed: u64,
    /// What it does next.
    state: State,
}

/// What a pump waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Something to read.
    Reading,
    /// Room to write.
    Writing,
    /// A terminal that no process has open; another may open it again.
    HungUp,
    /// Nothing more.
    Done,
}

impl Pump {
    /// Between two descriptors that do not block.
    pub fn new(from: OwnedFd, to: OwnedFd) -> Pump {
        Pump { from, to, chunk: Vec::new(), is_last: false, relayed: 0, state: State::Reading }
    }

    /// What it waits for.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it ends when nothing is left.
    pub fn is_ending(&self) -> bool {
        self.is_last
    }

    /// How many bytes it has written.
    pub fn relayed(&self) -> u64 {
        self.relayed
    }

    /// Where it reads, and what to watch that for.
    pub fn source(&self) -> (BorrowedFd<'_>, EventFlags) {
        (self.from.as_fd(), if self.state == State::Reading { EventFlags::IN } else { EventFlags::empty() })
    }

    /// Where it writes, and what to watch that for.
    pub fn sink(&self) -> (BorrowedFd<'_>, EventFlags) {
        (self.to.as_fd(), if self.state == State::Writing { EventFlags::OUT } else { EventFlags::empty() })
    }

    /// Nothing more will be written: go on, each time that it is run, until nothing is left, then end.
    pub fn finish(&mut self) {
        self.is_last = true;
        self.run();
    }

    /// Moves what can be moved, up to a limit; then there is more to read.
    pub fn run(&mut self) {
        let stopped = (0..MOST_CHUNKS).find_map(|_| self.step().err());
        self.state = stopped.unwrap_or(State::Reading);
        if self.state == State::Done {
            self.chunk = Vec::new();
        }
    }

    /// Writes a chunk, or reads one; an error is the state to stop in.
    fn step(&mut self) -> Result<(), State> {
        while !self.chunk.is_empty() {
            match rustix::io::write(&self.to, &self.chunk) {
                Ok(written) => {
                    self.chunk.drain(..written);
                    self.relayed += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(State::Writing),
                // Nobody reads it any more, or the disk is full: it is dropped, so that the process goes on.
                Err(_) => self.chunk.clear(),
            }
        }
        let mut chunk = [0u8; CHUNK];
        match rustix::io::read(&self.from, &mut chunk[..]) {
            Ok(0) => Err(State::Done),
            Ok(read) => {
                self.chunk = chunk.get(..read).unwrap_or_default().to_vec();
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(Errno::AGAIN) if self.is_last => Err(State::Done),
            Err(Errno::AGAIN) => {
                // Nothing under way: idle terminals cost no memory.
                self.chunk = Vec::new();
                Err(State::Reading)
            }
            Err(Errno::IO) if !self.is_last => Err(State::HungUp),
            Err(_) => Err(State::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("pipe")
    }

    #[test]
    fn a_full_reader_stops_the_writer_and_nothing_is_lost() {
        let ((source, writer), (reader, sink)) = (pipe(), pipe());
        let mut pump = Pump::new(source, sink);
        let (mut written, mut read) = (0usize, 0usize);
        let data: Vec<u8> = (0..=255).collect();
        // Until both pipes are full.
        loop {
            pump.run();
            match rustix::io::write(&writer, &data) {
                Ok(count) => written += count,
                Err(_) if pump.state() == State::Writing => break,
                Err(errno) => panic!("{errno}"),
            }
        }
        assert!(written > 128 * 1024);
        drop(writer);
        let mut buffer = [0u8; 4096];
        let mut pump = Some(pump);
        loop {
            match rustix::io::read(&reader, &mut buffer[..]) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(Errno::AGAIN) => {
                    pump.iter_mut().for_each(Pump::run);
                    // What is done is dropped, and the reader sees the end.
                    pump.take_if(|pump| pump.state() == State::Done);
                }
                Err(errno) => panic!("{errno}"),
            }
        }
        assert_eq!(read, written);
    }

    #[test]
    fn the_last_run_ends_when_nothing_is_left() {
        let ((source, writer), (reader, sink)) = (pipe(), pipe());
        let mut pump = Pump::new(source, sink);
        rustix::io::write(&writer, b"last words").expect("write");
        pump.finish();
        assert_eq!(pump.state(), State::Done);
        drop(pump);
        let mut buffer = [0u8; 64];
        assert_eq!(rustix::io::read(&reader, &mut buffer[..]), Ok(10));
        assert_eq!(rustix::io::read(&reader, &mut buffer[..]), Ok(0), "its end is closed");
    }

    /// With the other end open elsewhere, so that only EAGAIN tells that nothing is left: what the kernel still carries
    /// from one end to the other must not be missed.
    #[test]
    fn the_last_run_takes_all_that_a_terminal_holds() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        for round in 0..200 {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let master = openpt(flags).expect("openpt");
            grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlockpt");
            let name = ptsname(&master, Vec::new()).expect("ptsname");
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK;
            let holder = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).expect("open");
            rustix::fs::fcntl_setfl(&master, rustix::fs::OFlags::NONBLOCK).expect("O_NONBLOCK");
            let mut written = 0;
            while let Ok(count) = rustix::io::write(&holder, &[b'x'; 100]) {
                written += count as u64;
            }
            let mut pump = Pump::new(master, crate::io::null().expect("null"));
            pump.finish();
            assert_eq!((pump.state(), pump.relayed()), (State::Done, written), "round {round}");
        }
    }

    #[test]
    fn a_writer_without_end_does_not_keep_others_waiting() {
        let ((source, writer), null) = (pipe(), crate::io::null().expect("null"));
        let ends = std::thread::spawn(move || {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
            while std::time::Instant::now() < until {
                let _ = rustix::io::write(&writer, &[7; 4096]);
            }
        });
        let mut pump = Pump::new(source, null);
        let began = std::time::Instant::now();
        for _ in 0..20 {
            pump.run();
            assert_eq!(pump.state(), State::Reading);
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "each run has an end");
        ends.join().expect("writer");
        while pump.state() != State::Done {
            pump.run();
        }
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_dropped() {
        let ((source, writer), full) =
            (pipe(), std::fs::OpenOptions::new().write(true).open("/dev/full").expect("open"));
        let mut pump = Pump::new(source, full.into());
        for _ in 0..100 {
            rustix::io::write(&writer, &[7; 4096]).expect("there is room each time");
            pump.run();
            assert_eq!(pump.state(), State::Reading);
        }
    }
}
