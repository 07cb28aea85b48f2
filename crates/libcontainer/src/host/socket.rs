//! Sockets on which a listener of the host's gets descriptors: consoles, pidfds, seccomp listeners.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::error::{Result, SysContext};

/// Connects to the listener at `path`.
///
/// # Errors
/// Names the path: it does not exist, is no socket, nobody listens, or it is longer than 107 bytes.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    let address = SocketAddrUnix::new(path).sys("connect", path.display())?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .sys("socket", "AF_UNIX")?;
    rustix::net::connect(&socket, &address).sys("connect", path.display())?;
    Ok(socket)
}

/// Sends `bytes`, with `descriptor` beside the first of them.
///
/// # Errors
/// If the other end is gone.
pub fn send(socket: &OwnedFd, bytes: &[u8], descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let mut rest = bytes;
    loop {
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(socket.as_fd(), &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL)
        })?;
        rest = rest.get(sent..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        control.clear();
    }
}
