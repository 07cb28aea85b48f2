//! `start`: lets the init of a created container execute its payload.

use std::os::fd::AsFd;

use rustix::process::Pid;

use super::report::Status;
use super::state::State;
use super::{NotifyRelay, Store, oom, require_state};
use crate::error::{During, Error, Kind, Phase, Result};
use crate::hooks::{self, Outputs, Setting};
use crate::process::{gate, wait};

/// Lets the init of a created container execute its process (runtime.md "Start"); returns when it has.
///
/// # Errors
/// [`Kind::WrongState`] if it is not created; the failure of init's last steps (startContainer hooks, execve) or of a
/// poststart hook, which stops the container.
///
/// What it gives is for a caller whose service manager waits for the payload to be ready.
pub fn start(store: &Store, id: &str) -> Result<Option<NotifyRelay>> {
    let entry = store.open_locked(id)?;
    let state = require_state(&entry, id)?;
    match state.status()? {
        Status::Created => {}
        Status::Stopped => {
            return Err(oom::blame(refuse("cannot start a container that has stopped"), &state.cgroup));
        }
        Status::Running => return Err(refuse("cannot start an already running container")),
        other => return Err(refuse(&format!("cannot start a container in the {other} state"))),
    }
    let pid = state.init.and_then(|init| Pid::from_raw(init.pid));
    let notify = pid.map_or(Ok(None), |pid| NotifyRelay::bind(&entry, pid))?;
    gate::open(entry.as_fd()).during(Phase::Start).map_err(|error| oom::blame(error, &state.cgroup))?;
    run_poststart(&state)?;
    Ok(notify)
}

fn refuse(why: &str) -> Error {
    Error::new(Kind::WrongState, why).during(Phase::Start)
}

/// Runs the poststart hooks; the container does not outlive the failure of one (runtime.md "Lifecycle", step 9).
pub(super) fn run_poststart(state: &State) -> Result<()> {
    let run = || {
        let (hooks, told) = state.later_hooks()?;
        if hooks.poststart.is_empty() {
            return Ok(());
        }
        let (outputs, pid) = (Outputs::open(&told)?, state.init.map(|init| init.pid));
        let setting = Setting { kind: "poststart", cwd: Some(&state.bundle), outputs: &outputs, init: None };
        hooks::run(&hooks.poststart, &told.json("running", pid), setting)
    };
    run().during(Phase::Hooks).inspect_err(|_| {
        if let Some(init) = state.kill_init() {
            let _ = wait::wait_for_end(init.as_fd(), wait::DEATH_LIMIT);
        }
    })
}
