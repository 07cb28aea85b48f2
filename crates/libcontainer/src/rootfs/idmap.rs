//! Id-mapped mounts: files that belong to other ids there than on their file system (mount_setattr(2), since Linux 5.12).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::fstatfs;
use rustix::io::Errno;

use super::plan_idmap::{Idmap, Maps};
use crate::error::{Error, Kind, Result};
use crate::sys::mount::mount_idmapped;

/// The user namespaces whose maps a plan's mounts are mapped by.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapNamespaces<'a> {
    /// One for each of the plan's list.
    pub listed: &'a [OwnedFd],
    /// The container's own.
    pub container: Option<BorrowedFd<'a>>,
}

impl MapNamespaces<'_> {
    /// Maps a tree as the plan has it.
    pub(super) fn map(&self, tree: &OwnedFd, idmap: Idmap) -> Result<()> {
        let namespace = match idmap.maps {
            Maps::Container => self.container,
            Maps::Listed(place) => self.listed.get(place as usize).map(AsFd::as_fd),
        };
        let namespace = namespace.ok_or_else(|| Error::new(Kind::System, "the maps of an id-mapped mount are gone"))?;
        map_ids(tree, idmap.recursive, namespace)
    }
}

/// Maps the ids of a tree that is not attached yet by a user namespace's maps: an id of the file system's is what the
/// namespace has it stand for on the host.
///
/// # Errors
/// If the kernel or the file system cannot, or the tree is attached or mapped already.
pub fn map_ids(tree: impl AsFd, recursive: bool, namespace: impl AsFd) -> Result<()> {
    let (tree, namespace) = (tree.as_fd(), namespace.as_fd());
    mount_idmapped(tree, recursive, namespace).map_err(|errno| {
        let error = Error::system("mount_setattr", "MOUNT_ATTR_IDMAP", errno);
        match errno {
            Errno::NOSYS => error.of_kind(Kind::Unsupported).remedy("id-mapped mounts need Linux 5.12 or later"),
            Errno::INVAL => error
                .of_kind(Kind::Unsupported)
                .cause(format!("{} no id-mapped mounts on this kernel", which(tree, recursive, namespace)))
                .remedy("keep the source on one that has, such as ext4, xfs, btrfs or tmpfs, or do not map the mount"),
            Errno::PERM => error.cause("it is mapped already, or belongs to a user namespace that is not ours"),
            _ => error,
        }
    })
}

/// What it is in a refused tree that cannot be mapped.
fn which(tree: BorrowedFd<'_>, recursive: bool, namespace: BorrowedFd<'_>) -> String {
    if recursive && mount_idmapped(tree, false, namespace).is_ok() {
        return "a file system that is mounted below the source has".to_owned();
    }
    let magic = fstatfs(tree).map(|stat| stat.f_type as u32).unwrap_or_default();
    match NAMES.iter().find(|(known, _)| *known == magic) {
        Some((_, name)) => format!("{name} has"),
        None => format!("its file system (magic number {magic:#x}) has"),
    }
}

/// File systems that people bind from and that may have no id-mapped mounts: linux/magic.h, and those of some that are
/// not in it.
const NAMES: [(u32, &str); 27] = [
    (0x0000_0187, "autofs"),
    (0x0000_4d44, "vfat"),
    (0x0000_6969, "nfs"),
    (0x0000_9660, "iso9660"),
    (0x0000_9fa0, "procfs"),
    (0x0000_ef53, "ext2, ext3 or ext4"),
    (0x0000_f15f, "ecryptfs"),
    (0x0000_1cd1, "devpts"),
    (0x0027_e0eb, "cgroup v1"),
    (0x0102_1994, "tmpfs"),
    (0x0102_1997, "9p"),
    (0x1980_0202, "mqueue"),
    (0x2fc1_2fc1, "zfs"),
    (0x5346_4846, "WSL's file system"),
    (0x5846_5342, "xfs"),
    (0x6265_6572, "sysfs"),
    (0x6367_7270, "cgroup v2"),
    (0x6573_5546, "fuse"),
    (0x7371_7368, "squashfs"),
    (0x794c_7630, "overlayfs"),
    (0x8584_58f6, "ramfs"),
    (0x9123_683e, "btrfs"),
    (0x9584_58f6, "hugetlbfs"),
    (0xe0f5_e1e2, "erofs"),
    (0xf2f5_2010, "f2fs"),
    (0xfe53_4d42, "smb"),
    (0xff53_4d42, "cifs"),
];
