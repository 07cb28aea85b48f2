//! Descriptors by number: those that a caller preserves for the container, and those that must not reach it.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::io::Errno;

use super::check;
use super::clone::SingleThreaded;

/// Marks every descriptor from `first` on close-on-exec (close_range(2), the flag since Linux 5.11).
pub fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed, and nothing is closed before an exec, so no owner is deceived.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from `first` on but those in `keep` (close_range(2), since Linux 5.9).
///
/// For a cloned process on its way to an exec: whoever still owns one of the others there must never use or drop it.
pub fn close_all_but(_alone: &SingleThreaded, first: RawFd, keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    keep.sort_unstable();
    let mut from = first as u32;
    for kept in keep.into_iter().filter(|kept| *kept >= first as u32).chain([u32::MAX]) {
        if from < kept {
            let to = if kept == u32::MAX { kept } else { kept - 1 };
            // SAFETY: no memory is passed. This process has one thread, which uses none of these again, as demanded.
            check(unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) })?;
        }
        from = kept.saturating_add(1);
    }
    Ok(())
}

/// Whether `number` is an open descriptor that survives an exec: one that this process was started with.
pub fn is_inherited(number: RawFd) -> bool {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::syscall(libc::SYS_fcntl, number, libc::F_GETFD) });
    flags.is_ok_and(|flags| flags & libc::c_long::from(libc::FD_CLOEXEC) == 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{Mode, OFlags};

    use super::*;
    use crate::testing::in_own_thread;

    #[test]
    fn all_but_the_kept_are_closed() {
        in_own_thread(|| {
            // A table of its own for this thread, so that nobody else's descriptors are closed.
            crate::sys::namespace::unshare(libc::CLONE_FILES as u64).expect("unshare(CLONE_FILES)");
            let open = || rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty()).expect("open");
            let fds: Vec<_> = (0..5).map(|_| open()).collect();
            let keep = [fds[3].as_fd(), fds[1].as_fd()];
            close_all_but(&SingleThreaded::pretend(), fds[0].as_raw_fd(), &keep).expect("close_range");
            let open: Vec<bool> = fds.iter().map(|fd| is_inherited(fd.as_raw_fd())).collect();
            assert_eq!(open, [false, true, false, true, false]);
            assert!(is_inherited(0) || is_inherited(2), "stdio is untouched");
            std::mem::forget(fds); // the table goes with the thread
        });
    }
}
