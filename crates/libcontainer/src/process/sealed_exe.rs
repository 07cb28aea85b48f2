//! The runtime's executable, out of the reach of containers (CVE-2019-5736).
//!
//! A process that enters a container is for a moment visible there, and /proc/PID/exe leads to its executable. So this
//! process executes itself once more from a place that nobody can write to, before any process of a container exists:
//! a detached read-only mount of the file (writes give EROFS; 32 µs), or a sealed memfd where that cannot be had.

#![allow(clippy::disallowed_methods, reason = "this program's own executable, before there is a container")]

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::copy;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::error::{During, Error, Phase, Result, SysContext};
use crate::sys;
use crate::sys::mount::{MountAttr, mount_setattr};

const SELF: &str = "/proc/self/exe";

/// Proof that what this process executes cannot be written to; whoever makes a process for a container has to show it.
#[derive(Clone, Copy, Debug)]
pub struct Sealed(());

/// Returns in a process whose executable cannot be written to, executing itself anew if it must: a program's own first
/// act, since it begins again.
///
/// Call it before anything that an exec would lose: open files (all are close-on-exec), locks, saved state.
pub fn ensure() -> Result<Sealed> {
    if is_sealed().during(Phase::SealExecutable)? {
        return Ok(Sealed(()));
    }
    let sealed = detached_mount().or_else(|_| sealed_copy()).during(Phase::SealExecutable)?;
    let strings = |list: &mut dyn Iterator<Item = &OsStr>| -> Vec<CString> {
        list.filter_map(|string| CString::new(string.as_bytes()).ok()).collect()
    };
    let args: Vec<_> = std::env::args_os().collect();
    let args = strings(&mut args.iter().map(|arg| arg.as_os_str()));
    let env: Vec<_> =
        std::env::vars_os().map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat()).collect();
    let env = strings(&mut env.iter().map(|line| OsStr::from_bytes(line)));
    let errno = sys::exec::execveat(sealed.as_fd(), &args, &env);
    Err(Error::system("execveat", "the sealed copy of this executable", errno).during(Phase::SealExecutable))
}

/// Whether what this process executes lies on a read-only mount or in a fully sealed memfd.
fn is_sealed() -> Result<bool> {
    let file = rustix::fs::open(SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).sys("open", SELF)?;
    if rustix::fs::fstatvfs(&file).sys("fstatvfs", SELF)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(true);
    }
    Ok(rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(all_seals())))
}

/// A mount of the executable alone that is in no mount namespace: read-only, and nobody can reach it to change that.
fn detached_mount() -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, SELF, flags).sys("open_tree", SELF)?;
    let read_only = MountAttr::setting(libc::MOUNT_ATTR_RDONLY);
    mount_setattr(tree.as_fd(), c"", false, &read_only).sys("mount_setattr", SELF)?;
    Ok(tree)
}

/// A copy in memory that can be neither written nor resized, nor unsealed again.
fn sealed_copy() -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // The flag is needed where vm.memfd_noexec says so, and known since Linux 6.3.
    let memory = match rustix::fs::memfd_create(c"creel", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"creel", flags),
        made => made,
    };
    let memory = memory.sys("memfd_create", "a copy of this executable").map_err(|error| match error.errno() {
        Some(Errno::ACCESS) => error.cause("vm.memfd_noexec is 2").remedy("sysctl vm.memfd_noexec=1, as root"),
        _ => error,
    })?;
    let mut copied = File::from(memory);
    copy(&mut File::open(SELF).sys("open", SELF)?, &mut copied).sys("copy", SELF)?;
    rustix::fs::fcntl_add_seals(&copied, all_seals()).sys("fcntl(F_ADD_SEALS)", "a copy of this executable")?;
    Ok(copied.into())
}

fn all_seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}
