//! Where a mount goes: a descriptor of a place inside the root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, StatxFlags, fstatfs, statx};
use rustix::io::Errno;

use crate::error::{Error, Kind, Result, SysContext};
use crate::paths::Root;

/// What a missing target becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Directory,
    File,
}

/// A place to mount on.
pub(super) struct Target {
    /// `O_PATH`, except for a file that has just been made.
    pub(super) fd: OwnedFd,
    /// Whether it was there before.
    pub(super) existed: bool,
}

/// Finds, or makes, the place `destination`; `make` is only asked if it is missing.
///
/// The first try takes no symlinks, so that what the plan has checked about the destination's letters is true of the
/// place. Where a symlink is on the way, the place itself is checked.
pub(super) fn find(root: &Root, destination: &Path, make: impl FnOnce() -> Result<Make>) -> Result<Target> {
    match root.resolve_plain(destination, OFlags::PATH) {
        Err(error) if error.errno() == Some(Errno::NOENT) => {
            let fd = match make()? {
                Make::Directory => root.mkdir_plain(destination, 0o755)?,
                Make::File => root.create_file(destination, 0o644)?,
            };
            return Ok(Target { fd, existed: false });
        }
        Err(error) if error.errno() == Some(Errno::LOOP) => (),
        result => return result.map(|fd| Target { fd, existed: true }),
    }
    let (fd, existed) = match root.resolve(destination, OFlags::PATH) {
        Err(error) if error.errno() == Some(Errno::NOENT) => match make()? {
            Make::Directory => (root.mkdir_all(destination, 0o755)?, false),
            Make::File => (root.create_file(destination, 0o644)?, false),
        },
        result => (result?, true),
    };
    check(root, destination, &fd)?;
    Ok(Target { fd, existed })
}

/// Finds, or makes, a directory to which no symlink leads, for procfs and sysfs: elsewhere, what is later written to
/// /proc/self/attr or /proc/sys would go where the image wants it (CVE-2019-19921, CVE-2023-27561).
pub(super) fn find_plain(root: &Root, destination: &Path) -> Result<Target> {
    let result = match root.resolve_plain(destination, OFlags::PATH | OFlags::DIRECTORY) {
        Err(error) if error.errno() == Some(Errno::NOENT) => {
            root.mkdir_plain(destination, 0o755).map(|fd| Target { fd, existed: false })
        }
        result => result.map(|fd| Target { fd, existed: true }),
    };
    result.map_err(|error| match error.errno() {
        Some(Errno::LOOP | Errno::NOTDIR) => error
            .of_kind(Kind::Invalid)
            .cause("a symlink or a file is in its way; it must be mounted on ordinary directory, not through one"),
        _ => error,
    })
}

fn check(root: &Root, destination: &Path, fd: &OwnedFd) -> Result<()> {
    let refuse = |what: &str| {
        let why = format!("symlinks in the root filesystem lead {} to {what}", destination.display());
        Err(Error::new(Kind::Invalid, why))
    };
    // procfs: the plan has let those destinations below /proc through that are harmless.
    if !destination.starts_with("/proc") {
        let filesystem = fstatfs(fd).sys("fstatfs", destination.display())?.f_type;
        if filesystem as i64 == libc::PROC_SUPER_MAGIC {
            return refuse("procfs, where nothing may be mounted");
        }
    }
    let place = identity(fd).sys("statx", destination.display())?;
    let top = identity(root).sys("statx", root.path().display())?;
    if place == top { refuse("the root itself") } else { Ok(()) }
}

/// What tells two places apart: the inode and the mount (since Linux 5.8; before, the inode alone).
pub(super) fn identity(fd: impl AsFd) -> Result<(u64, u32, u32, u64), Errno> {
    let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID)?;
    Ok((stat.stx_ino, stat.stx_dev_major, stat.stx_dev_minor, stat.stx_mnt_id))
}
