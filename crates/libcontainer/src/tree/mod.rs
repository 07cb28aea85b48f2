//! Mount trees on descriptors: cloned, made, changed and attached (open_tree(2), move_mount(2), since Linux 5.2;
//! mount_setattr(2), since Linux 5.12), with mount(2) where the kernel has no such calls.

mod stage;

use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::sys::mount::{MountAttr, mount_setattr};

pub use stage::Staging;

/// Clones the mounts at `path` below `dir` (which may be empty: `dir` itself), attached nowhere. Of the flags,
/// `AT_RECURSIVE` and `AT_SYMLINK_NOFOLLOW` are the caller's choice.
///
/// # Errors
/// Those of open_tree(2); `ENOSYS` where it is missing and there is no [`Staging`].
pub fn clone(dir: impl AsFd, path: &Path, flags: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let empty = if path.as_os_str().is_empty() { OpenTreeFlags::AT_EMPTY_PATH } else { OpenTreeFlags::empty() };
    match open_tree(&dir, path, flags | empty) {
        Err(Errno::NOSYS) => stage::clone(dir.as_fd(), path, flags),
        result => result,
    }
}

/// A new file system by mount(2), attached nowhere that anybody sees.
///
/// # Errors
/// Those of mount(2); `ENOSYS` if there is no [`Staging`].
pub fn mount_aside(kind: &str, source: &str, flags: MountFlags, data: &CStr) -> Result<OwnedFd, Errno> {
    stage::mount_aside(kind, source, flags, data)
}

/// Gives the file system of an attached mount other parameters, by mount(2); its own attributes stay.
///
/// # Errors
/// Those of mount(2).
pub fn reconfigure(mount: impl AsFd, flags: MountFlags, data: &CStr) -> Result<(), Errno> {
    stage::reconfigure(mount.as_fd(), flags, data)
}

/// Attaches a tree to what `target` refers to.
///
/// # Errors
/// Those of move_mount(2).
pub fn attach(tree: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match move_mount(&tree, c"", &target, c"", flags) {
        Err(Errno::NOSYS) => stage::attach(tree.as_fd(), target.as_fd()),
        result => result,
    }
}

/// Attaches a tree to `path` below `dir`.
///
/// # Errors
/// Those of move_mount(2).
pub fn attach_at(tree: impl AsFd, dir: impl AsFd, path: &Path) -> Result<(), Errno> {
    match move_mount(&tree, c"", &dir, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH) {
        Err(Errno::NOSYS) => {
            let target = openat(dir, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            stage::attach(tree.as_fd(), target.as_fd())
        }
        result => result,
    }
}

/// Binds what `source` refers to onto `target`, as it is and without what is mounted below it.
///
/// # Errors
/// Those of open_tree(2) and move_mount(2), or of mount(2).
pub fn bind(source: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    match open_tree(&source, c"", flags) {
        Err(Errno::NOSYS) => stage::bind(source.as_fd(), target.as_fd()),
        tree => attach(tree?, target),
    }
}

/// Changes a tree that is attached nowhere.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn change(tree: impl AsFd, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    match mount_setattr(tree.as_fd(), c"", recursive, attr) {
        Err(Errno::NOSYS) => stage::change_detached(tree.as_fd(), recursive, attr),
        result => result,
    }
}

/// Changes a mount that is attached.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn change_attached(mount: impl AsFd, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    match mount_setattr(mount.as_fd(), c"", recursive, attr) {
        Err(Errno::NOSYS) => stage::change(mount.as_fd(), recursive, attr),
        result => result,
    }
}

/// Changes the mount of this process's own `/`, which no mount that lies over it can redirect.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn change_root(recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    match mount_setattr(CWD, c"/", recursive, attr) {
        Err(Errno::NOSYS) => {
            let root = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            stage::change(root.as_fd(), recursive, attr)
        }
        result => result,
    }
}

/// A path in /proc/PID/mountinfo, where the kernel writes `\040` and the like for blanks.
pub fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                path.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                path.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}
