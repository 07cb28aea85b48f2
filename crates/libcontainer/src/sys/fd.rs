//! Descriptors by number: those that a caller preserves for the container, and those that must not reach it.

use std::os::fd::RawFd;

use rustix::io::Errno;

use super::check;

/// Closes every descriptor above `last` that is not in `keep` (close_range(2), since Linux 5.9).
///
/// For a cloned process that ends by execve or _exit: it never drops the owners of what is closed here, so no
/// descriptor is closed twice.
pub fn close_all_but(last: RawFd, keep: &[RawFd]) -> Result<(), Errno> {
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    let mut first = last + 1;
    for kept in keep.into_iter().filter(|kept| *kept > last) {
        close_range(first, kept as u32 - 1)?;
        first = kept + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: RawFd, last: u32) -> Result<(), Errno> {
    if first as u32 > last {
        return Ok(());
    }
    // SAFETY: no memory is passed; see `close_all_but` for the descriptors' owners.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2), the flag since Linux 5.11).
pub fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed, and nothing is closed before an exec.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Lets `count` descriptors from `first` on survive an exec again.
pub fn pass_on(first: RawFd, count: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    (first..first + count)
        .try_for_each(|number| check(unsafe { libc::syscall(libc::SYS_fcntl, number, libc::F_SETFD, 0) }).map(drop))
}

/// Whether `number` is an open descriptor that survives an exec: one that this process was started with.
pub fn is_inherited(number: RawFd) -> bool {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::syscall(libc::SYS_fcntl, number, libc::F_GETFD) });
    flags.is_ok_and(|flags| flags & libc::c_long::from(libc::FD_CLOEXEC) == 0)
}
