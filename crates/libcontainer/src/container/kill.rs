//! `kill`: a signal to the process that is meant, never to a stranger that has its pid now.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::report::Status;
use super::state::State;
use super::{Store, require_state};
use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::namespaces::Kind as NamespaceKind;
use crate::sys;

/// Sends a signal to a container's init, or, with `all`, to every process in its cgroup.
///
/// SIGKILL reaches every process anyway: through init's death where the PID namespace is the container's own, through
/// its cgroup where it is shared.
///
/// # Errors
/// [`Kind::WrongState`] if it is not running.
pub fn kill(store: &Store, id: &str, signal: i32, all: bool) -> Result<()> {
    let entry = store.open(id)?;
    let state = require_state(&entry, id)?;
    let shares_pids = !state.namespaces.makes(NamespaceKind::Pid);
    if all && state.cgroup.dirs().is_empty() {
        return kill_without_cgroup(&state, signal, shares_pids);
    }
    if all || (signal == libc::SIGKILL && shares_pids && !state.cgroup.dirs().is_empty()) {
        if state.open_init()?.is_none() && state.cgroup.pids().map_or(true, |pids| pids.is_empty()) {
            return if all { Ok(()) } else { Err(not_running()) };
        }
        return state.cgroup.kill_all(signal).during(Phase::Kill);
    }
    let init = state.open_init()?.ok_or_else(not_running)?;
    signal_init(&state, &init, signal)
}

/// All processes are found by their cgroup. Without one, SIGKILL still reaches them through init's death, if the PID
/// namespace is the container's own.
fn kill_without_cgroup(state: &State, signal: i32, shares_pids: bool) -> Result<()> {
    if signal != libc::SIGKILL || shares_pids {
        return state.cgroup.require().during(Phase::Kill);
    }
    state.open_init()?.map_or(Ok(()), |init| signal_init(state, &init, signal))
}

fn signal_init(state: &State, init: &OwnedFd, signal: i32) -> Result<()> {
    match sys::signal::pidfd_send(init.as_fd(), signal) {
        Err(Errno::SRCH) => return Err(not_running()),
        other => other.sys("pidfd_send_signal", format_args!("signal {signal}")).during(Phase::Kill)?,
    }
    // A process that the v1 freezer holds dies when it is thawed.
    if signal == libc::SIGKILL && state.status()? == Status::Paused {
        state.cgroup.thaw().during(Phase::Kill)?;
    }
    Ok(())
}

fn not_running() -> Error {
    // The words that engines look for to tell "gone already" from a failure.
    Error::new(Kind::WrongState, "container not running")
}
