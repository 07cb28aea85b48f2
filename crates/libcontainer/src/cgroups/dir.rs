//! Cgroup directories by descriptor: reading, writing and walking them.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Every cgroup directory's list of processes.
pub(super) const PROCESSES: &str = "cgroup.procs";

/// Opens a cgroup's directory, for use with the functions below and for `CLONE_INTO_CGROUP`.
pub(super) fn open(path: &Path) -> Result<OwnedFd, Errno> {
    open_below(CWD, path)
}

/// Opens a directory below another one. The name is no symbolic link: cgroup file systems have none.
pub(super) fn open_below(dir: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd, Errno> {
    openat(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a file for writing; never makes one.
pub(super) fn open_to_write(dir: BorrowedFd<'_>, file: impl Arg) -> Result<OwnedFd, Errno> {
    openat(dir, file, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a file for reading.
pub(super) fn open_to_read(dir: BorrowedFd<'_>, file: &str) -> Result<OwnedFd, Errno> {
    openat(dir, file, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Writes one value, which the kernel takes whole or not at all.
pub(super) fn put(file: BorrowedFd<'_>, value: &str) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes())).map(drop)
}

/// Opens a file and writes one value to it.
pub(super) fn write(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    put(open_to_write(dir, file)?.as_fd(), value)
}

/// The whole of a file, from its beginning.
pub(super) fn contents(file: BorrowedFd<'_>) -> Result<String, Errno> {
    let mut text = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let offset = text.len() as u64;
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer, offset))?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
        text.extend_from_slice(read);
    }
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}

/// Opens a file and reads all of it.
pub(super) fn read(dir: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    contents(open_to_read(dir, file)?.as_fd())
}

/// Whether this says that the cgroup is gone: before it was opened, or while it was open.
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV)
}

/// The pids of the processes in this cgroup, without its sub-cgroups. Those that this PID namespace does not know are
/// listed by the kernel as 0, and left out here.
pub(super) fn processes(dir: BorrowedFd<'_>) -> Result<Vec<i32>, Errno> {
    let text = match read(dir, PROCESSES) {
        // A threaded cgroup of v2 has no list of processes.
        Err(Errno::OPNOTSUPP) => read(dir, "cgroup.threads")?,
        text => text?,
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect())
}

/// The names of the sub-cgroups.
fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // A cgroup directory has a link for each sub-cgroup, and two of its own: this saves listing some forty files.
    if fstat(dir)?.st_nlink == 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    let listing = openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::new(listing)? {
        let entry = entry?;
        if entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Walks a tree of cgroups: `enter` sees every directory, the top one included, before its children; `leave` gets
/// every directory but the top one, as its parent and its name, after its children. What vanishes on the way is
/// skipped.
///
/// Only two directories are open at a time, however deep a container has nested its cgroups.
pub(super) fn walk(
    top: BorrowedFd<'_>,
    mut enter: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    mut leave: impl FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    enter(top)?;
    let mut levels = vec![(CString::default(), children(top)?)];
    let mut opened: Option<OwnedFd> = None;
    while let Some((_, unseen)) = levels.last_mut() {
        let here = opened.as_ref().map_or(top, OwnedFd::as_fd);
        if let Some(name) = unseen.pop() {
            let entered = open_below(here, &name).and_then(|child| {
                enter(child.as_fd())?;
                let unseen = children(child.as_fd())?;
                Ok((child, unseen))
            });
            match entered {
                Ok((child, unseen)) => {
                    levels.push((name, unseen));
                    opened = Some(child);
                }
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Err(errno),
            }
        } else {
            let finished = levels.pop();
            if let Some((name, _)) = finished.filter(|_| !levels.is_empty()) {
                let parent = open_below(here, "..")?;
                leave(parent.as_fd(), &name)?;
                opened = Some(parent);
            }
        }
    }
    Ok(())
}
