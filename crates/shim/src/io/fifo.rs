//! Opening containerd's FIFOs so that neither we nor the container ever depend on the other end being there.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use libcontainer::error::{Error, Result, SysContext};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

/// How long a process waits for the reader of its output to be there.
const READER_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

/// Both ends of an output stream.
#[derive(Debug)]
pub struct Output {
    /// For the writer, and blocking: a reader that is slow holds it up.
    pub writer: OwnedFd,
    /// Never read. While it is open, the reader may go and come again: the writer gets no SIGPIPE, and what it has
    /// written stays in the FIFO.
    pub keeper: OwnedFd,
}

/// Opens a FIFO for a process's output.
///
/// # Errors
/// If it does not exist or is no FIFO.
pub fn output(path: &Path) -> Result<Output> {
    let writer = with_reader(path)?;
    let keeper = open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let writer = match writer {
        Some(writer) => writer,
        // Now the keeper is a reader.
        None => open(path, OFlags::WRONLY | OFlags::NONBLOCK)?,
    };
    rustix::fs::fcntl_setfl(&writer, OFlags::empty()).sys("fcntl(F_SETFL)", path.display())?;
    Ok(Output { writer, keeper })
}

/// Opens it for writing when it has a reader, or one that waits to be: if the process had ended before that one came, it
/// would wait for a writer for ever. None if there is none for long: containerd is being restarted, which must not keep
/// the process from running.
///
/// What is opened must stay so: a reader that has seen a writer come and go takes that for the end.
fn with_reader(path: &Path) -> Result<Option<OwnedFd>> {
    let deadline = Instant::now() + READER_LIMIT;
    loop {
        match open(path, OFlags::WRONLY | OFlags::NONBLOCK) {
            // Nobody has it open for reading.
            Err(error) if error.errno() == Some(Errno::NXIO) => {}
            other => return other.map(Some),
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Both ends of an input stream.
#[derive(Debug)]
pub struct Input {
    /// For the process, and blocking.
    pub reader: OwnedFd,
    /// Never written. While it is open, the process sees no end of its input, though the writer goes and comes again.
    pub keeper: OwnedFd,
}

/// Opens a FIFO for a process's input.
///
/// # Errors
/// As [`output`].
pub fn input(path: &Path) -> Result<Input> {
    let reader = open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let keeper = open(path, OFlags::WRONLY | OFlags::NONBLOCK)?;
    rustix::fs::fcntl_setfl(&reader, OFlags::empty()).sys("fcntl(F_SETFL)", path.display())?;
    Ok(Input { reader, keeper })
}

/// With `O_NONBLOCK`, always: what is no FIFO could wait for ever.
fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).sys("open", path.display())?;
    let stat = rustix::fs::fstat(&fd).sys("fstat", path.display())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        return Err(Error::invalid(path.display(), "it is not a FIFO"));
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn with_fifo(name: &str, test: impl FnOnce(&Path)) {
        let path: PathBuf = std::env::temp_dir().join(format!("creel-test-shim-{name}-{}", std::process::id()));
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).expect("mkfifo");
        test(&path);
        std::fs::remove_file(&path).expect("remove");
    }

    #[test]
    fn output_survives_its_reader() {
        with_fifo("output", |path| {
            let output = output(path).expect("open");
            let reader = open(path, OFlags::RDONLY | OFlags::NONBLOCK).expect("reader");
            drop(reader);
            rustix::io::write(&output.writer, b"kept").expect("no SIGPIPE");
            let reader = open(path, OFlags::RDONLY | OFlags::NONBLOCK).expect("reader");
            drop(output.writer);
            let mut buffer = [0u8; 8];
            assert_eq!(rustix::io::read(&reader, &mut buffer[..]), Ok(4));
            assert_eq!(rustix::io::read(&reader, &mut buffer[..]), Ok(0), "the keeper keeps no writer's end");
        });
    }

    #[test]
    fn input_survives_its_writer_until_the_keeper_goes() {
        with_fifo("input", |path| {
            let input = input(path).expect("open");
            drop(open(path, OFlags::WRONLY | OFlags::NONBLOCK).expect("writer"));
            rustix::fs::fcntl_setfl(&input.reader, OFlags::NONBLOCK).expect("nonblocking");
            let mut buffer = [0u8; 8];
            assert_eq!(rustix::io::read(&input.reader, &mut buffer[..]), Err(Errno::AGAIN));
            drop(input.keeper);
            assert_eq!(rustix::io::read(&input.reader, &mut buffer[..]), Ok(0));
        });
    }

    #[test]
    fn what_is_no_fifo_is_refused() {
        let error = output(Path::new("/dev/null")).expect_err("a device").to_string();
        assert!(error.contains("not a FIFO"), "{error}");
    }
}
