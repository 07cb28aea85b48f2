//! Signal masks, dispositions and signalfd(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

/// Blocks every signal for this thread, so that they can be read from a [`signalfd`].
pub fn block_all() -> Result<(), Errno> {
    set_mask(u64::MAX)
}

/// Unblocks every signal, as a new program expects it.
pub fn unblock_all() -> Result<(), Errno> {
    set_mask(0)
}

fn set_mask(mask: u64) -> Result<(), Errno> {
    // SAFETY: the kernel reads 8 bytes, which is what `mask` has; no old mask is asked for.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            std::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    })
    .map(drop)
}

/// Gives `signal` its default action again.
pub fn reset(signal: libc::c_int) {
    // SAFETY: SIG_DFL installs no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// A descriptor that is readable when any blocked signal is pending; close-on-exec and non-blocking.
pub fn signalfd() -> Result<OwnedFd, Errno> {
    let mask = u64::MAX;
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the kernel reads 8 bytes of `mask`.
    let fd = check(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const mask, size_of::<u64>(), flags) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends any signal, the real-time ones included, to the process that `pidfd` holds (since Linux 5.1).
pub fn pidfd_send(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> Result<(), Errno> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no memory is passed; with no siginfo the kernel fills one in as kill(2) does.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) }).map(drop)
}
