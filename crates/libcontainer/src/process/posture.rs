//! What the parent is for the moment of the clone only, so that the child is born with it.

use super::birth::Birth;
use crate::attributes;
use crate::error::Result;
use crate::namespaces::{self, OwnTime};

/// What the parent goes back to.
#[derive(Debug)]
pub(super) struct Posture {
    cpus: Option<Vec<u8>>,
    time: Option<OwnTime>,
}

impl Posture {
    /// Takes the CPUs and the time namespace for children that the birth asks for; mostly nothing.
    pub(super) fn take(birth: Birth<'_>) -> Result<Posture> {
        let time = birth.time.map(|(plan, proc)| namespaces::make_time(plan, proc)).transpose()?;
        let cpus = attributes::move_to_initial(&birth.scheduling.initial_cpus);
        match cpus {
            Ok(cpus) => Ok(Posture { cpus, time }),
            Err(error) => Posture { cpus: None, time }.give_up().and(Err(error)),
        }
    }

    /// To be done by the parent, not by the child.
    pub(super) fn give_up(self) -> Result<()> {
        let time = self.time.map_or(Ok(()), OwnTime::take_again);
        attributes::move_back(self.cpus.as_deref()).and(time)
    }
}
