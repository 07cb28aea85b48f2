//! The host's /proc, held by a descriptor: what is written through it cannot be redirected by a container's own /proc
//! (CVE-2019-16884, CVE-2019-19921).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Result, SysContext};
use crate::paths::open_within;

/// The magic number of procfs (linux/magic.h).
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// The runtime's own /proc, checked to be procfs.
#[derive(Debug)]
pub struct HostProc(OwnedFd);

impl HostProc {
    /// Opens /proc.
    ///
    /// # Errors
    /// If it is not procfs.
    pub fn open() -> Result<HostProc> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(c"/proc", flags, Mode::empty()).sys("open", "/proc")?;
        let kind = rustix::fs::fstatfs(&fd).sys("fstatfs", "/proc")?.f_type;
        if kind as i64 != PROC_SUPER_MAGIC {
            return Err(Error::unsupported("/proc is not procfs").remedy("mount proc on /proc"));
        }
        Ok(HostProc(fd))
    }

    /// The numbers of this process's open descriptors.
    pub fn own_descriptors(&self) -> Result<Vec<RawFd>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listed = Dir::new(rustix::fs::openat(&self.0, c"self/fd", flags, Mode::empty())?)?;
        let number = |name: &std::ffi::CStr| name.to_str().ok().and_then(|name| name.parse().ok());
        listed.filter_map(|entry| entry.map(|entry| number(entry.file_name())).transpose()).collect()
    }

    /// Writes `value` to a file of the calling thread, e.g. `attr/exec`.
    pub fn write_own(&self, file: &str, value: &str) -> Result<()> {
        self.write(&format!("thread-self/{file}"), value)
    }

    /// Writes `value` to a file of the calling process that its threads have not, e.g. `timens_offsets`.
    pub fn write_of_self(&self, file: &str, value: &str) -> Result<()> {
        self.write(&format!("self/{file}"), value)
    }

    /// Writes `value` to a file of another process, e.g. `oom_score_adj`; `pid` as the host numbers it.
    pub fn write_of(&self, pid: i32, file: &str, value: &str) -> Result<()> {
        self.write(&format!("{pid}/{file}"), value)
    }

    /// Opens a file, namespace or directory of another process, e.g. `ns/mnt`; `pid` as the host numbers it.
    pub fn open_of(&self, pid: i32, file: &str, flags: OFlags) -> Result<OwnedFd> {
        let path = format!("{pid}/{file}");
        rustix::fs::openat(&self.0, &path, flags | OFlags::CLOEXEC, Mode::empty())
            .sys("openat", format_args!("/proc/{path}"))
    }

    /// Reads a file of another process, e.g. `uid_map`; `pid` as the host numbers it.
    pub fn read_of(&self, pid: i32, file: &str) -> Result<String> {
        let fd = self.open_of(pid, file, OFlags::RDONLY)?;
        let bytes = super::read_all(&fd).sys("read", format_args!("/proc/{pid}/{file}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn write(&self, path: &str, value: &str) -> Result<()> {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let fd = open_within(&self.0, Path::new(path), OFlags::WRONLY, inside)
            .sys("openat2", format_args!("/proc/{path}"))?;
        rustix::io::write(&fd, value.as_bytes())
            .sys("write", format_args!("{} to /proc/{path}", value.trim_end()))
            .map(drop)
    }
}

impl AsFd for HostProc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
