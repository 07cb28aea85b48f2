//! The streams of a process.
//!
//! FIFOs are handed to the process itself: its bytes never pass through the shim, cost it no memory, and one stream
//! cannot hold up another. Only a terminal is relayed, and what goes to a file, which a container must not be able to
//! truncate or to own. A worker opens everything; what the shim has to keep is sent to it with the worker's report.

pub mod fifo;
pub mod logger;
pub mod pump;
pub mod uri;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use libcontainer::error::{Error, Result, SysContext};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};

use self::logger::Logger;
use self::uri::Target;
use crate::ttrpc::Status;

/// What a request says of a process's streams.
#[derive(Clone, Debug, Default)]
pub struct Stdio {
    /// A FIFO's path, or empty.
    pub stdin: String,
    /// A path or URI, or empty.
    pub stdout: String,
    /// A path or URI, or empty.
    pub stderr: String,
    /// All three are one terminal.
    pub terminal: bool,
}

/// What a descriptor is for that the shim keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Keeps an output FIFO, or a logger's pipe, alive until the process is deleted.
    Output,
    /// Keeps the end of input away until it is closed.
    Input,
    /// The terminal's master.
    Console,
    /// What is typed, for the master.
    Typed,
    /// Where the terminal's output goes.
    Screen,
    /// The reading end of a pipe whose bytes go to the next [`Role::File`].
    Piped,
    /// A file that is appended to.
    File,
}

/// Streams that are open, in the worker.
#[derive(Debug)]
pub struct Opened {
    /// What the process gets as 0, 1 and 2.
    pub child: [OwnedFd; 3],
    /// What the shim keeps.
    pub kept: Vec<(Role, OwnedFd)>,
    /// The program that takes the output.
    pub logger: Option<Logger>,
}

/// Who the process and its streams belong to.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// containerd's namespace, which a logger is told.
    pub namespace: String,
    /// The container's id, or the exec's, likewise.
    pub id: String,
    /// The owner of pipes and FIFOs, where not root.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
}

/// Opens what `stdio` says. May wait: for the reader of a FIFO, for a logger to be ready.
///
/// # Errors
/// Names the path; nothing is left behind.
pub fn open(stdio: &Stdio, owner: &Owner) -> Result<Opened, Status> {
    let (stdout, stderr) = (Target::parse(&stdio.stdout)?, Target::parse(&stdio.stderr)?);
    let mut opening = Opening { kept: Vec::new(), logger: None, owner };
    let opened = match stdio.terminal {
        true => opening.terminal(&stdio.stdin, &stdout),
        false => opening.streams(&stdio.stdin, &stdout, &stderr),
    };
    let child = opened.inspect_err(|_| {
        opening.logger.iter().for_each(Logger::kill);
    })?;
    Ok(Opened { child, kept: opening.kept, logger: opening.logger })
}

struct Opening<'a> {
    kept: Vec<(Role, OwnedFd)>,
    logger: Option<Logger>,
    owner: &'a Owner,
}

impl Opening<'_> {
    /// The process gets its terminal from the library, and nothing else.
    fn terminal(&mut self, stdin: &str, stdout: &Target) -> Result<[OwnedFd; 3]> {
        if !stdin.is_empty() {
            let input = fifo::input(Path::new(stdin))?;
            no_wait(&input.reader)?;
            self.kept.extend([(Role::Input, input.keeper), (Role::Typed, input.reader)]);
        }
        let screen = match stdout {
            Target::Null => null()?,
            Target::Fifo(path) => {
                let output = fifo::output(path)?;
                no_wait(&output.writer)?;
                self.kept.push((Role::Output, output.keeper));
                output.writer
            }
            Target::File(path) => append(path)?,
            Target::Logger(uri) => {
                let (logger, [stdout, _]) = Logger::start(uri, self.owner)?;
                self.logger = Some(logger);
                no_wait(&stdout.writer)?;
                stdout.writer
            }
        };
        self.kept.push((Role::Screen, screen));
        Ok([null()?, null()?, null()?])
    }

    fn streams(&mut self, stdin: &str, stdout: &Target, stderr: &Target) -> Result<[OwnedFd; 3]> {
        let input = if stdin.is_empty() { null()? } else { self.input(Path::new(stdin))? };
        // As in containerd's own shim, stdout's scheme counts for both.
        let [output, errors] = match stdout {
            Target::Logger(uri) => {
                let (logger, pipes) = Logger::start(uri, self.owner)?;
                self.logger = Some(logger);
                pipes.map(|pipe| {
                    self.kept.push((Role::Output, pipe.keeper));
                    pipe.writer
                })
            }
            Target::File(path) => {
                let [output, errors] = [self.file(path)?, self.file(path)?];
                [output, errors]
            }
            _ => [self.output(stdout)?, self.output(stderr)?],
        };
        for stream in [&input, &output, &errors] {
            self.own(stream)?;
        }
        Ok([input, output, errors])
    }

    fn input(&mut self, path: &Path) -> Result<OwnedFd> {
        let input = fifo::input(path)?;
        self.kept.push((Role::Input, input.keeper));
        Ok(input.reader)
    }

    fn output(&mut self, target: &Target) -> Result<OwnedFd> {
        match target {
            Target::Null => null(),
            Target::Fifo(path) => {
                let output = fifo::output(path)?;
                self.kept.push((Role::Output, output.keeper));
                Ok(output.writer)
            }
            Target::File(path) => self.file(path),
            Target::Logger(_) => Err(Error::invalid("stderr", "only stdout can name a logger, which takes both")),
        }
    }

    /// A pipe into a file. Given the file itself, a container's root could open it anew from /proc and rewrite it.
    fn file(&mut self, path: &Path) -> Result<OwnedFd> {
        let file = append(path)?;
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).sys("pipe2", path.display())?;
        no_wait(&reader)?;
        self.kept.extend([(Role::Piped, reader), (Role::File, file)]);
        Ok(writer)
    }

    /// A user of the container has to be able to open its own streams anew (/dev/stdout).
    fn own(&self, stream: &OwnedFd) -> Result<()> {
        if self.owner.uid == 0 && self.owner.gid == 0 {
            return Ok(());
        }
        let stat = rustix::fs::fstat(stream).sys("fstat", "a stream")?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Fifo {
            return Ok(());
        }
        let (uid, gid) = (rustix::fs::Uid::from_raw(self.owner.uid), rustix::fs::Gid::from_raw(self.owner.gid));
        rustix::fs::fchown(stream, Some(uid), Some(gid)).sys("fchown", "a stream")
    }
}

/// What swallows everything, and has nothing.
///
/// # Errors
/// If there is no descriptor left.
pub fn null() -> Result<OwnedFd> {
    rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).sys("open", "/dev/null")
}

fn append(path: &Path) -> Result<OwnedFd> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).sys("mkdir", directory.display())?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644)).sys("open", path.display())
}

fn no_wait(fd: impl AsFd) -> Result<()> {
    rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK).sys("fcntl(F_SETFL)", "O_NONBLOCK")
}
