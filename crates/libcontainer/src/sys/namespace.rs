//! setns(2) and unshare(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// Moves the calling thread into a namespace (`fd` of /proc/PID/ns/*, `kinds` its one `CLONE_NEW*` flag, checked by the
/// kernel) or into several of a process at once (`fd` a pidfd, since Linux 5.8).
pub fn setns(fd: BorrowedFd<'_>, kinds: u64) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), kinds as libc::c_int) }).map(drop)
}

/// Moves the calling thread into new namespaces (`CLONE_NEW*` flags).
pub fn unshare(kinds: u64) -> Result<(), Errno> {
    // SAFETY: only CLONE_NEW* flags are used here, none of which (unlike CLONE_FILES) touches memory or descriptors
    // that safe code relies on.
    check(unsafe { libc::syscall(libc::SYS_unshare, kinds) }).map(drop)
}
