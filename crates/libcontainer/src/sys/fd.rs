//! Descriptors by number: those that a caller preserves for the container, and those that must not reach it.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// Marks every descriptor from `first` on close-on-exec (close_range(2), the flag since Linux 5.11).
pub fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed, and nothing is closed before an exec, so no owner is deceived.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Takes ownership of a descriptor that this process was started with.
///
/// # Safety
/// Nobody else in this process may own `fd`.
pub unsafe fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: promised by the caller.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
