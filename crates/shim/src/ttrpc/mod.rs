//! ttrpc, the transport between containerd and its shims: frames over a stream socket, one request and one response
//! each (ttrpc's PROTOCOL.md). Only unary calls: neither the task API nor the events service streams.

pub mod client;
pub mod connection;
pub mod frame;
pub mod status;

pub use connection::Connection;
pub use status::{Code, Status};
