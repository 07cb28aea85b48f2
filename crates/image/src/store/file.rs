//! Files that are either whole or not there.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Kind, Result, SysContext};

/// Replaces `path` by a file with `bytes`, durably.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // A name of its own for each process and thread; what a killed one leaves, gc removes.
    let unique = format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let temporary = match path.file_name() {
        Some(name) => path.with_file_name(format!("{}{unique}", name.to_string_lossy())),
        None => return Err(Error::invalid(path.display(), "is not a file's name")),
    };
    let written = write_new(&temporary, bytes).and_then(|()| rename(&temporary, path));
    if written.is_err() {
        // The first error is the one that counts.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(path).sys("open", path.display())?;
    file.write_all(bytes).sys("write", path.display())?;
    file.sync_all().sys("fsync", path.display())
}

/// Renames, and has the new name survive a loss of power.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).sys("rename", to.display())?;
    let parent = to.parent().unwrap_or(Path::new("/"));
    let parent_file = File::open(parent).sys("open", parent.display())?;
    parent_file.sync_all().sys("fsync", parent.display())
}

/// Opens a file for reading and writing, and makes it if there is none.
pub fn open_or_create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).sys("open", path.display())
}

/// Opens a file for reading, if it is still there.
pub fn open_if_there(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).sys("open", path.display()),
    }
}

/// flock(2), which a signal does not end.
pub fn flock(file: &File, operation: FlockOperation, path: &Path) -> Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation)).sys("flock", path.display())
}

/// Whether nobody holds the file's lock; if so, it is held now.
pub fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).sys("flock", path.display()),
    }
}

/// Whether `path` still names `file`.
pub fn is_named(file: &File, path: &Path) -> Result<bool> {
    let open = file.metadata().sys("fstat", path.display())?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).sys("stat", path.display()),
    }
}

/// Removes a file that may be gone already.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).sys("unlink", path.display()),
        _ => Ok(()),
    }
}

/// The names in a directory, in order; none if there is no such directory.
pub fn names_in(path: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).sys("opendir", path.display()),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.sys("readdir", path.display())?.file_name().into_string();
        names
            .push(name.map_err(|name| Error::new(Kind::Corrupt, format!("{}: {name:?} is not ours", path.display())))?);
    }
    names.sort();
    Ok(names)
}
