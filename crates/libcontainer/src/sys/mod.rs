//! The only `unsafe` of this project: system calls that no library wraps safely, one small file per family.
//!
//! Everything here is a thin, checked wrapper: arguments in, `Errno` out, no decisions.
#![allow(unsafe_code)]

pub mod bpf;
pub mod clone;
pub mod env;
pub mod exec;
pub mod fd;
pub mod keyring;
pub mod loop_device;
pub mod mount;
pub mod namespace;
pub mod pattern;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod spawn;

use rustix::io::Errno;

/// The result of a raw system call: -1 becomes the thread's errno.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
