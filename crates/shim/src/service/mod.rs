//! The task API, versions 2 and 3, which differ in the service's name only: one file per family of calls.
//!
//! What cannot block is answered at once; everything else goes to a worker, and a [`Job`] goes on when it has reported.

pub mod create;
pub mod creating;
pub mod delete;
mod exec;
mod launch;
mod life;
mod loggers;
pub mod parting;
mod query;
mod signal;
mod start;
mod stats;
mod streams;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::Request;
use containerd_shim_protos::types::mount::Mount;

use crate::events::encode;
use crate::process::{Caller, Container, Name};
use crate::shim::Shim;
use crate::ttrpc::connection::Reply;
use crate::ttrpc::{Code, Status};
use crate::worker::Outcome;

/// By the version of the task API. The messages are the same.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// What a call has come to.
pub(crate) enum Answer {
    /// An answer.
    Now(Vec<u8>),
    /// It comes later.
    Later,
}

type Handled = Result<Answer, Status>;

/// What goes on when a worker has reported.
#[derive(Debug)]
pub(crate) enum Job {
    Create { caller: Caller, id: String, rootfs: Vec<Mount> },
    Start { caller: Caller, id: String },
    StartExec { caller: Caller, name: Name },
    Delete { caller: Caller, id: String },
    Pause { caller: Caller, id: String },
    Resume { caller: Caller, id: String },
    Kill { caller: Caller },
    Update { caller: Caller },
    KillRest { id: String },
    GiveUp { id: String },
    ClearUp { caller: Caller, id: String, why: Status },
}

impl Shim {
    /// Answers a call, or sees to it that it will be.
    pub(crate) fn handle(&mut self, caller: Caller, request: Request) {
        let Some(request) = self.postpone(caller, request) else { return };
        match self.dispatch(caller, &request) {
            Ok(Answer::Now(payload)) => self.answer(caller, Ok(payload)),
            Ok(Answer::Later) => {}
            Err(status) => self.answer(caller, Err(status)),
        }
    }

    fn dispatch(&mut self, caller: Caller, request: &Request) -> Handled {
        if !SERVICES.contains(&request.service.as_str()) {
            return Err(Status::new(Code::UNIMPLEMENTED, format!("service {}", request.service)));
        }
        let payload = &request.payload;
        match request.method.as_str() {
            "State" => self.state(&parse(payload)?),
            "Create" => self.create(caller, parse(payload)?),
            "Start" => self.start(caller, &parse(payload)?),
            "Delete" => self.delete(caller, &parse(payload)?),
            "Pids" => self.pids(&parse(payload)?),
            "Pause" => self.pause(caller, &parse(payload)?),
            "Resume" => self.resume(caller, &parse(payload)?),
            "Kill" => self.kill(caller, &parse(payload)?),
            "Exec" => self.exec(parse(payload)?),
            "ResizePty" => self.resize_pty(&parse(payload)?),
            "CloseIO" => self.close_io(&parse(payload)?),
            "Wait" => self.wait(caller, &parse(payload)?),
            "Connect" => self.connect(&parse(payload)?),
            "Shutdown" => self.shutdown(),
            "Checkpoint" => unimplemented("checkpoints: this version of creel has none"),
            "Stats" => self.stats(&parse(payload)?),
            "Update" => self.update(caller, &parse(payload)?),
            other => unimplemented(&format!("method {other}")),
        }
    }

    /// Goes on after a worker.
    pub(crate) fn go_on(&mut self, job: Job, outcome: Outcome) {
        match job {
            Job::Create { caller, id, rootfs } => self.created(caller, &id, rootfs, outcome),
            Job::Start { caller, id } => self.started(caller, &id, outcome),
            Job::StartExec { caller, name } => self.exec_started(caller, &name, outcome),
            Job::Delete { caller, id } => self.deleted(caller, &id, outcome),
            Job::Pause { caller, id } => self.paused(caller, &id, outcome, true),
            Job::Resume { caller, id } => self.paused(caller, &id, outcome, false),
            Job::Kill { caller } => self.answer(caller, signal::outcome(outcome.map(drop))),
            Job::Update { caller } => self.answer(caller, outcome.and_then(|_| nothing())),
            Job::KillRest { id } => {
                if let Err(status) = outcome {
                    self.log.warning(format!("killing what container {id} left: {}", status.message));
                }
                self.tell_init_if_last(&id);
            }
            Job::ClearUp { caller, id, why } => self.cleared_up(caller, &id, why, outcome),
            // Of what the call that gave it up finds, it is told.
            Job::GiveUp { id } => {
                if let Err(status) = outcome {
                    self.log.warning(format!("giving up container {id}: {}", status.message));
                }
            }
        }
    }

    /// A container that has been created.
    pub(crate) fn container(&mut self, id: &str) -> Result<&mut Container, Status> {
        self.containers.get_mut(id).ok_or_else(|| Status::not_found("container not created"))
    }
}

fn parse<M: Message>(payload: &[u8]) -> Result<M, Status> {
    M::parse_from_bytes(payload)
        .map_err(|error| Status::new(Code::INVALID_ARGUMENT, format!("the request cannot be read: {error}")))
}

fn unimplemented(what: &str) -> Handled {
    Err(Status::new(Code::UNIMPLEMENTED, what))
}

/// An answer with a message.
fn now(message: &impl Message) -> Handled {
    Ok(Answer::Now(encode(message)))
}

/// An answer that says nothing.
fn nothing() -> Reply {
    Ok(Vec::new())
}
