//! Scheduling calls that no library wraps.

use rustix::io::Errno;

use super::check;

/// linux/prctl.h.
const PR_SCHED_CORE: libc::c_int = 62;
const PR_SCHED_CORE_CREATE: libc::c_ulong = 1;
/// A scope of PR_SCHED_CORE: the process group (`enum pid_type` of linux/pid.h).
const PIDTYPE_PGID: libc::c_ulong = 2;

/// Makes a new core scheduling cookie for this process's group.
pub fn create_core_cookie() -> Result<(), Errno> {
    // SAFETY: numbers only; no memory is passed.
    let made = unsafe {
        libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0 as libc::c_ulong, PIDTYPE_PGID, 0 as libc::c_ulong)
    };
    check(made.into()).map(drop)
}
