//! `delete`: idempotent, and able to go on where a killed command stopped.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::Store;
use super::report::Status;
use super::state::{Init, State};
use super::store::{Entry, missing};
use super::teardown::{self, Whose};
use crate::error::{During, Error, Kind, Phase, Result};
use crate::host::describe_process;
use crate::process::wait;

/// Deletes a stopped or created container; with `force`, whatever its state, and a missing one is no error. Gives
/// warnings for the log.
///
/// # Errors
/// [`Kind::WrongState`] if it runs; an error that names a process which does not die. A retry goes on from there.
pub fn delete(store: &Store, id: &str, force: bool) -> Result<Vec<String>> {
    if force {
        // Before the lock is waited for: its holder may be a create whose hooks hang.
        kill_at_once(store, id);
    }
    delete_one(store, id, force, None)
}

/// [`delete`] by force of the container that `run` gave `pid` and `start_time` for, after its process has ended: not
/// of another one that somebody has made under its id meanwhile.
///
/// # Errors
/// As [`delete`].
pub fn delete_own(store: &Store, id: &str, pid: Pid, start_time: u64) -> Result<Vec<String>> {
    delete_one(store, id, true, Some(Init { pid: pid.as_raw_pid(), start_time }))
}

fn delete_one(store: &Store, id: &str, force: bool, only: Option<Init>) -> Result<Vec<String>> {
    let entry = match store.open_locked(id) {
        Err(error) if force && error.kind() == Kind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let state = match entry.load() {
        // A create that was killed before it made anything, or a state that nobody can read any more.
        Ok(None) => None,
        Err(_) if force => {
            end_remains(&entry)?;
            None
        }
        other => other?,
    };
    let Some(state) = state else {
        entry.remove()?;
        return if force { Ok(Vec::new()) } else { Err(missing(id)) };
    };
    if only.is_some() && state.init != only {
        return Ok(Vec::new());
    }
    match state.status() {
        Ok(Status::Stopped | Status::Created | Status::Creating) => {}
        _ if force => {}
        Err(error) => return Err(error),
        Ok(status) => {
            let why = format!("cannot delete container {id} that is not stopped: {status}");
            return Err(Error::new(Kind::WrongState, why).remedy("stop it, or use --force").during(Phase::Delete));
        }
    }
    end_init(&state)?;
    // A create that was killed has nothing in the cgroup but an init that dies with it.
    let cgroup = if state.init.is_some() { Whose::Ours } else { Whose::Unknown };
    teardown::destroy(&entry, &state, cgroup)
}

/// Kills init, if the container has one; whatever fails is found again under the lock.
fn kill_at_once(store: &Store, id: &str) {
    if let Ok(Some(state)) = store.open(id).and_then(|entry| entry.load()) {
        let _ = state.kill_init();
    }
}

/// Kills init, and with it all of its PID namespace, and waits until it is gone.
fn end_init(state: &State) -> Result<()> {
    let thaw = || if state.cgroup.is_frozen().unwrap_or(false) { state.cgroup.thaw() } else { Ok(()) };
    state.init.map_or(Ok(()), |init| end_process(init, thaw))
}

/// Ends what a state that cannot be read still names: nothing may run that no command can reach any more.
fn end_remains(entry: &Entry) -> Result<()> {
    let (Some(init), cgroup) = entry.salvage() else { return Ok(()) };
    let cgroup = cgroup.unwrap_or_default();
    end_process(init, || cgroup.thaw())?;
    cgroup.stop_unit().and_then(|_| cgroup.remove()).during(Phase::Delete)
}

fn end_process(init: Init, thaw: impl FnOnce() -> Result<()>) -> Result<()> {
    let Init { pid, start_time } = init;
    let Some(init) = wait::open_process(pid, start_time)? else { return Ok(()) };
    match rustix::process::pidfd_send_signal(&init, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(Error::system("pidfd_send_signal", "SIGKILL", errno).during(Phase::Delete)),
    }
    thaw().during(Phase::Delete)?;
    if wait::wait_for_end(init.as_fd(), wait::DEATH_LIMIT)? {
        return Ok(());
    }
    Err(Error::new(Kind::System, format!("{} does not die of SIGKILL", describe_process(pid)))
        .cause("it hangs in the kernel")
        .remedy("try again when what it waits for, often a network or FUSE file system, answers")
        .during(Phase::Delete))
}
