//! The mount system calls that rustix does not wrap.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// What [`mount_setattr`] changes, as `struct mount_attr` of its first version lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MountAttr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear, before setting.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0 to leave it.
    pub propagation: u64,
    userns: u64,
}

impl MountAttr {
    /// The change that sets the given `MOUNT_ATTR_*`.
    pub const fn setting(set: u64) -> MountAttr {
        MountAttr { set, clear: 0, propagation: 0, userns: 0 }
    }

    /// The change to another propagation (`MS_SHARED` and its kin).
    pub const fn propagating(propagation: u64) -> MountAttr {
        MountAttr { set: 0, clear: 0, propagation, userns: 0 }
    }
}

/// Has the files of the mount `mount`, which must not be attached yet, belong to the ids that `userns` maps theirs to
/// (`MOUNT_ATTR_IDMAP`); with `recursive`, also those of the mounts below it.
pub fn mount_idmapped(mount: BorrowedFd<'_>, recursive: bool, userns: BorrowedFd<'_>) -> Result<(), Errno> {
    let userns = u64::from(userns.as_raw_fd().unsigned_abs());
    let attr = MountAttr { set: libc::MOUNT_ATTR_IDMAP, clear: 0, propagation: 0, userns };
    mount_setattr(mount, c"", recursive, &attr)
}

/// Changes the mount that `path` below `dir` is the root of (mount_setattr(2), since Linux 5.12); an empty path means
/// `dir` itself. With `recursive`, the mounts below it as well: all of them or, on failure, none.
pub fn mount_setattr(dir: BorrowedFd<'_>, path: &CStr, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let at_empty = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    let flags = at_empty | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is null-terminated, and `attr` is as long as the size that is passed; the kernel only reads.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const *attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}
