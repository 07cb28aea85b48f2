//! `update`: other limits for a container that lives.

use super::report::Status;
use super::{Store, require_state};
use crate::cgroups::{plan_update, tell_unknown_access};
use crate::error::{During, Error, Kind, Phase, Result};
use crate::host::{CgroupFacts, Resctrl, SystemdFacts};
use crate::intel_rdt::{self, Changed, NewSchemata, RdtGroup};
use crate::spec::Resources;

/// Changes the limits of a created, running or paused container, and what its class of service gets; gives warnings. What
/// is not given stays as it is, and if anything cannot be had, all does.
///
/// # Errors
/// [`Kind::WrongState`] if the container has stopped; those of [`plan_update`] and
/// [`Cgroup::update`](crate::cgroups::Cgroup::update).
pub fn update(store: &Store, id: &str, given: &Resources, schemata: &NewSchemata) -> Result<Vec<String>> {
    let entry = store.open_locked(id)?;
    let mut state = require_state(&entry, id)?;
    if matches!(state.status()?, Status::Stopped | Status::Creating) {
        return Err(Error::new(Kind::WrongState, "container not running").during(Phase::Update));
    }
    state.cgroup.require().during(Phase::Update)?;
    let in_force = state.resources_in_force()?;
    let systemd = state.cgroup.unit().map(|unit| SystemdFacts::of(unit.manager)).transpose()?;
    let plan = plan_update(&state.cgroup, &in_force, given, &CgroupFacts::gather()?, systemd.as_ref());
    let plan = plan.during(Phase::Update)?;
    let updated = state.cgroup.update(&plan)?;
    let changed = match change_schemata(state.intel_rdt.as_ref(), schemata) {
        Ok(changed) => changed,
        Err(error) => return Err(updated.take_back(error.during(Phase::Update))),
    };
    state.resources = Some(plan.resources.clone());
    match entry.save(&state) {
        Ok(()) => Ok(warnings(given)),
        // What is on record, and what the next update is laid over, must be what is in force.
        Err(error) => {
            let error = match changed {
                Some(changed) => changed.take_back(error),
                None => error,
            };
            Err(updated.take_back(error))
        }
    }
}

fn change_schemata<'a>(group: Option<&'a RdtGroup>, new: &NewSchemata) -> Result<Option<Changed<'a>>> {
    if new.is_empty() {
        return Ok(None);
    }
    // Its processes would have to be moved into one, all at once.
    let group = group.ok_or_else(|| {
        Error::new(Kind::WrongState, "the container has no class of service").remedy("linux.intelRdt makes one")
    })?;
    let resctrl = Resctrl::at(&group.mountpoint).ok_or_else(|| group.gone())?;
    let lines = intel_rdt::plan_update(new, &resctrl.facts(&group.name))?;
    group.change(&lines).map(Some)
}

fn warnings(given: &Resources) -> Vec<String> {
    let kernel = given.memory.as_ref().is_some_and(|memory| memory.kernel.is_some() || memory.kernel_tcp.is_some());
    let mut warnings = tell_unknown_access(&given.devices);
    warnings.extend(kernel.then(|| "limits of kernel memory are ignored: the kernel has them no more".to_owned()));
    warnings
}
