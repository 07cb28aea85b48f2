//! Descriptors by number: those that a caller preserves for the container, and those that must not reach it.

use std::os::fd::RawFd;

use rustix::io::Errno;

use super::check;

/// Closes every descriptor above `last` that is not in `keep` (close_range(2), since Linux 5.9); where that is missing,
/// `open` says which there are.
///
/// For a cloned process that ends by execve or _exit: it never drops the owners of what is closed here, so no
/// descriptor is closed twice.
pub fn close_all_but(
    last: RawFd,
    keep: &[RawFd],
    open: impl FnOnce() -> Result<Vec<RawFd>, Errno>,
) -> Result<(), Errno> {
    let mut sorted = keep.to_vec();
    sorted.sort_unstable();
    let mut first = last + 1;
    let mut ranges = Vec::with_capacity(sorted.len() + 1);
    for kept in sorted.into_iter().filter(|kept| *kept > last) {
        ranges.push((first, kept as u32 - 1));
        first = kept + 1;
    }
    ranges.push((first, u32::MAX));
    match ranges.into_iter().try_for_each(|(first, last)| close_range(first, last)) {
        Err(Errno::NOSYS) => {
            let others = open()?.into_iter().filter(|number| *number > last && !keep.contains(number));
            for number in others {
                // SAFETY: no memory is passed; see above for the descriptors' owners. One that is gone already (the one
                // that the list was read from) does no harm.
                unsafe { libc::syscall(libc::SYS_close, number) };
            }
            Ok(())
        }
        result => result,
    }
}

fn close_range(first: RawFd, last: u32) -> Result<(), Errno> {
    if first as u32 > last {
        return Ok(());
    }
    // SAFETY: no memory is passed; see `close_all_but` for the descriptors' owners.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2), the flag since Linux 5.11); where that is
/// missing, `open` says which there are.
pub fn close_on_exec_from(first: RawFd, open: impl FnOnce() -> Result<Vec<RawFd>, Errno>) -> Result<(), Errno> {
    // SAFETY: no memory is passed, and nothing is closed before an exec.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }) {
        Err(Errno::NOSYS | Errno::INVAL) => {
            for number in open()?.into_iter().filter(|number| *number >= first) {
                // SAFETY: no memory is passed.
                unsafe { libc::syscall(libc::SYS_fcntl, number, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
            Ok(())
        }
        result => result.map(drop),
    }
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
