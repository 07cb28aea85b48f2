//! What a hook reads and what it prints.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::error::{Result, SysContext};

/// How much of a hook's output is kept: its end, for the message.
const KEPT: usize = 4096;

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// How many chunks are read after the hook's exit: more than a pipe holds, and not for ever if a process that the hook
/// left behind keeps writing.
const LAST_CHUNKS: usize = 8;

/// A descriptor to read `state` from, complete before the hook starts.
///
/// The hook may close it unread, and a write then would raise SIGPIPE here: ignored or not, it would stay pending while
/// the runtime blocks signals, and hit the container's process after its exec. So everything is written while the
/// reading end is still ours. That takes a pipe that holds it all, or else (a state beyond
/// /proc/sys/fs/pipe-max-size) a memfd.
pub(super) fn stdin(state: &[u8]) -> Result<OwnedFd> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).sys("pipe2", "a hook's stdin")?;
    let mut capacity = rustix::pipe::fcntl_getpipe_size(&writer).sys("fcntl(F_GETPIPE_SZ)", "a hook's stdin")?;
    if capacity < state.len() {
        capacity = rustix::pipe::fcntl_setpipe_size(&writer, state.len()).unwrap_or(capacity);
    }
    if capacity >= state.len() {
        write_all(writer.as_fd(), state)?;
        return Ok(reader);
    }
    let memfd = memfd()?;
    write_all(memfd.as_fd(), state)?;
    rustix::fs::seek(&memfd, SeekFrom::Start(0)).sys("lseek", "a hook's stdin")?;
    Ok(memfd)
}

/// Not executable, which vm.memfd_noexec=2 demands and kernels before 6.3 do not know.
fn memfd() -> Result<OwnedFd> {
    let create = |flags| rustix::fs::memfd_create("hook-state", flags | MemfdFlags::CLOEXEC);
    match create(MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => create(MemfdFlags::empty()),
        result => result,
    }
    .sys("memfd_create", "a hook's stdin")
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes)).sys("write", "a hook's stdin")?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// The reading end of a hook's stdout or stderr, and the end of what came through it.
pub(super) struct Output {
    reader: Option<OwnedFd>,
    kept: Vec<u8>,
}

impl Output {
    /// A pipe, unless there is a `file`, and what is for the hook.
    pub(super) fn new(file: Option<&OwnedFd>) -> Result<(Output, OwnedFd)> {
        if let Some(file) = file {
            let writer = file.try_clone().sys("fcntl(F_DUPFD_CLOEXEC)", "a hook's output")?;
            return Ok((Output { reader: None, kept: Vec::new() }, writer));
        }
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).sys("pipe2", "a hook's output")?;
        // Only this end: the hook's own must block.
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).sys("fcntl(F_SETFL)", "a hook's output")?;
        Ok((Output { reader: Some(reader), kept: Vec::new() }, writer))
    }

    /// What to poll, until everyone has closed the other end.
    pub(super) fn reader(&self) -> Option<BorrowedFd<'_>> {
        self.reader.as_ref().map(AsFd::as_fd)
    }

    /// Reads a chunk; whether there may be more at once.
    pub(super) fn read(&mut self) -> Result<bool> {
        let Some(reader) = &self.reader else { return Ok(false) };
        let mut chunk = [0; CHUNK];
        match rustix::io::retry_on_intr(|| rustix::io::read(reader, &mut chunk)) {
            Err(Errno::AGAIN) => return Ok(false),
            result => {
                let length = result.sys("read", "a hook's output")?;
                if length == 0 {
                    self.reader = None;
                }
                self.kept.extend_from_slice(chunk.get(..length).unwrap_or_default());
            }
        }
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
        Ok(self.reader.is_some())
    }

    /// Reads what the hook left in the pipe when it exited.
    pub(super) fn read_rest(&mut self) -> Result<()> {
        for _ in 0..LAST_CHUNKS {
            if !self.read()? {
                break;
            }
        }
        Ok(())
    }

    /// The end of the output, for a message.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).trim_end().to_owned()
    }
}
