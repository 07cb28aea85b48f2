//! Loading a filter.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::filter::Filter;
use crate::error::{Error, Phase, Result};
use crate::sys::seccomp::load_filter;

/// Puts the filter over the calling thread, for good and across exec; nothing if it has no program. Gives the listener for
/// the agent, if one is to be asked (close-on-exec).
///
/// Needs no_new_privs, or CAP_SYS_ADMIN in the thread's user namespace.
///
/// # Errors
/// If the kernel refuses it. A kernel before 4.17 does not know SECCOMP_FILTER_FLAG_SPEC_ALLOW: it does without, which
/// makes the filter no weaker.
pub fn load(filter: &Filter) -> Result<Option<OwnedFd>> {
    if filter.program.is_empty() {
        return Ok(None);
    }
    let without = filter.flags & !libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let loaded = match load_filter(&filter.program, filter.flags) {
        Err(Errno::INVAL) if without != filter.flags => load_filter(&filter.program, without),
        result => result,
    };
    loaded.map_err(|errno| {
        let error = Error::system("seccomp", "linux.seccomp", errno).during(Phase::Seccomp);
        match errno {
            Errno::ACCESS => {
                error.cause("it takes no_new_privs or CAP_SYS_ADMIN").remedy("set process.noNewPrivileges")
            }
            Errno::INVAL => {
                error.cause("the program has more than 4096 instructions, or the kernel lacks a flag or seccomp")
            }
            Errno::BUSY => error.cause("another filter over this process has a listener already"),
            Errno::NOMEM => error.cause("this process's filters have more than 32768 instructions in all"),
            _ => error,
        }
    })
}
