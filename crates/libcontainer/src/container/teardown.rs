//! Undoing a container: the same steps after a failed create, an ended run and a delete, each of which may have been
//! done before by a command that was killed.

use super::state::State;
use super::store::Entry;
use crate::error::{During, Error, Phase, Result};
use crate::hooks;

/// Removes what is left of a container whose processes are dead or may be killed: processes, cgroups, state. Runs its
/// poststop hooks; their failure is no reason to leave anything (runtime.md "Lifecycle", step 13), it is told as a
/// warning.
pub(super) fn destroy(entry: &Entry, state: Option<&State>) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if let Some(state) = state {
        // What is left in the cgroup without a PID namespace of its own, and init if it was never let go.
        state.cgroup.kill_all(libc::SIGKILL).during(Phase::Delete)?;
        state.cgroup.remove().during(Phase::Delete)?;
        let failures = run_poststop(state).unwrap_or_else(|error| vec![error]);
        warnings.extend(failures.iter().map(ToString::to_string));
    }
    entry.remove().during(Phase::Delete)?;
    Ok(warnings)
}

fn run_poststop(state: &State) -> Result<Vec<Error>> {
    let spec = state.spec()?;
    let Some(list) = spec.hooks.as_ref().filter(|hooks| !hooks.poststop.is_empty()) else { return Ok(Vec::new()) };
    let mut poststop = hooks::plan(list)?.poststop;
    hooks::set_default_env(&mut poststop, &super::own_environment());
    let json = state.hook_state(&spec).json("stopped", None);
    Ok(hooks::run_all(&poststop, &json, "poststop", Some(&state.bundle)))
}
