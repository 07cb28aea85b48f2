//! Signals for a caller that waits on a container in the foreground: blocked, read from a descriptor, passed on.
//!
//! A launched process starts with an empty mask, whatever the caller has blocked.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Result, SysContext};
use crate::sys::signal;

/// The size of the kernel's `struct signalfd_siginfo`, whose first four bytes are the signal's number (signalfd(2)).
const SIGINFO_SIZE: usize = 128;

/// Blocks every signal for this thread, and undoes what the caller's parent ignored: with SIGCHLD ignored, the kernel
/// would discard the exit status that we are to wait for.
///
/// # Errors
/// If the kernel refuses rt_sigprocmask(2).
pub fn block_all() -> Result<()> {
    signal::reset(libc::SIGCHLD);
    signal::block_all().sys("rt_sigprocmask", "")
}

/// Unblocks every signal for this thread.
///
/// # Errors
/// If the kernel refuses rt_sigprocmask(2).
pub fn unblock_all() -> Result<()> {
    signal::unblock_all().sys("rt_sigprocmask", "")
}

/// A descriptor that is readable when a blocked signal is pending; close-on-exec and non-blocking.
///
/// # Errors
/// If there is no descriptor left.
pub fn signalfd() -> Result<OwnedFd> {
    signal::signalfd().sys("signalfd4", "")
}

/// Takes the next pending signal from a [`signalfd`]; none when no signal is pending.
pub fn read_signal(signals: impl AsFd) -> Option<i32> {
    let mut info = [0u8; SIGINFO_SIZE];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&signals, &mut info[..])).ok()?;
    let number = info[..read].first_chunk::<4>()?;
    i32::try_from(u32::from_ne_bytes(*number)).ok()
}

/// Sends `signal`, any number that the kernel knows, to the process that `pidfd` holds.
///
/// # Errors
/// With ESRCH if the process is gone, EINVAL if there is no such signal, EPERM if it is not ours to signal.
pub fn send(pidfd: impl AsFd, signal: i32) -> Result<()> {
    signal::pidfd_send(pidfd.as_fd(), signal).sys("pidfd_send_signal", format_args!("signal {signal}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_from_a_whole_siginfo_only() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("pipe");
        assert_eq!(read_signal(&reader), None);
        let mut info = [0xffu8; SIGINFO_SIZE];
        info[..4].copy_from_slice(&37u32.to_ne_bytes());
        rustix::io::write(&writer, &info).expect("write");
        assert_eq!(read_signal(&reader), Some(37));
        rustix::io::write(&writer, b"abc").expect("write");
        assert_eq!(read_signal(&reader), None);
    }

    #[test]
    fn a_blocked_signal_stays_pending_until_it_is_read() {
        crate::testing::in_own_thread(|| {
            signal::block_all().expect("block");
            let signals = signalfd().expect("signalfd");
            assert_eq!(read_signal(&signals), None);
            // Writing to a pipe without a reader sends SIGPIPE to the thread that writes.
            let (reader, writer) = rustix::pipe::pipe().expect("pipe");
            drop(reader);
            assert_eq!(rustix::io::write(&writer, b"x"), Err(rustix::io::Errno::PIPE));
            assert_eq!(read_signal(&signals), Some(libc::SIGPIPE));
            assert_eq!(read_signal(&signals), None);
        });
    }

    #[test]
    fn a_real_time_signal_reaches_a_child() {
        use std::os::unix::process::ExitStatusExt;
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = rustix::process::Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd");
        send(&pidfd, 40).expect("send");
        assert_eq!(child.wait().expect("wait").signal(), Some(40));
        let gone = send(&pidfd, 0).expect_err("the process is gone");
        assert_eq!(gone.errno(), Some(rustix::io::Errno::SRCH));
    }
}
