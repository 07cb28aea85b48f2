//! Where a created container's init waits for `start`: two FIFOs in its state directory.
//!
//! Init holds both open for reading and writing, so it never blocks in an open, and a starter learns at once that init
//! is gone (ENXIO). The starter writes a byte to the first. On the second comes back a byte when init is about to execute
//! the payload, or the failure of a hook or of the execve; its end of file means that the payload was executed, since
//! both are close-on-exec, or, without that byte, that init was killed. Init needs no system calls for all this beyond
//! read(2) and write(2), which seccomp profiles allow, as runc's init needs them too.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::channel::garbled;
use crate::error::{Error, Kind, Phase, Result, SysContext};

const START: &str = "exec.fifo";
const RESULT: &str = "exec.result";
/// Init is about to execute the payload.
const EXECUTING: u8 = b'x';

/// Init's side.
#[derive(Debug)]
pub(crate) struct Gate {
    start: OwnedFd,
    result: OwnedFd,
}

impl Gate {
    /// Makes both FIFOs in the state directory.
    pub(crate) fn make(directory: BorrowedFd<'_>) -> Result<Gate> {
        let make = |name: &str| {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(directory, name, FileType::Fifo, mode, 0).sys("mknodat", name)?;
            rustix::fs::openat(directory, name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).sys("openat", name)
        };
        Ok(Gate { start: make(START)?, result: make(RESULT)? })
    }

    /// Both descriptors, all that a waiting init needs.
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.start.as_fd(), self.result.as_fd()]
    }

    /// Waits for `start`.
    pub(crate) fn wait(&self) -> Result<()> {
        loop {
            match rustix::io::read(&self.start, &mut [0u8; 1]) {
                Err(Errno::INTR) => continue,
                other => return other.sys("read", START).map(drop),
            }
        }
    }

    /// Tells the starter that all is done but the execve.
    pub(crate) fn executing(&self) {
        // If the starter does not learn it, it says that init was killed; there is nothing better to do here.
        let _ = rustix::io::write(&self.result, &[EXECUTING]);
    }

    /// Tells the starter why the payload could not be executed.
    pub(crate) fn fail(&self, error: &Error) {
        // Nobody else is left to be told if this fails: the starter will see init gone.
        if let Ok(text) = serde_json::to_vec(&error.clone().shortened()) {
            let _ = rustix::io::write(&self.result, &text);
        }
    }
}

/// Lets the init that waits in `directory` go on; returns when it has executed its payload.
///
/// # Errors
/// The failure of init's last steps; or that init is gone.
pub(crate) fn open(directory: BorrowedFd<'_>) -> Result<()> {
    let gone = || Error::new(Kind::WrongState, "the container's init is gone").during(Phase::Start);
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |name: &str, access| match rustix::fs::openat(directory, name, flags | access, Mode::empty()) {
        Err(Errno::NXIO) => Err(gone()),
        other => other.sys("openat", name),
    };
    let result = open(RESULT, OFlags::RDONLY)?;
    let start = open(START, OFlags::WRONLY)?;
    match rustix::io::write(&start, b"0") {
        Err(Errno::PIPE) => return Err(gone()),
        other => other.sys("write", START)?,
    };
    read_result(File::from(result))
}

fn read_result(mut result: File) -> Result<()> {
    let mut text = Vec::new();
    loop {
        match result.read_to_end(&mut text) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => wait_readable(&result)?,
            other => break other.sys("read", RESULT).map(drop)?,
        }
    }
    let (executing, error) = match text.split_first() {
        Some((&EXECUTING, rest)) => (true, rest),
        _ => (false, text.as_slice()),
    };
    match (executing, error.is_empty()) {
        (true, true) => Ok(()),
        (false, true) => {
            Err(Error::new(Kind::System, "the container's init was killed before it could execute its process"))
        }
        (_, false) => Err(serde_json::from_slice(error).unwrap_or_else(|_| garbled())),
    }
}

fn wait_readable(result: &File) -> Result<()> {
    match rustix::event::poll(&mut [PollFd::from_borrowed_fd(result.as_fd(), PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Error::system("poll", RESULT, errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_directory(body: impl FnOnce(BorrowedFd<'_>)) {
        let path = std::env::temp_dir().join(format!(
            "creel-test-gate-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir(&path).expect("mkdir");
        let directory = File::open(&path).expect("open");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(directory.as_fd())));
        std::fs::remove_dir_all(&path).expect("remove");
        result.expect("body");
    }

    #[test]
    fn the_starter_hears_of_success_failure_and_death() {
        in_directory(|directory| {
            let gate = Gate::make(directory).expect("make");
            std::thread::scope(|scope| {
                let starter = scope.spawn(|| open(directory));
                gate.wait().expect("wait");
                gate.executing();
                drop(gate);
                starter.join().expect("join").expect("success");
            });
            assert!(open(directory).expect_err("nobody there").to_string().contains("init is gone"));
        });
        in_directory(|directory| {
            let gate = Gate::make(directory).expect("make");
            std::thread::scope(|scope| {
                let starter = scope.spawn(|| open(directory));
                gate.wait().expect("wait");
                drop(gate);
                let error = starter.join().expect("join").expect_err("killed").to_string();
                assert!(error.contains("was killed before it could execute"), "{error}");
            });
        });
        in_directory(|directory| {
            let gate = Gate::make(directory).expect("make");
            let error = Error::new(Kind::ExecNotExecutable, "exec").during(Phase::Exec);
            std::thread::scope(|scope| {
                let starter = scope.spawn(|| open(directory));
                gate.wait().expect("wait");
                gate.executing();
                gate.fail(&error);
                drop(gate);
                assert_eq!(starter.join().expect("join").expect_err("failure"), error);
            });
        });
    }
}
