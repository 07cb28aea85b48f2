//! Undoing a container: the same steps after a failed create, an ended run and a delete, each of which may have been
//! done before by a command that was killed.

use super::state::State;
use super::store::Entry;
use crate::error::{During, Error, Phase, Result};
use crate::hooks::{self, Outputs, Setting};
use crate::namespaces::Kind;

/// Whose processes are in the container's cgroup. Two containers may be given the same cgroupsPath: the second is
/// refused, and undoing it must not harm the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The container's.
    Ours,
    /// Perhaps nobody's, perhaps another container's: the create that would know was killed.
    Unknown,
    /// Another's, or there is no such cgroup.
    Others,
}

/// Removes what is left of a container whose processes are dead or may be killed: processes, cgroups, state. Runs its
/// poststop hooks; their failure is no reason to leave anything (runtime.md "Lifecycle", step 13). Gives warnings.
pub(super) fn destroy(entry: &Entry, state: &State, cgroup: Whose) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    match cgroup {
        Whose::Ours => {
            // With a PID namespace of its own all processes have died with init; what is in the cgroup now, since it
            // was found empty, is another container's.
            if !state.namespaces.makes(Kind::Pid) {
                state.cgroup.kill_all(libc::SIGKILL).during(Phase::Delete)?;
            }
            warnings.extend(state.cgroup.stop_unit().during(Phase::Delete)?);
            state.cgroup.remove().during(Phase::Delete)?;
        }
        Whose::Unknown => {
            let removed = state.cgroup.stop_unit().and_then(|warning| {
                warnings.extend(warning);
                state.cgroup.remove()
            });
            warnings.extend(removed.err().map(|error| error.to_string()));
        }
        Whose::Others => {}
    }
    // Before it had a cgroup nothing of the container was there to be stopped.
    if cgroup != Whose::Others {
        let failures = run_poststop(state).unwrap_or_else(|error| vec![error]);
        warnings.extend(failures.iter().map(ToString::to_string));
    }
    if let Some(group) = &state.intel_rdt {
        group.remove().during(Phase::Delete)?;
    }
    entry.remove().during(Phase::Delete)?;
    Ok(warnings)
}

fn run_poststop(state: &State) -> Result<Vec<Error>> {
    let (hooks, told) = state.later_hooks()?;
    if hooks.poststop.is_empty() {
        return Ok(Vec::new());
    }
    // A file that cannot be opened any more is no reason not to run them.
    let (outputs, failure) = match Outputs::open(&told) {
        Ok(outputs) => (outputs, None),
        Err(error) => (Outputs::default(), Some(error)),
    };
    let setting = Setting { kind: "poststop", cwd: Some(&state.bundle), outputs: &outputs, init: None };
    let failures = hooks::run_all(&hooks.poststop, &told.json("stopped", None), setting);
    Ok(failure.into_iter().chain(failures).collect())
}
