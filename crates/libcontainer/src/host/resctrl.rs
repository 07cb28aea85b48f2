//! The resctrl filesystem (Documentation/filesystems/resctrl.rst), held by a descriptor of its mount: Intel's RDT, and
//! what other makers have like it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::cgroups::{Mount, unescape};
use super::{read_all, read_file};
use crate::error::{Result, SysContext};

/// The directory that the kernel makes for it where the hardware can do it.
const CUSTOMARY: &str = "/sys/fs/resctrl";

/// The magic number of resctrl (linux/magic.h).
const RDTGROUP_SUPER_MAGIC: i64 = 0x0765_5821;

/// What resctrl can do here, and about one group (class of service) in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResctrlFacts {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Whether parts of the L3 cache can be allocated.
    pub l3_cache: bool,
    /// If memory bandwidth can be allocated: in steps of that much.
    pub bandwidth_step: Option<u32>,
    /// Whether a group's use can be monitored.
    pub monitoring: bool,
    /// The schemata of the group, if it exists.
    pub schemata: Option<String>,
}

/// A mounted resctrl.
#[derive(Debug)]
pub struct Resctrl {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Resctrl {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Resctrl {
    /// Finds it in this process's mount namespace; `None` if it is not mounted.
    ///
    /// # Errors
    /// If /proc/self/mountinfo cannot be read.
    pub fn find() -> Result<Option<Resctrl>> {
        if let Some(found) = Self::at(Path::new(CUSTOMARY)) {
            return Ok(Some(found));
        }
        let mountinfo = read_file("/proc/self/mountinfo").sys("read", "/proc/self/mountinfo")?;
        Ok(elsewhere(&mountinfo).and_then(|path| Self::at(&path)))
    }

    /// The one at `path`, if that still is one.
    pub fn at(path: &Path) -> Option<Resctrl> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
        let kind = rustix::fs::fstatfs(&fd).ok()?.f_type;
        (kind as i64 == RDTGROUP_SUPER_MAGIC).then(|| Resctrl { fd, path: path.to_owned() })
    }

    /// Any directory, for tests of what is done in one.
    #[cfg(test)]
    pub(crate) fn of(path: &Path) -> Resctrl {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).expect("a directory");
        Resctrl { fd, path: path.to_owned() }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what is below it; no name leads out.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.fd, path.as_ref(), flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The text of a file below it.
    ///
    /// # Errors
    /// Those of [`Resctrl::open`], and of read(2).
    pub fn read(&self, path: impl AsRef<Path>) -> Result<String, Errno> {
        let text = read_all(&self.open(path, OFlags::RDONLY)?)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// What it can do, and about `group`, a directory below it (empty for the default one).
    pub fn facts(&self, group: &str) -> ResctrlFacts {
        let has = |path: &str| self.open(path, OFlags::PATH).is_ok();
        let step = self.read("info/MB/bandwidth_gran").ok().and_then(|text| text.trim().parse().ok());
        ResctrlFacts {
            mountpoint: self.path.clone(),
            // With code and data prioritised apart it has these two instead.
            l3_cache: has("info/L3") || has("info/L3CODE"),
            bandwidth_step: step,
            monitoring: has("info/L3_MON"),
            schemata: self.read(Path::new(group).join("schemata")).ok(),
        }
    }
}

/// Where mountinfo has it mounted.
fn elsewhere(mountinfo: &[u8]) -> Option<PathBuf> {
    let mut mounts = mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::parse);
    mounts.find(|mount| mount.filesystem == b"resctrl").map(|mount| unescape(mount.mountpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_wherever_it_is_mounted() {
        let mountinfo =
            b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n31 20 0:28 / /mnt/r\\040dt rw shared:9 - resctrl none rw\n";
        assert_eq!(elsewhere(mountinfo).as_deref(), Some(Path::new("/mnt/r dt")));
        assert_eq!(elsewhere(b"20 1 8:1 / / rw - ext4 resctrl rw\n"), None);
    }

    #[test]
    fn a_directory_of_another_filesystem_is_none() {
        assert!(Resctrl::at(Path::new("/proc")).is_none());
        assert!(Resctrl::at(Path::new("/nowhere")).is_none());
    }
}
