//! Removing and copying trees by descriptors, never through a symlink.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, openat2, unlinkat};
use rustix::io::Errno;

use super::open_dir;
use crate::error::{Error, Result, SysContext};
use crate::layer::tar::Shown;

/// Removes the directory `path` with all that is in it. A mount in it is an error; nothing of it is removed then.
pub fn remove_tree(path: &Path) -> Result<()> {
    let dir = match open_dir(path) {
        Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(()),
        dir => dir?,
    };
    empty(dir.as_fd()).map_err(|error| error.within(path.display()))?;
    std::fs::remove_dir(path).sys("rmdir", path.display())
}

fn empty(dir: BorrowedFd<'_>) -> Result<()> {
    for entry in Dir::read_from(dir).sys("getdents", "a directory")? {
        let entry = entry.sys("getdents", "a directory")?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        match unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_child(dir, name)?,
            Err(Errno::NOENT) => (),
            removed => removed.sys("unlinkat", Shown(name))?,
        }
    }
    Ok(())
}

fn remove_child(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let child = openat2(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), WITHIN);
    let child = child.map_err(|errno| match errno {
        Errno::XDEV => Error::system("openat2", Shown(name), errno).cause("something is mounted there"),
        _ => Error::system("openat2", Shown(name), errno),
    })?;
    empty(child.as_fd())?;
    match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed.sys("unlinkat", Shown(name)),
    }
}

/// Neither out of the directory, nor through a symlink, nor into another file system.
const WITHIN: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
