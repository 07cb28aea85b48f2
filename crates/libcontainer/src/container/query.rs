//! What callers ask about containers: `state`, `list`, `ps`, and the process that `exec` starts from.

use super::report::{Listed, StateReport, Status};
use super::state::State;
use super::{Store, oom, require_state};
use crate::error::{During, Error, Kind, Phase, Result};
use crate::host::user_name;
use crate::spec::Process;

/// What runtime.md "State" demands, for one container.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] if it does not exist.
pub fn state(store: &Store, id: &str) -> Result<StateReport> {
    let entry = store.open(id)?;
    report(&require_state(&entry, id)?)
}

/// All containers of the store, by id, each with its failure if it cannot be told of. One that is deleted meanwhile, or
/// not made yet, is left out.
pub fn list(store: &Store) -> Result<Vec<Result<Listed>>> {
    let load = |id: &String| match store.open(id).and_then(|entry| entry.load()) {
        Err(error) if error.kind() == Kind::NotFound => None,
        Ok(None) => None,
        Ok(Some(state)) => Some(report(&state)),
        Err(error) => Some(Err(error)),
    };
    Ok(store.ids()?.iter().filter_map(load).collect())
}

/// The pids of all processes of a container, as the host numbers them, sorted.
pub fn pids(store: &Store, id: &str) -> Result<Vec<i32>> {
    let entry = store.open(id)?;
    let cgroup = require_state(&entry, id)?.cgroup;
    cgroup.require().and_then(|()| cgroup.pids()).during(Phase::Cgroup)
}

/// The process in the container's own config.json, which `exec` starts from when it is given a command only.
pub fn configured_process(store: &Store, id: &str) -> Result<Process> {
    let entry = store.open(id)?;
    let spec = require_state(&entry, id)?.spec()?;
    spec.process.ok_or_else(|| Error::invalid("process", "it is missing").during(Phase::LoadSpec))
}

fn report(state: &State) -> Result<StateReport> {
    let head = state.head().unwrap_or_default();
    let status = state.status()?;
    let root = head.root.map(|root| root.path).unwrap_or_default();
    Ok(StateReport {
        oci_version: head.oci_version,
        id: state.id.clone(),
        pid: if status == Status::Stopped { 0 } else { state.init.map_or(0, |init| init.pid) },
        status,
        bundle: state.bundle.clone(),
        rootfs: state.bundle.join(root),
        created: state.created.clone(),
        annotations: head.annotations,
        owner: user_name(state.owner),
        oom_killed: oom::is_oom_killed(state),
    })
}
