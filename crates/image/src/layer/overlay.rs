//! How overlayfs wants to be told what a layer hides (Documentation/filesystems/overlayfs.rst).

use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, Stat, XattrFlags, fgetxattr, fremovexattr, fsetxattr, makedev, mknodat};
use serde::{Deserialize, Serialize};

use crate::error::{Result, SysContext};
use rustix::io::Errno;

/// Whose attributes overlayfs reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Marks {
    /// `trusted.overlay.*`, which only root of the machine can set.
    Trusted,
    /// `user.overlay.*`, with the mount option `userxattr` (since Linux 5.11).
    User,
}

impl Marks {
    fn opaque(self) -> &'static str {
        match self {
            Marks::Trusted => "trusted.overlay.opaque",
            Marks::User => "user.overlay.opaque",
        }
    }

    /// Marks the directory: nothing of the layers below shows through it.
    pub fn set_opaque(self, dir: impl AsFd) -> Result<()> {
        let set = fsetxattr(dir, self.opaque(), b"y", XattrFlags::empty());
        set.sys("fsetxattr", self.opaque()).map_err(|error| match error.errno() {
            Some(Errno::OPNOTSUPP) => error.remedy("put the store on a file system with extended attributes"),
            _ => error,
        })
    }

    /// Makes sure that overlayfs can write its attributes in this upper directory. Without, it mounts all the same, and
    /// whoever makes a directory anew that was in a layer gets EIO.
    ///
    /// # Errors
    /// EOPNOTSUPP, where the file system has no such attributes: ramfs, NFS before Linux 5.9, tmpfs (a user's) before 6.6.
    pub fn can_be_set(self, upper: impl AsFd) -> Result<()> {
        let (class, name) = match self {
            Marks::Trusted => ("trusted", "trusted.overlay.creel"),
            Marks::User => ("user", "user.overlay.creel"),
        };
        fsetxattr(&upper, name, b"y", XattrFlags::empty())
            .and_then(|()| fremovexattr(&upper, name))
            .sys("fsetxattr", name)
            .map_err(|error| match error.errno() {
                Some(Errno::OPNOTSUPP) => error
                    .cause(format!("the file system of the bundle has no {class} attributes, which overlayfs needs"))
                    .remedy("put the bundle on another one: ext4, xfs, btrfs, or tmpfs since Linux 6.6"),
                Some(Errno::PERM) => {
                    error.cause("who is root of a user namespace only may not set it").remedy("use --copy")
                }
                _ => error,
            })
    }

    /// Whether the directory is marked so.
    pub fn is_opaque(self, dir: impl AsFd) -> bool {
        let mut value = [0_u8; 4];
        matches!(fgetxattr(dir, self.opaque(), &mut value), Ok(1) if value[0] == b'y')
    }
}

/// Whether an attribute is overlayfs's own; one from an image would make overlayfs show other files than the image has.
pub fn is_private(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// A whiteout is the character device 0:0.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(0, 0)
}

/// Makes the whiteout `name` in `dir`; anyone may (since Linux 5.8).
pub fn make_whiteout(dir: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))
}
