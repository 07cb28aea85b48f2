//! Opening a pseudo-terminal inside the container. The image may have put anything where a terminal is expected
//! (CVE-2025-52565), so each thing is checked on its descriptor before it is used.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Winsize};

use super::TerminalPlan;
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::paths::open_within;
use crate::tree;

/// The magic number of devpts (linux/magic.h).
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// The device number of every devpts instance's multiplexer (kernel doc devices.txt).
const PTMX: (u32, u32) = (5, 2);

/// An open pseudo-terminal.
#[derive(Debug)]
pub struct Terminal {
    /// The side that the attendant reads and writes.
    pub master: OwnedFd,
    slave: OwnedFd,
}

/// Opens a terminal of the calling process's /dev/pts, and binds it to /dev/console if the plan says so.
///
/// # Errors
/// If /dev/ptmx does not lead to the multiplexer of a devpts.
pub fn open(plan: TerminalPlan) -> Result<Terminal> {
    open_pair(plan).during(Phase::Terminal)
}

fn open_pair(plan: TerminalPlan) -> Result<Terminal> {
    let master = open_multiplexer()?;
    rustix::pty::unlockpt(&master).sys("ioctl(TIOCSPTLCK)", "/dev/ptmx")?;
    // By descriptor: a path such as /dev/pts/0 could be another file than the master's peer by now.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).sys("ioctl(TIOCGPTPEER)", "/dev/ptmx")?;
    if let Some(size) = plan.size.filter(|size| size.height != 0 || size.width != 0) {
        let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).sys("ioctl(TIOCSWINSZ)", "process.consoleSize")?;
    }
    if plan.console {
        bind_console(&slave)?;
    }
    Ok(Terminal { master, slave })
}

/// Prepares the master for one who shows what it gives on a terminal of his own, which makes "\r\n" of "\n" already: so
/// this one must not. To be done before the payload can write anything.
///
/// # Errors
/// If it is not a terminal's master.
pub fn attend(master: &OwnedFd) -> Result<()> {
    let modes = || {
        let mut modes = rustix::termios::tcgetattr(master)?;
        modes.output_modes.remove(OutputModes::ONLCR);
        rustix::termios::tcsetattr(master, OptionalActions::Now, &modes)
    };
    modes().sys("ioctl(TCSETS)", "the container's terminal").during(Phase::Terminal)
}

fn open_multiplexer() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let fd = open_within(CWD, Path::new("/dev/ptmx"), flags, resolve)
        .sys("openat2", "/dev/ptmx")
        .map_err(|error| error.remedy("mount devpts on /dev/pts, or set process.terminal to false"))?;
    let stat = rustix::fs::fstat(&fd).sys("fstat", "/dev/ptmx")?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let devpts = rustix::fs::fstatfs(&fd).sys("fstatfs", "/dev/ptmx")?.f_type as i64 == DEVPTS_SUPER_MAGIC;
    if character && device == PTMX && devpts {
        return Ok(fd);
    }
    Err(Error::invalid("/dev/ptmx", "it is not the multiplexer of a devpts")
        .cause("the image or a mount put something else there")
        .remedy("mount devpts on /dev/pts"))
}

/// Makes /dev/console the terminal, as a system container expects it. A link there is not followed: it could lead to
/// any file that init may write (CVE-2025-52565).
fn bind_console(slave: &OwnedFd) -> Result<()> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let dev = open_within(CWD, Path::new("/dev"), directory, resolve).sys("openat2", "/dev")?;
    let create = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let target =
        match rustix::fs::openat(&dev, c"console", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => {
                rustix::fs::openat(&dev, c"console", create | OFlags::EXCL, Mode::from_raw_mode(0o666))
            }
            found => found,
        }
        .sys("openat", "/dev/console")?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&target).sys("fstat", "/dev/console")?.st_mode);
    if matches!(kind, FileType::Symlink | FileType::Directory) {
        return Err(Error::invalid("/dev/console", "it is a symbolic link or a directory")
            .cause("the image or a mount put it there")
            .remedy("remove it, or mount a tmpfs on /dev"));
    }
    tree::bind(slave, &target).sys("open_tree, move_mount", "the terminal to /dev/console")
}

impl Terminal {
    /// Makes it the controlling terminal of this session leader, and its stdin, stdout and stderr.
    pub fn attach(&self) -> Result<()> {
        let attach = || {
            rustix::process::ioctl_tiocsctty(&self.slave).sys("ioctl(TIOCSCTTY)", "the terminal")?;
            rustix::stdio::dup2_stdin(&self.slave).sys("dup2", "stdin")?;
            rustix::stdio::dup2_stdout(&self.slave).sys("dup2", "stdout")?;
            rustix::stdio::dup2_stderr(&self.slave).sys("dup2", "stderr")
        };
        attach().during(Phase::Terminal)
    }
}

#[cfg(test)]
mod tests {
    use rustix::pty::OpenptFlags;

    use super::*;

    #[test]
    fn an_attended_terminal_leaves_line_ends_alone() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("openpt");
        rustix::pty::unlockpt(&master).expect("unlockpt");
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).expect("the slave");
        let read = |text: &[u8]| {
            rustix::io::write(&slave, text).expect("write");
            let mut bytes = [0; 16];
            let count = rustix::io::read(&master, &mut bytes).expect("read");
            bytes[..count].to_vec()
        };
        assert_eq!(read(b"a\n"), b"a\r\n");
        attend(&master).expect("attend");
        assert_eq!(read(b"a\n"), b"a\n");
        let file = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("open");
        let error = attend(&file).expect_err("no terminal").to_string();
        assert!(error.contains("the container's terminal"), "{error}");
    }
}
