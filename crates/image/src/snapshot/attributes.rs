//! From one file to another: owner, mode, extended attributes, times.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, getxattr, listxattr,
    setxattr, utimensat,
};
use rustix::io::Errno;

use crate::error::{Error, Result, SysContext};
use crate::layer::is_private_xattr;
use crate::userns::Maps;

/// An attribute's value has at most 64 KiB, and so has the list of names (xattr(7)).
const MOST: usize = 64 << 10;

/// Gives `to` what `from` has, whose `stat` the caller knows; `O_PATH` is enough for both. With a `shift`, owners become what
/// they are outside of a user namespace.
pub fn copy(from: impl AsFd, stat: &Stat, to: impl AsFd, shift: Option<&Maps>) -> Result<()> {
    let (from, to) = (proc_path(&from), (proc_path(&to), to));
    let uid = shift.map_or(Ok(stat.st_uid), |maps| maps.uid(stat.st_uid))?;
    let gid = shift.map_or(Ok(stat.st_gid), |maps| maps.gid(stat.st_gid))?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    match chownat(&to.1, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH) {
        // Without privileges the layer's files are one's own, and so are their copies.
        Err(Errno::PERM) if !rustix::process::geteuid().is_root() => (),
        changed => changed.sys("chown", format!("owner {}:{}", stat.st_uid, stat.st_gid))?,
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        chmod(&to.0, Mode::from_raw_mode(stat.st_mode & 0o7777)).sys("chmod", "a copy")?;
    }
    xattrs(&from, &to.0, shift)?;
    times(stat, &to.1)
}

/// The modification time.
pub fn times(stat: &Stat, to: impl AsFd) -> Result<()> {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as i64 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(to, "", &times, AtFlags::EMPTY_PATH).sys("utimensat", "a copy")
}

fn xattrs(from: &str, to: &str, shift: Option<&Maps>) -> Result<()> {
    let mut names = vec![0_u8; MOST];
    let length = match listxattr(from, &mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        listed => listed.sys("listxattr", "a layer's file")?,
    };
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || is_private_xattr(name) || name == b"security.selinux" {
            continue;
        }
        let mut value = vec![0_u8; MOST];
        let shown = String::from_utf8_lossy(name);
        let length = match getxattr(from, name, &mut value) {
            Err(Errno::NODATA) => continue,
            got => got.sys("getxattr", &shown)?,
        };
        value.truncate(length);
        if let (Some(maps), b"security.capability") = (shift, name) {
            value = capability_of(&value, maps.uid(0)?);
        }
        setxattr(to, name, &value, XattrFlags::empty()).map_err(|errno| match errno {
            Errno::OPNOTSUPP => {
                Error::system("setxattr", &shown, errno).cause("the file system there has no such attributes")
            }
            _ => Error::system("setxattr", &shown, errno),
        })?;
    }
    Ok(())
}

/// A file's capabilities (struct vfs_ns_cap_data) as root of a user namespace would have given them, who is `root` outside; it
/// is only there that they count (capabilities(7), "Namespaced file capabilities").
fn capability_of(value: &[u8], root: u32) -> Vec<u8> {
    const VERSION: [u8; 2] = [2, 3];
    match value {
        [flags, 0, 0, version, sets @ ..] if *version == VERSION[0] && sets.len() == 16 => {
            [&[*flags, 0, 0, VERSION[1]], sets, &root.to_le_bytes()].concat()
        }
        other => other.to_vec(),
    }
}

/// The kernel's name of an open file, links and special files included.
pub fn proc_path(file: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}
