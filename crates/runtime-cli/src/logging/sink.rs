//! Where log lines go: a file, systemd's journal or the system's log daemon. crun's ways to name them.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Result as IoResult, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;

use anyhow::{Result, anyhow};

use super::{Level, plain};

/// systemd.journal-fields(7) and "Native Journal Protocol".
const JOURNAL: &str = "/run/systemd/journal/socket";
/// syslog(3).
const SYSLOG: &str = "/dev/log";
/// syslog(3)'s LOG_USER.
const FACILITY: u8 = 1 << 3;
/// What messages are sent as, unless the user names it.
const PROGRAM: &str = "creel";

/// A place for log lines.
#[derive(Debug)]
pub(super) enum Sink {
    /// Lines are appended.
    File(File),
    /// Entries with the field `ID`.
    Journal(UnixDatagram, String),
    /// Messages with a tag.
    Syslog(UnixDatagram, String),
}

impl Sink {
    /// Opens what `--log` names: `[file:]PATH`, `journald:ID` or `syslog:ID`.
    ///
    /// # Errors
    /// For a file that cannot be opened, and for a daemon that does not listen.
    pub(super) fn open(name: &OsStr) -> Result<Sink> {
        let bytes = name.as_bytes();
        let id = |bytes: &[u8]| match String::from_utf8_lossy(bytes) {
            id if id.is_empty() => PROGRAM.to_owned(),
            id => id.into_owned(),
        };
        if let Some(rest) = bytes.strip_prefix(b"journald:") {
            return Ok(Sink::Journal(connect(JOURNAL)?, id(rest)));
        }
        if let Some(rest) = bytes.strip_prefix(b"syslog:") {
            return Ok(Sink::Syslog(connect(SYSLOG)?, id(rest)));
        }
        open_file(OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes))).map(Sink::File)
    }

    /// Whether lines bear their level and time themselves; the daemons keep both beside a message.
    pub(super) fn wants_whole_lines(&self) -> bool {
        matches!(self, Sink::File(_))
    }

    /// Writes a line, or a message.
    pub(super) fn put(&self, level: Level, text: &str) -> IoResult<()> {
        match self {
            // One write per line: O_APPEND then keeps the lines of concurrent writers whole.
            Sink::File(file) => (&*file).write_all(text.as_bytes()),
            Sink::Journal(socket, id) => socket.send(&entry(level, id, text.trim_end())).map(drop),
            Sink::Syslog(socket, tag) => socket.send(&message(level, tag, text.trim_end())).map(drop),
        }
    }
}

fn connect(path: &str) -> Result<UnixDatagram> {
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
    connected.map_err(|error| anyhow!("connect {path}: {}", plain(&error)))
}

fn open_file(path: &OsStr) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(rustix::fs::OFlags::SYNC.bits().cast_signed())
        .open(path)
        .map_err(|error| anyhow!("open {}: {}", path.display(), plain(&error)))
}

/// The journal's own form: a text of several lines has its length in front.
fn entry(level: Level, id: &str, text: &str) -> Vec<u8> {
    let mut entry = format!("PRIORITY={}\nSYSLOG_IDENTIFIER={PROGRAM}\n", level.severity()).into_bytes();
    for (name, value) in [("ID", id), ("MESSAGE", text)] {
        entry.extend(name.as_bytes());
        if value.contains('\n') {
            entry.push(b'\n');
            entry.extend((value.len() as u64).to_le_bytes());
        } else {
            entry.push(b'=');
        }
        entry.extend(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

/// RFC 3164 without the time, which the daemon knows.
fn message(level: Level, tag: &str, text: &str) -> Vec<u8> {
    format!("<{}>{tag}: {text}", FACILITY | level.severity()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_get_their_own_forms() {
        assert_eq!(message(Level::Error, "c1", "it failed"), b"<11>c1: it failed");
        assert_eq!(entry(Level::Warning, "c1", "one"), b"PRIORITY=4\nSYSLOG_IDENTIFIER=creel\nID=c1\nMESSAGE=one\n");
        let long = entry(Level::Debug, "c1", "a\nb");
        assert!(long.starts_with(b"PRIORITY=7\n") && long.ends_with(b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"));
    }

    #[test]
    fn a_prefix_says_what_it_is() {
        let path = std::env::temp_dir().join(format!("creel-test-log-{}", std::process::id()));
        for prefix in ["", "file:"] {
            let name = format!("{prefix}{}", path.display());
            Sink::open(OsStr::new(&name)).expect("a file").put(Level::Error, "line\n").expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("the log"), "line\nline\n");
        std::fs::remove_file(&path).expect("removed");
    }
}
