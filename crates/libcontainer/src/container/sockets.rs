//! The sockets of `--console-socket` and `--pidfd-socket`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Error, Kind, Phase, Result};
use crate::terminal;

/// Where descriptors are handed to; connected before anything is made, so that a wrong path costs nothing.
pub(super) struct Sockets {
    console: Option<OwnedFd>,
    pidfd: Option<OwnedFd>,
}

impl Sockets {
    /// `has_terminal`: the process gets one; `attached`: the caller attends it.
    ///
    /// # Errors
    /// If nobody would get the terminal's master, or a socket would never get one; or as [`terminal::connect`].
    pub(super) fn connect(
        (console, pidfd): (Option<&Path>, Option<&Path>),
        has_terminal: bool,
        attached: bool,
    ) -> Result<Sockets> {
        let refuse = |why: &str| Err(Error::new(Kind::Invalid, why).during(Phase::Terminal));
        match (console, has_terminal, attached) {
            (None, true, false) => refuse("cannot allocate tty if creel will detach without setting console socket"),
            (Some(_), false, _) | (Some(_), _, true) => {
                refuse("cannot use console socket if creel will not detach or allocate tty")
            }
            _ => Ok(Sockets {
                console: console.map(terminal::connect).transpose()?,
                pidfd: pidfd.map(terminal::connect).transpose()?,
            }),
        }
    }

    /// Hands over the terminal's master, or keeps it for a caller who attends it, and who shows what it gives on a
    /// terminal of its own unless it is `raw`.
    pub(super) fn hand_over_console(&self, console: Option<OwnedFd>, raw: bool) -> Result<Option<OwnedFd>> {
        match (&self.console, console) {
            (Some(socket), Some(console)) => {
                terminal::send_descriptor(socket, "/dev/ptmx", console.as_fd())?;
                Ok(None)
            }
            (None, Some(console)) if raw => Ok(Some(console)),
            (None, Some(console)) => {
                terminal::attend(&console)?;
                Ok(Some(console))
            }
            (_, None) => Ok(None),
        }
    }

    pub(super) fn hand_over_pidfd(&self, pidfd: &OwnedFd) -> Result<()> {
        self.pidfd.as_ref().map_or(Ok(()), |socket| terminal::send_descriptor(socket, "pidfd", pidfd.as_fd()))
    }
}
