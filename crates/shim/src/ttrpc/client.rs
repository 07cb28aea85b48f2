//! The client's side, as much of it as the events service needs: one call at a time, never waiting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::{Code, Request, Response};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::frame::{self, FrameReader, Kind, Progress};
use super::status::Status;

/// A connection with at most one call under way.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    reader: FrameReader,
    waiting: Vec<u8>,
    /// The last stream that was begun; clients' have odd numbers, and none is used again.
    stream: u32,
    is_over: bool,
}

impl Client {
    /// Connects to the listener at `path`.
    ///
    /// # Errors
    /// If nobody listens there, or its queue is full.
    pub fn connect(path: &Path) -> Result<Client, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        let (reader, waiting) = (FrameReader::default(), Vec::new());
        // The next stream is the first.
        Ok(Client { socket, reader, waiting, stream: u32::MAX, is_over: false })
    }

    /// Begins a call; the one before must be over.
    pub fn call(&mut self, service: &str, method: &str, payload: Vec<u8>) {
        self.stream = self.stream.wrapping_add(2);
        let mut request = Request::new();
        request.service = service.to_owned();
        request.method = method.to_owned();
        request.payload = payload;
        // Writing to memory does not fail.
        frame::put(&mut self.waiting, self.stream, Kind::Request, &request.write_to_bytes().unwrap_or_default());
        self.flush();
    }

    /// Reads what has come; gives the outcome of the call, if it is there.
    pub fn read(&mut self) -> Option<Result<(), Status>> {
        if self.reader.fill(&self.socket) == Progress::Closed {
            self.is_over = true;
        }
        while let Some(frame) = self.reader.next() {
            let (Kind::Response, Some(message), true) = (frame.kind, frame.message, frame.stream == self.stream) else {
                continue;
            };
            let Ok(response) = Response::parse_from_bytes(&message) else {
                return Some(Err(Status::new(Code::INTERNAL, "the response cannot be read")));
            };
            let status = response.status.unwrap_or_default();
            let code = status.code.enum_value_or(Code::UNKNOWN);
            return Some(if code == Code::OK { Ok(()) } else { Err(Status::new(code, status.message)) });
        }
        None
    }

    /// Sends what is waiting.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match rustix::net::send(&self.socket, &self.waiting, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.waiting.drain(..sent)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
        self.waiting = Vec::new();
    }

    /// Whether the socket is to be watched for room to write.
    pub fn wants_to_write(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the server is gone.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
