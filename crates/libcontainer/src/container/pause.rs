//! `pause` and `resume`, through the freezer.

use super::report::Status;
use super::{Store, require_state};
use crate::error::{During, Error, Kind, Phase, Result};

/// Freezes every process of a running or created container.
///
/// # Errors
/// [`Kind::WrongState`] if it is neither.
pub fn pause(store: &Store, id: &str) -> Result<()> {
    let entry = store.open_locked(id)?;
    let state = require_state(&entry, id)?;
    match state.status()? {
        Status::Running | Status::Created => {
            state.cgroup.require().and_then(|()| state.cgroup.freeze()).during(Phase::Cgroup)
        }
        _ => Err(Error::new(Kind::WrongState, "container not running")),
    }
}

/// Thaws a paused container.
///
/// # Errors
/// [`Kind::WrongState`] if it is not paused.
pub fn resume(store: &Store, id: &str) -> Result<()> {
    let entry = store.open_locked(id)?;
    let state = require_state(&entry, id)?;
    match state.status()? {
        Status::Paused => state.cgroup.thaw().during(Phase::Cgroup),
        _ => Err(Error::new(Kind::WrongState, "container not paused")),
    }
}
