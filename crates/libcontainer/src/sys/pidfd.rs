//! pidfd_send_signal(2) for every signal; rustix has it for the named ones only.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// Sends `signal` (1 to 64) to the process behind `pidfd`; `ESRCH` once it is gone.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let information = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed: the kernel makes one as kill(2) does.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, information, 0) }).map(drop)
}
