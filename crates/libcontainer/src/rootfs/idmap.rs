//! Idmapped mounts: files that belong to other ids there than on their file system (mount_setattr(2), since Linux 5.12).

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::error::{Error, Kind, Result};
use crate::sys::mount::mount_idmapped;

/// Maps the ids of a tree that is not attached yet by a user namespace's maps: an id of the file system's is what the
/// namespace has it stand for on the host.
///
/// # Errors
/// If the kernel or the file system cannot, or the tree is attached or mapped already.
pub fn map_ids(tree: impl AsFd, recursive: bool, namespace: impl AsFd) -> Result<()> {
    mount_idmapped(tree.as_fd(), recursive, namespace.as_fd()).map_err(|errno| {
        let error = Error::system("mount_setattr", "MOUNT_ATTR_IDMAP", errno);
        match errno {
            Errno::NOSYS => error.of_kind(Kind::Unsupported).remedy("idmapped mounts need Linux 5.12 or later"),
            Errno::INVAL => error.cause("this file system has no idmapped mounts on this kernel"),
            Errno::PERM => error.cause("it is mapped already, or belongs to another user namespace"),
            _ => error,
        }
    })
}
