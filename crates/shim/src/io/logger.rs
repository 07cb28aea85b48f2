//! `binary://`: a program that takes a process's output as its descriptors 3 and 4, and closes 5 when it is ready
//! (containerd's runtime v2 documentation, "Logging").

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use libcontainer::error::{Error, Kind, Result, SysContext};
use libcontainer::process::own;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, kill_process};

use super::uri::LoggerUri;
use super::{Owner, null};

/// A pipe of a logger's.
#[derive(Debug)]
pub struct LoggerPipe {
    /// For the process.
    pub writer: OwnedFd,
    /// Not read while the logger lives. A logger that ends then breaks no pipe, so the process is not killed by SIGPIPE.
    pub keeper: OwnedFd,
}

/// How long it may take to be ready, in seconds.
const READY_LIMIT: i64 = 30;

/// A logger that runs, a child of whoever started it.
#[derive(Debug)]
pub struct Logger {
    /// Not collected yet, so nobody else can have it.
    pub pid: Pid,
}

impl Logger {
    /// Starts it and waits until it is ready; gives its two pipes.
    ///
    /// # Errors
    /// If it cannot be executed or does not become ready.
    pub fn start(uri: &LoggerUri, owner: &Owner) -> Result<(Logger, [LoggerPipe; 2])> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).sys("pipe2", "for a logger");
        let ((out_reader, out), (err_reader, err), (ready, ready_writer)) = (pipe()?, pipe()?, pipe()?);
        let args: Vec<String> =
            std::iter::once(uri.path.to_string_lossy().into_owned()).chain(uri.args.iter().cloned()).collect();
        let env = [format!("CONTAINER_ID={}", owner.id), format!("CONTAINER_NAMESPACE={}", owner.namespace)];
        let null = null()?;
        let stdio = [null.as_fd(), null.as_fd(), null.as_fd()];
        let others = [out_reader.as_fd(), err_reader.as_fd(), ready_writer.as_fd()];
        let pid = own::spawn(&uri.path, &args, &env, stdio, &others).map_err(|error| error.within("logger"))?;
        let logger = Logger { pid };
        drop(ready_writer);
        let waited = await_ready(ready, uri);
        waited.inspect_err(|_| logger.kill())?;
        let out = LoggerPipe { writer: out, keeper: out_reader };
        Ok((logger, [out, LoggerPipe { writer: err, keeper: err_reader }]))
    }

    /// Ends it, when there is nothing to log after all.
    pub fn kill(&self) {
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

fn await_ready(ready: OwnedFd, uri: &LoggerUri) -> Result<()> {
    let failed = |why: &str| Err(Error::new(Kind::System, format!("logger {}: {why}", uri.path.display())));
    let limit = Timespec { tv_sec: READY_LIMIT, tv_nsec: 0 };
    let mut watched = [PollFd::new(&ready, PollFlags::IN)];
    if rustix::io::retry_on_intr(|| poll(&mut watched, Some(&limit))).sys("poll", "a logger")? == 0 {
        return failed("it did not say that it is ready");
    }
    let mut byte = [0u8; 1];
    let read = File::from(ready).read(&mut byte).sys("read", "a logger's readiness")?;
    if uri.says_ready && read == 0 {
        return failed("it ended, or closed descriptor 5, without saying that it is ready");
    }
    Ok(())
}
