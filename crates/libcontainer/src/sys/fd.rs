//! Descriptors by number: those that a caller preserves for the container, and those that must not reach it.

use std::os::fd::RawFd;

use rustix::io::Errno;

use super::check;

/// Marks every descriptor from `first` on close-on-exec (close_range(2), the flag since Linux 5.11).
pub fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed, and nothing is closed before an exec, so no owner is deceived.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Whether `number` is an open descriptor that survives an exec: one that this process was started with.
pub fn is_inherited(number: RawFd) -> bool {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::syscall(libc::SYS_fcntl, number, libc::F_GETFD) });
    flags.is_ok_and(|flags| flags & libc::c_long::from(libc::FD_CLOEXEC) == 0)
}
