//! Signal masks, dispositions and signalfd(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

/// The last signal of Linux.
const LAST_SIGNAL: libc::c_int = 64;

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

/// Gives `signal` its default action again. SIGKILL and SIGSTOP have no other: they refuse.
pub fn reset(signal: libc::c_int) {
    // The kernel's own structure, since the C library keeps signals 32 and 33 to itself. All zeroes: SIG_DFL, no flags,
    // no restorer, an empty mask.
    let default = [0u64; 4];
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: `default` is as long as the kernel's sigaction and outlives the call; SIG_DFL installs no handler.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, none, size_of::<u64>()) };
}

/// Gives every signal its default action again.
pub fn reset_all() {
    (1..=LAST_SIGNAL).for_each(reset);
}

/// Lets `signals` end this process though it be process 1 of a PID namespace, for which the kernel leaves their default
/// action out (pid_namespaces(7)). It exits with 128 and the signal's number, as shells have it. What is ignored stays
/// so; execve(2) gives the others their default action again.
pub fn end_by(signals: &[libc::c_int]) {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit(2) is async-signal-safe.
        unsafe { libc::_exit(128 + signal) }
    }
    for signal in signals {
        // SAFETY: all zeros is a valid sigaction (no handler, no flags, an empty mask); both structures outlive the
        // calls, and the handler calls nothing but _exit(2).
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(*signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_DFL {
                action.sa_sigaction = end as *const () as libc::sighandler_t;
                libc::sigaction(*signal, &action, std::ptr::null_mut());
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::testing::{eventually, is_root};

    /// As process 1 of a PID namespace, which only a new process can be: this executable, run again by unshare(1).
    #[test]
    fn process_one_can_be_ended() {
        if !is_root("process_one_can_be_ended") {
            return;
        }
        let status = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--"])
            .arg(std::env::current_exe().expect("the test's executable"))
            .args(["--exact", "sys::signal::tests::as_process_one", "--ignored", "--nocapture"])
            .status()
            .expect("unshare(1)");
        assert_eq!(status.code(), Some(128 + libc::SIGTERM));
    }

    #[test]
    #[ignore = "the other test runs it"]
    fn as_process_one() {
        let this = rustix::process::getpid();
        assert_eq!(this.as_raw_nonzero().get(), 1);
        // The main thread blocks all signals while it starts this one, and then the kernel lets the first one end even
        // process 1: it asks whether what it sends would be ignored of the main thread, and whether it kills of this one.
        let status = || std::fs::read_to_string("/proc/self/status").expect("status");
        eventually("signals reach the main thread", || status().contains("SigBlk:\t0000000000000000"));
        let send = |signal| rustix::process::kill_process(this, signal).expect("kill");
        send(rustix::process::Signal::TERM); // without a handler it has no effect
        super::end_by(&[libc::SIGTERM]);
        send(rustix::process::Signal::HUP); // not among those
        send(rustix::process::Signal::TERM);
        std::thread::sleep(std::time::Duration::from_secs(10));
    }
}
