//! The caller's terminal in raw mode, and the container's terminal that it is connected to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use libcontainer::error::{Error, Kind, Phase};
use libcontainer::spec::ConsoleSize;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{
    OptionalActions, OutputModes, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// The master of the container's terminal, and the terminal that we sit on.
#[derive(Debug)]
pub struct Terminal {
    console: OwnedFd,
    host: RawTerminal,
}

impl Terminal {
    /// Connects them: our terminal becomes raw until this is dropped, the container's gets its size.
    ///
    /// # Errors
    /// If `console` is not a terminal's master, or ours is gone or cannot be made raw.
    pub fn attach(console: OwnedFd) -> Result<Terminal> {
        if !rustix::termios::isatty(&console) {
            bail!("what should be its master is no terminal");
        }
        // The poll loop must not hang on a container that does not read.
        let flags = rustix::fs::fcntl_getfl(&console).context("fcntl")?;
        rustix::fs::fcntl_setfl(&console, flags | OFlags::NONBLOCK).context("fcntl")?;
        let host = RawTerminal::enter(find()?)?;
        let terminal = Terminal { console, host };
        terminal.resize();
        Ok(terminal)
    }

    /// The master of the container's terminal.
    pub fn console(&self) -> BorrowedFd<'_> {
        self.console.as_fd()
    }

    /// Gives the container's terminal the size of ours. A size that is not known (0) leaves the one of config.json.
    pub fn resize(&self) {
        if let Some(size) = known_size(&self.host.fd) {
            // A terminal that is gone needs no size.
            let _ = tcsetwinsize(&self.console, size);
        }
    }
}

/// The size of the terminal that we sit on, if it knows: what the container's is to have from its first moment on, since a
/// process may ask before [`Terminal::attach`], and be disturbed by a change.
///
/// # Errors
/// If there is none: what the container reads from its terminal would never come to an end.
pub fn size() -> libcontainer::Result<Option<ConsoleSize>> {
    let size = known_size(&find()?);
    Ok(size.map(|size| ConsoleSize { height: size.ws_row, width: size.ws_col }))
}

fn known_size(terminal: &OwnedFd) -> Option<Winsize> {
    tcgetwinsize(terminal).ok().filter(|size| size.ws_row != 0 && size.ws_col != 0)
}

/// The terminal that we sit on: one of the standard streams if they are not all redirected, else the controlling one.
fn find() -> libcontainer::Result<OwnedFd> {
    let streams = [rustix::stdio::stderr(), rustix::stdio::stdout(), rustix::stdio::stdin()];
    let found = match streams.into_iter().find(|stream| rustix::termios::isatty(stream)) {
        Some(stream) => rustix::io::fcntl_dupfd_cloexec(stream, 3),
        None => rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()),
    };
    found.map_err(|errno| {
        Error::failed("open /dev/tty", errno)
            .of_kind(Kind::WrongState)
            .during(Phase::Terminal)
            .cause("there is no terminal here to connect the process's own to")
            .remedy("run it on one, or with --detach and --console-socket, or give the process none")
    })
}

/// A terminal in raw mode; dropping it restores its modes.
#[derive(Debug)]
struct RawTerminal {
    fd: OwnedFd,
    saved: Termios,
}

impl RawTerminal {
    fn enter(fd: OwnedFd) -> Result<RawTerminal> {
        let saved = tcgetattr(&fd).context("tcgetattr")?;
        let mut raw = saved.clone();
        raw.make_raw();
        // Output keeps being processed, since other programs (and our own messages) write to it too.
        raw.output_modes.insert(OutputModes::OPOST);
        tcsetattr(&fd, OptionalActions::Now, &raw).context("tcsetattr")?;
        Ok(RawTerminal { fd, saved })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // It may have been hung up; then there is nothing to restore.
        let _ = tcsetattr(&self.fd, OptionalActions::Now, &self.saved);
    }
}

#[cfg(test)]
mod tests {
    use rustix::termios::LocalModes;

    use super::*;
    use crate::foreground::relay::tests::terminal_pair;

    #[test]
    fn raw_mode_ends_with_its_guard() {
        let (_master, slave) = terminal_pair();
        let before = tcgetattr(&slave).expect("modes");
        assert!(before.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        let raw = RawTerminal::enter(slave.try_clone().expect("dup")).expect("raw");
        let during = tcgetattr(&slave).expect("modes");
        assert!(!during.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        assert!(during.output_modes.contains(OutputModes::OPOST));
        drop(raw);
        let after = tcgetattr(&slave).expect("modes");
        assert_eq!((after.local_modes, after.output_modes), (before.local_modes, before.output_modes));
    }

    #[test]
    fn the_container_gets_our_size_unless_it_is_not_known() {
        let size = |row, col| Winsize { ws_row: row, ws_col: col, ws_xpixel: 0, ws_ypixel: 0 };
        let (_our_master, our_slave) = terminal_pair();
        let (console, slave) = terminal_pair();
        tcsetwinsize(&console, size(10, 20)).expect("size");
        let host = RawTerminal::enter(our_slave.try_clone().expect("dup")).expect("raw");
        let terminal = Terminal { console, host };
        terminal.resize();
        assert_eq!(tcgetwinsize(&slave).expect("size").ws_col, 20);
        tcsetwinsize(&our_slave, size(33, 44)).expect("size");
        terminal.resize();
        let now = tcgetwinsize(&slave).expect("size");
        assert_eq!((now.ws_row, now.ws_col), (33, 44));
    }
}
