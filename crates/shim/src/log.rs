//! The shim's log: the FIFO `log` in the bundle, which containerd copies to its own.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use libcontainer::container::rfc3339;
use rustix::fs::{CWD, Mode, OFlags};

/// Where lines go; nowhere, if containerd has made no FIFO.
#[derive(Debug)]
pub struct Log {
    fifo: Option<OwnedFd>,
    fields: String,
}

impl Log {
    /// Opens the FIFO of a bundle. For reading too, so that it never breaks while containerd is down; a line for which
    /// there is no room is lost, since the containers matter more.
    pub fn open(bundle: &Path, id: &str, namespace: &str) -> Log {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fifo = rustix::fs::openat(CWD, bundle.join("log"), flags, Mode::empty()).ok();
        Log { fifo, fields: format!("runtime=io.containerd.creel.v2 id={id} namespace={namespace}") }
    }

    /// Something is wrong that nobody else is told.
    pub fn warning(&self, message: impl std::fmt::Display) {
        let Some(fifo) = &self.fifo else { return };
        let time = rfc3339(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default());
        let line = format!("time=\"{time}\" level=warning msg={:?} {}\n", message.to_string(), self.fields);
        let _ = rustix::io::write(fifo, line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::FileType;
    use std::io::Read;

    use super::*;

    #[test]
    fn nobody_has_to_read_it() {
        let bundle = std::env::temp_dir().join(format!("creel-test-shim-log-{}", std::process::id()));
        std::fs::create_dir_all(&bundle).expect("mkdir");
        Log::open(&bundle, "c", "ns").warning("there is no FIFO");
        rustix::fs::mknodat(CWD, bundle.join("log"), FileType::Fifo, Mode::RWXU, 0).expect("mkfifo");
        let log = Log::open(&bundle, "c", "ns");
        // A reader that comes and goes, and then none, until the FIFO is full.
        drop(std::fs::OpenOptions::new().read(true).open(bundle.join("log")).expect("open"));
        for number in 0..2000 {
            log.warning(format_args!("warning {number}"));
        }
        let mut reader = std::fs::File::open(bundle.join("log")).expect("open");
        let mut text = vec![0; 4096];
        let read = reader.read(&mut text).expect("read");
        let text = String::from_utf8_lossy(&text[..read]).into_owned();
        let first = text.lines().next().expect("a line");
        assert!(first.contains("msg=\"warning 0\"") && first.ends_with("id=c namespace=ns"), "{first}");
        std::fs::remove_dir_all(&bundle).expect("remove");
    }
}
