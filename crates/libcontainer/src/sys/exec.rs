//! execveat(2) and prctl(2) calls around it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// Null-terminated pointers to `strings`, as the exec family wants them.
pub(super) fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Replaces this process by the executable at `path`; returns only on failure.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> Errno {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: the path and both arrays are null-terminated and outlive the call.
    match check(unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), args.as_ptr(), env.as_ptr()) }) {
        Err(errno) => errno,
        Ok(_) => Errno::IO, // not reached: a successful execve does not return
    }
}

/// Replaces this process by the executable that `fd` refers to; returns only on failure.
pub fn execveat(fd: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Errno {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays are null-terminated and outlive the call; an empty path is what AT_EMPTY_PATH asks for.
    match check(unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    }) {
        Err(errno) => errno,
        Ok(_) => Errno::IO, // not reached
    }
}
