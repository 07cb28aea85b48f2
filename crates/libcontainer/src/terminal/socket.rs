//! `--console-socket` and `--pidfd-socket`: a descriptor handed to a listener, as runc's contrib/recvtty expects it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{During, Phase, Result, SysContext};
use crate::host::socket;

/// Connects to the listener at `path`, before anything is made, so that a wrong path costs nothing.
///
/// # Errors
/// As [`socket::connect`].
pub fn connect(path: &Path) -> Result<OwnedFd> {
    socket::connect(path).during(Phase::Terminal)
}

/// Sends `descriptor` with `name` as the message's text.
pub fn send_descriptor(socket: &OwnedFd, name: &str, descriptor: BorrowedFd<'_>) -> Result<()> {
    socket::send(socket, name.as_bytes(), descriptor).sys("sendmsg", name).during(Phase::Terminal)
}
