//! Bytes between our stdin and stdout and the container's terminal, without ever waiting for either side.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFlags, Timespec};
use rustix::io::Errno;

/// A terminal hands out at most so much at a time, and a pipe that polls writable takes as much without blocking.
const CHUNK: usize = 4096;
/// More than a terminal can hold (the kernel's limit for its buffer is 640 KiB).
const MOST_AT_EXIT: usize = 1 << 20;
/// How often a terminal that nobody has open is looked at again.
const HUNG_UP_RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The relay's state; each direction has one chunk under way.
pub struct Relay<'a> {
    console: BorrowedFd<'a>,
    /// None after its end.
    input: Option<BorrowedFd<'a>>,
    /// None when it cannot be written to any more; the container's output is then discarded, so that it does not hang.
    output: Option<BorrowedFd<'a>>,
    to_console: Chunk,
    to_output: Chunk,
    /// No process has the terminal open at the moment.
    is_hung_up: bool,
}

/// Bytes that were read and are not yet written.
struct Chunk {
    bytes: [u8; CHUNK],
    start: usize,
    end: usize,
}

impl Chunk {
    fn new() -> Chunk {
        Chunk { bytes: [0; CHUNK], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads into the empty chunk.
    fn fill(&mut self, fd: BorrowedFd<'_>) -> Result<usize, Errno> {
        let read = rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut self.bytes[..]))?;
        (self.start, self.end) = (0, read);
        Ok(read)
    }

    /// Writes what it can; an error means that `fd` is of no use any more.
    fn empty_into(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        match rustix::io::retry_on_intr(|| rustix::io::write(fd, &self.bytes[self.start..self.end])) {
            Ok(written) => self.start += written,
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}

impl<'a> Relay<'a> {
    /// Between the master of a terminal, which must not block, and two streams.
    pub fn new(console: BorrowedFd<'a>, input: BorrowedFd<'a>, output: BorrowedFd<'a>) -> Relay<'a> {
        Relay {
            console,
            input: Some(input),
            output: Some(output),
            to_console: Chunk::new(),
            to_output: Chunk::new(),
            is_hung_up: false,
        }
    }

    /// What to poll the console for. A hung-up one would report that for ever, so it is left out for a while.
    pub fn console_interest(&self) -> Option<(BorrowedFd<'a>, PollFlags)> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.to_output.is_empty());
        flags.set(PollFlags::OUT, !self.to_console.is_empty());
        (!self.is_hung_up && !flags.is_empty()).then_some((self.console, flags))
    }

    /// What to poll the input for: the next chunk, when the one before is written.
    pub fn input_interest(&self) -> Option<(BorrowedFd<'a>, PollFlags)> {
        self.input.filter(|_| self.to_console.is_empty()).map(|input| (input, PollFlags::IN))
    }

    /// What to poll the output for.
    pub fn output_interest(&self) -> Option<(BorrowedFd<'a>, PollFlags)> {
        self.output.filter(|_| !self.to_output.is_empty()).map(|output| (output, PollFlags::OUT))
    }

    /// How long to wait at most.
    pub fn timeout(&self) -> Option<Timespec> {
        self.is_hung_up.then_some(HUNG_UP_RETRY)
    }

    /// Moves bytes as far as the descriptors are ready.
    pub fn serve(&mut self, console: PollFlags, input_is_ready: bool, output_is_ready: bool) {
        if output_is_ready {
            self.write_output();
        }
        if self.to_output.is_empty() && (self.is_hung_up || console.intersects(PollFlags::IN | PollFlags::HUP)) {
            self.read_console();
        }
        if input_is_ready
            && self.to_console.is_empty()
            && let Some(input) = self.input
            && matches!(self.to_console.fill(input), Ok(0) | Err(_))
        {
            // At its end, or a terminal that is another job's (EIO): the container's own input goes on.
            self.input = None;
        }
        if !self.to_console.is_empty() && (input_is_ready || console.contains(PollFlags::OUT)) {
            // Input for a terminal that nobody reads is lost, as it is on any terminal.
            if self.to_console.empty_into(self.console).is_err() {
                self.to_console.start = self.to_console.end;
            }
        }
    }

    fn read_console(&mut self) {
        // EIO: the last process that had it open has closed it; another may open it again.
        self.is_hung_up = match self.to_output.fill(self.console) {
            Ok(read) => read == 0,
            Err(errno) => errno != Errno::AGAIN,
        };
        if self.output.is_none() {
            self.to_output.start = self.to_output.end;
        }
    }

    fn write_output(&mut self) {
        match self.output {
            Some(output) if self.to_output.empty_into(output).is_ok() => {}
            _ => {
                self.output = None;
                self.to_output.start = self.to_output.end;
            }
        }
    }

    /// After the process's exit: writes out what its terminal still holds.
    pub fn drain(&mut self) {
        let mut moved = 0;
        loop {
            while !self.to_output.is_empty() {
                self.write_output();
            }
            match self.to_output.fill(self.console) {
                Ok(read) if read > 0 && moved < MOST_AT_EXIT => moved += read,
                _ => break,
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read;
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, poll};
    use rustix::fs::{Mode, OFlags};
    use rustix::pipe::pipe;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A terminal's master, which does not block, and its slave.
    pub fn terminal_pair() -> (OwnedFd, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("openpt");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("unlock");
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).expect("nonblocking");
        (master, slave.expect("slave"))
    }

    /// Polls and serves until `done`, as the foreground does; gives up after ten seconds.
    fn serve_until(relay: &mut Relay<'_>, mut done: impl FnMut(&Relay<'_>) -> bool) {
        let (idle, _writer) = pipe().expect("pipe");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done(relay) {
            assert!(Instant::now() < deadline, "the relay is stuck");
            let watch = |interest| crate::foreground::watched(interest, idle.as_fd());
            let mut fds =
                [watch(relay.console_interest()), watch(relay.input_interest()), watch(relay.output_interest())];
            let at_most = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            poll(&mut fds, Some(&at_most)).expect("poll");
            let [console, input, output] = [0, 1, 2].map(|index: usize| fds[index].revents());
            relay.serve(console, !input.is_empty(), !output.is_empty());
        }
    }

    fn read_available(fd: &OwnedFd) -> Vec<u8> {
        let mut bytes = vec![0; 65536];
        let read = rustix::io::read(fd, &mut bytes[..]).expect("read");
        bytes.truncate(read);
        bytes
    }

    #[test]
    fn input_reaches_the_terminal_and_its_echo_comes_back() {
        let (master, slave) = terminal_pair();
        let (input, typing) = pipe().expect("pipe");
        let (shown, output) = pipe().expect("pipe");
        let mut relay = Relay::new(master.as_fd(), input.as_fd(), output.as_fd());
        rustix::io::write(&typing, b"hello\n").expect("type");
        let mut echoed = Vec::new();
        serve_until(&mut relay, |_| {
            let mut fds = [PollFd::new(&shown, PollFlags::IN)];
            if poll(&mut fds, Some(&Timespec::default())).expect("poll") == 1 {
                echoed.extend(read_available(&shown));
            }
            echoed.ends_with(b"\n")
        });
        assert_eq!(echoed, b"hello\r\n");
        assert_eq!(read_available(&slave), b"hello\n");

        drop(typing);
        serve_until(&mut relay, |relay| relay.input.is_none());
        assert!(relay.input_interest().is_none());
    }

    #[test]
    fn everything_that_was_written_before_the_exit_is_drained() {
        let (master, slave) = terminal_pair();
        let (shown, output) = pipe().expect("pipe");
        let (input, _typing) = pipe().expect("pipe");
        let text: Vec<u8> = (0..100_000u32).map(|number| b'a' + (number % 26) as u8).collect();
        let written = text.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::fs::File::from(shown).read_to_end(&mut bytes).expect("read");
            bytes
        });
        let writer = std::thread::spawn(move || {
            let mut rest = &written[..];
            while !rest.is_empty() {
                rest = &rest[rustix::io::write(&slave, rest).expect("write")..];
            }
        });
        let mut relay = Relay::new(master.as_fd(), input.as_fd(), output.as_fd());
        serve_until(&mut relay, |_| writer.is_finished());
        relay.drain();
        drop(output);
        assert_eq!(reader.join().expect("reader"), text);
    }

    #[test]
    fn a_closed_stdout_does_not_stop_the_container() {
        let (master, slave) = terminal_pair();
        let (shown, output) = pipe().expect("pipe");
        let (input, _typing) = pipe().expect("pipe");
        drop(shown);
        let writer = std::thread::spawn(move || {
            // More than the terminal holds: this only ends if somebody reads.
            for _ in 0..100 {
                let mut rest = &[b'x'; CHUNK][..];
                while !rest.is_empty() {
                    rest = &rest[rustix::io::write(&slave, rest).expect("write")..];
                }
            }
        });
        let mut relay = Relay::new(master.as_fd(), input.as_fd(), output.as_fd());
        serve_until(&mut relay, |_| writer.is_finished());
        assert!(relay.output.is_none());
    }

    #[test]
    fn a_terminal_may_be_closed_and_opened_again() {
        let (master, slave) = terminal_pair();
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        let (input, _typing) = pipe().expect("pipe");
        let (shown, output) = pipe().expect("pipe");
        let mut relay = Relay::new(master.as_fd(), input.as_fd(), output.as_fd());
        drop(slave);
        serve_until(&mut relay, |relay| relay.is_hung_up);
        assert!(relay.console_interest().is_none() && relay.timeout().is_some());

        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("open again");
        rustix::io::write(&slave, b"back").expect("write");
        serve_until(&mut relay, |relay| !relay.is_hung_up && relay.to_output.is_empty());
        assert_eq!(read_available(&shown), b"back");
    }
}
