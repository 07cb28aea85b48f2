//! setns(2), unshare(2) and what they need: the kind of a namespace, the loopback interface of a new one.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// `_IO(0xb7, 0x3)` of linux/nsfs.h.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

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

/// The `CLONE_NEW*` flag of the namespace that `fd` refers to; `ENOTTY` if it is no namespace.
pub fn kind_of(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: this request takes no argument.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_NSTYPE) }).map(|kind| kind as u64)
}

/// Brings up `lo` in this thread's network namespace (netdevice(7)); `socket` is any socket made in it.
pub fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: ifreq is a plain C struct for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` outlives the call, and has the size that SIOCSIFFLAGS reads.
    check(unsafe { libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
        .map(drop)
}
