//! Telling that memory ran out, where a failure or an exit status alone would leave its reader guessing.

use rustix::io::Errno;
use rustix::process::Pid;

use super::Store;
use super::state::{Init, State};
use crate::cgroups::{Cgroup, OutOfMemory};
use crate::error::{Error, Kind, Result};

/// Whether the kernel has killed processes of a container for lack of memory, and how it came to it. Only of the container
/// whose init has `pid` and `start_time`, not of one that somebody has made under its id meanwhile.
///
/// # Errors
/// If the store or the cgroup cannot be read.
pub fn out_of_memory(store: &Store, id: &str, pid: Pid, start_time: u64) -> Result<Option<OutOfMemory>> {
    let meant = Init { pid: pid.as_raw_pid(), start_time };
    match store.open(id)?.load()?.filter(|state| state.init == Some(meant)) {
        Some(state) => state.cgroup.out_of_memory(),
        None => Ok(None),
    }
}

/// Whether it has, for a report that must not fail for it.
pub(super) fn is_oom_killed(state: &State) -> bool {
    state.cgroup.out_of_memory().is_ok_and(|found| found.is_some())
}

/// Gives a failure in a container its likely cause: that its memory limit is too small. A process that the OOM killer
/// has killed could not tell of it, and one that got ENOMEM does not know why. Other system calls do not fail for it, and
/// have their own cause.
///
/// To be called before the cgroup, which has the count, is removed.
pub(super) fn blame(error: Error, cgroup: &Cgroup) -> Error {
    let may_be =
        matches!(error.kind(), Kind::System | Kind::WrongState) && matches!(error.errno(), None | Some(Errno::NOMEM));
    if let Some(oom) = may_be.then(|| cgroup.out_of_memory().ok().flatten()).flatten() {
        return error.cause(oom.to_string()).remedy(oom.remedy());
    }
    match cgroup.memory_limit().filter(|_| error.errno() == Some(Errno::NOMEM)) {
        Some(limit) => error
            .cause(format!("the container's memory limit (linux.resources.memory.limit) is {limit} bytes"))
            .remedy("raise it, if that is too little"),
        None => error,
    }
}
