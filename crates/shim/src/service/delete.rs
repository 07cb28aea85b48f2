//! `Delete`: what is left of a container, or of another process of it; and `Shutdown`.

use containerd_shim_protos::api::{DeleteRequest, DeleteResponse};
use containerd_shim_protos::events::task::TaskDelete;
use containerd_shim_protos::protobuf::MessageField;
use libcontainer::container;
use libcontainer::error::Kind;

use super::create::ROOTFS;
use super::{Answer, Handled, Job};
use crate::events::{encode, timestamp};
use crate::mounts;
use crate::process::{Caller, Exit, Process, Stage};
use crate::shim::Shim;
use crate::ttrpc::Status;
use crate::worker::{Outcome, Report};

impl Shim {
    pub(super) fn delete(&mut self, caller: Caller, request: &DeleteRequest) -> Handled {
        let container = self.container(&request.id)?;
        let stage = container.process(&request.exec_id)?.stage;
        if matches!(stage, Stage::Starting | Stage::Running) {
            return Err(Status::precondition("cannot delete a running process"));
        }
        if request.exec_id.is_empty() {
            if container.init.stage == Stage::Created && container.has_live_execs() {
                return Err(Status::precondition("cannot delete a container with running processes"));
            }
            let (store, id) = (container.store.clone(), request.id.clone());
            let rootfs = container.bundle.join(ROOTFS);
            self.employ(Job::Delete { caller, id: id.clone() }, move || {
                let warnings = match container::delete(&store, &id, false) {
                    // Somebody has deleted it with the command line.
                    Err(error) if error.kind() == Kind::NotFound => Vec::new(),
                    other => other?,
                };
                mounts::unmount_all(&rootfs)?;
                Ok(Report { warnings, ..Report::default() })
            });
            return Ok(Answer::Later);
        }
        let exec = container.execs.remove(&request.exec_id);
        if let Some(exec) = exec {
            let answer = encode(&response(&exec));
            self.part(caller, exec.held, answer);
        }
        Ok(Answer::Later)
    }

    pub(super) fn deleted(&mut self, caller: Caller, id: &str, outcome: Outcome) {
        if let Err(status) = outcome {
            return self.answer(caller, Err(status.within("failed to delete task")));
        }
        // The init of a container that was never started has been killed: its end is to be told first.
        self.reap();
        let Some(mut container) = self.containers.remove(id) else {
            // Another call was faster.
            return self.answer(caller, Err(Status::not_found("container not created")));
        };
        let exit = container.init.exit.unwrap_or(unknown_exit());
        for waiter in std::mem::take(&mut container.init.waiters) {
            self.answer_wait(waiter, exit);
        }
        self.publish(&TaskDelete {
            container_id: id.to_owned(),
            pid: container.init.pid.unsigned_abs(),
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..TaskDelete::default()
        });
        let answer = encode(&response(&container.init));
        // Execs that nobody deletes go with it, their last words too.
        let mut held = container.init.held;
        container.execs.into_values().for_each(|exec| held.join(exec.held));
        self.part(caller, held, answer);
    }

    pub(super) fn shutdown(&mut self) -> Handled {
        if self.is_empty() {
            self.end();
        }
        Ok(Answer::Now(Vec::new()))
    }
}

fn response(process: &Process) -> DeleteResponse {
    let exit = process.exit.unwrap_or(unknown_exit());
    DeleteResponse {
        pid: process.pid.unsigned_abs(),
        exit_status: exit.status,
        exited_at: MessageField::some(timestamp(exit.at)),
        ..DeleteResponse::default()
    }
}

/// For a process that ended without our seeing it.
fn unknown_exit() -> Exit {
    Exit { status: 0, at: std::time::SystemTime::now() }
}
