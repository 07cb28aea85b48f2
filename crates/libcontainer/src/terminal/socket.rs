//! `--console-socket` and `--pidfd-socket`: a descriptor handed to a listener, as runc's contrib/recvtty expects it.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::error::{During, Phase, Result, SysContext};

/// Connects to the listener at `path`, before anything is made, so that a wrong path costs nothing.
///
/// # Errors
/// Names the path: it does not exist, is no socket, nobody listens, or it is longer than 107 bytes.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    let connect = || {
        let address = SocketAddrUnix::new(path).sys("connect", path.display())?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .sys("socket", "AF_UNIX")?;
        rustix::net::connect(&socket, &address).sys("connect", path.display())?;
        Ok(socket)
    };
    connect().during(Phase::Terminal)
}

/// Sends `descriptor` with `name` as the message's text.
pub fn send_descriptor(socket: &OwnedFd, name: &str, descriptor: BorrowedFd<'_>) -> Result<()> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(socket.as_fd(), &[IoSlice::new(name.as_bytes())], &mut control, SendFlags::NOSIGNAL)
        .sys("sendmsg", name)
        .during(Phase::Terminal)
        .map(drop)
}
