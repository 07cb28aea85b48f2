//! One connection: a socket, its authentication, calls and their replies, every wait bounded.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::address::Socket;
use super::message::{Call, Message};
use super::{Fault, Value};

/// What is said before messages are. The identity is left to the kernel, which tells the other end whose socket it is:
/// so it is right in every user namespace, where this process does not know its own number outside. As sd-bus does, it
/// is said without waiting for the answers.
const GREETING: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
/// The answers to it: `DATA` and `OK <guid>`.
const ANSWERS: usize = 2;
const LONGEST_ANSWERS: usize = 4096;

/// A connection to a bus or directly to a peer.
#[derive(Debug)]
pub(super) struct Connection {
    stream: OwnedFd,
    /// When every wait ends.
    deadline: Instant,
    serial: u32,
    input: Vec<u8>,
    /// Signals that came while a reply was waited for.
    signals: Vec<Message>,
}

impl Connection {
    pub(super) fn open(socket: &Socket, deadline: Instant) -> Result<Connection, Fault> {
        let stream = UnixStream::connect_addr(&socket.address()?)?.into();
        let mut connection = Connection { stream, deadline, serial: 0, input: Vec::new(), signals: Vec::new() };
        connection.write(GREETING)?;
        let end = connection.wait_for(|input| {
            let mut ends = input.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
            match ends.nth(ANSWERS - 1) {
                None if input.len() > LONGEST_ANSWERS || input.starts_with(b"REJECTED") => Err(Fault::Refused),
                end => Ok(end),
            }
        })?;
        let answers: Vec<u8> = connection.input.drain(..end).collect();
        if answers.split(|byte| *byte == b'\n').nth(1).is_some_and(|answer| answer.starts_with(b"OK ")) {
            Ok(connection)
        } else {
            Err(Fault::Refused)
        }
    }

    /// Sends calls, all in one write; gives their serial numbers.
    pub(super) fn send(&mut self, calls: &[Call<'_>]) -> Result<Vec<u32>, Fault> {
        let mut bytes = Vec::new();
        let mut serials = Vec::with_capacity(calls.len());
        for call in calls {
            self.serial += 1;
            bytes.append(&mut call.encode(self.serial)?);
            serials.push(self.serial);
        }
        self.write(&bytes)?;
        Ok(serials)
    }

    /// The reply to a call; replies come in the order of their calls.
    pub(super) fn reply(&mut self, serial: u32) -> Result<Message, Fault> {
        loop {
            let message = self.receive()?;
            match message.reply_to {
                Some(to) if to == serial => return message.into_reply(),
                _ if message.is_signal() => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// Waits for the signal `member` that `pick` wants; gives what it picks.
    pub(super) fn signal<T>(&mut self, member: &str, pick: impl Fn(&Message) -> Option<T>) -> Result<T, Fault> {
        let wanted = |message: &Message| message.is_signal() && message.member == member;
        let mut came = std::mem::take(&mut self.signals);
        loop {
            if let Some(picked) = came.iter().filter(|message| wanted(message)).find_map(&pick) {
                return Ok(picked);
            }
            came = vec![self.receive()?];
        }
    }

    fn receive(&mut self) -> Result<Message, Fault> {
        let length = self.wait_for(|input| Ok(Message::length(input)?.filter(|length| input.len() >= *length)))?;
        let bytes: Vec<u8> = self.input.drain(..length).collect();
        Message::decode(&bytes)
    }

    /// Reads until `complete` finds what it looks for.
    fn wait_for(&mut self, complete: impl Fn(&[u8]) -> Result<Option<usize>, Fault>) -> Result<usize, Fault> {
        loop {
            if let Some(length) = complete(&self.input)? {
                return Ok(length);
            }
            self.wait(PollFlags::IN)?;
            self.input.reserve(4096);
            match rustix::io::read(&self.stream, spare_capacity(&mut self.input)) {
                Ok(0) => return Err(Fault::Closed),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            self.wait(PollFlags::OUT)?;
            match rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn wait(&self, events: PollFlags) -> Result<(), Fault> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut watched = [PollFd::from_borrowed_fd(self.stream.as_fd(), events)];
            match rustix::event::poll(&mut watched, Some(&timeout)) {
                Ok(0) => return Err(Fault::TimedOut),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// The bus itself, as a peer on it.
const BUS: &str = "org.freedesktop.DBus";

/// What a client of a bus says first: hello, and which signals it wants.
pub(super) fn introduction<'a>(rule: &'a [Value]) -> [Call<'a>; 2] {
    let call = |member, arguments| Call {
        destination: Some(BUS),
        path: "/org/freedesktop/DBus",
        interface: BUS,
        member,
        arguments,
    };
    [call("Hello", &[]), call("AddMatch", rule)]
}
