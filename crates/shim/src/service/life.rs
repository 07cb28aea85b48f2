//! `Pause` and `Resume`.

use containerd_shim_protos::api::{PauseRequest, ResumeRequest};
use containerd_shim_protos::events::task::{TaskPaused, TaskResumed};
use libcontainer::container;

use super::{Answer, Handled, Job, nothing};
use crate::process::{Caller, Stage};
use crate::shim::Shim;
use crate::ttrpc::Status;
use crate::worker::{Outcome, Report};

impl Shim {
    pub(super) fn pause(&mut self, caller: Caller, request: &PauseRequest) -> Handled {
        let container = self.container(&request.id)?;
        if container.init.stage != Stage::Running || container.is_paused {
            return Err(Status::precondition("cannot pause: the container is not running"));
        }
        let (store, id) = (container.store.clone(), request.id.clone());
        self.employ(Job::Pause { caller, id: id.clone() }, move || {
            container::pause(&store, &id)?;
            Ok(Report::default())
        });
        Ok(Answer::Later)
    }

    pub(super) fn resume(&mut self, caller: Caller, request: &ResumeRequest) -> Handled {
        let container = self.container(&request.id)?;
        let (store, id) = (container.store.clone(), request.id.clone());
        self.employ(Job::Resume { caller, id: id.clone() }, move || {
            container::resume(&store, &id)?;
            Ok(Report::default())
        });
        Ok(Answer::Later)
    }

    pub(super) fn paused(&mut self, caller: Caller, id: &str, outcome: Outcome, frozen: bool) {
        if let Err(status) = outcome {
            return self.answer(caller, Err(status));
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.is_paused = frozen;
        }
        match frozen {
            true => self.publish(&TaskPaused { container_id: id.to_owned(), ..TaskPaused::default() }),
            false => self.publish(&TaskResumed { container_id: id.to_owned(), ..TaskResumed::default() }),
        }
        self.answer(caller, nothing());
    }
}
