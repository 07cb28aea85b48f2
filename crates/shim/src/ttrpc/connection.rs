//! The server's side of one connection.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use containerd_shim_protos::protobuf::{EnumOrUnknown, Message};
use containerd_shim_protos::ttrpc::{Request, Response};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::frame::{self, FrameReader, Kind, Progress};
use super::status::{Code, Status};

/// How much may wait for a client that does not read. containerd always reads; what does not is given up.
const MOST_WAITING: usize = 8 << 20;

/// What a call gives: a message, or why not.
pub type Reply = Result<Vec<u8>, Status>;

/// A client that is connected.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    reader: FrameReader,
    /// What the socket has not taken yet.
    waiting: Vec<u8>,
    /// The client has closed its side, or cannot be served any longer.
    is_over: bool,
}

/// A request on its stream.
#[derive(Debug)]
pub struct Call {
    /// The answer goes there.
    pub stream: u32,
    /// What is asked for.
    pub request: Request,
}

impl Connection {
    /// Serves a connected socket that does not block.
    pub fn new(socket: OwnedFd) -> Connection {
        Connection { socket, reader: FrameReader::default(), waiting: Vec::new(), is_over: false }
    }

    /// Reads what has come; gives the calls in it. What is not a call is answered here.
    pub fn read(&mut self) -> Vec<Call> {
        if self.reader.fill(&self.socket) == Progress::Closed {
            self.is_over = true;
        }
        let mut calls = Vec::new();
        while let Some(frame) = self.reader.next() {
            let invalid = |why: &str| Err(Status::new(Code::INVALID_ARGUMENT, why));
            let refused = match (frame.kind, frame.message) {
                (Kind::Request, Some(_)) if frame.stream % 2 != 1 => invalid("a client's stream has an odd number"),
                (Kind::Request, Some(message)) => match Request::parse_from_bytes(&message) {
                    Ok(request) => {
                        calls.push(Call { stream: frame.stream, request });
                        continue;
                    }
                    Err(error) => invalid(&format!("the request cannot be read: {error}")),
                },
                (_, None) => {
                    let why = format!("the message is longer than {} bytes", frame::LONGEST);
                    Err(Status::new(Code::RESOURCE_EXHAUSTED, why))
                }
                (Kind::Response | Kind::Other(_), Some(_)) => invalid("this service has no streams"),
            };
            self.answer(frame.stream, refused);
        }
        calls
    }

    /// Sends the answer to a call, as far as the client takes it.
    pub fn answer(&mut self, stream: u32, reply: Reply) {
        let mut response = Response::new();
        let status = response.status.mut_or_insert_default();
        match reply {
            Ok(payload) => response.payload = payload,
            Err(failed) => {
                status.code = EnumOrUnknown::new(failed.code);
                status.message = failed.message;
            }
        }
        // Writing to memory does not fail.
        let message = response.write_to_bytes().unwrap_or_default();
        frame::put(&mut self.waiting, stream, Kind::Response, &message);
        self.flush();
    }

    /// Sends what is waiting.
    pub fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.waiting.len() {
            match rustix::net::send(&self.socket, &self.waiting[sent..], SendFlags::NOSIGNAL) {
                Ok(bytes) => sent += bytes,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.is_over = true;
                    break;
                }
            }
        }
        self.waiting.drain(..sent);
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
        self.is_over |= self.waiting.len() > MOST_WAITING;
    }

    /// Whether the socket is to be watched for room to write.
    pub fn wants_to_write(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether it can be dropped.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
