//! `Kill`.

use containerd_shim_protos::api::KillRequest;
use libcontainer::container;
use rustix::process::Pid;

use super::{Answer, Handled, Job, nothing};
use crate::process::{Caller, Stage};
use crate::shim::Shim;
use crate::ttrpc::connection::Reply;
use crate::ttrpc::{Code, Status};
use crate::worker::Report;

impl Shim {
    pub(super) fn kill(&mut self, caller: Caller, request: &KillRequest) -> Handled {
        let signal = i32::try_from(request.signal)
            .map_err(|_| Status::new(Code::INVALID_ARGUMENT, format!("there is no signal {}", request.signal)))?;
        let lingers = self.lingers(&request.id, &request.exec_id);
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        if !request.exec_id.is_empty() {
            return match process.stage {
                Stage::Running if lingers => Err(finished()),
                Stage::Running => send(process.pid, signal),
                Stage::Created | Stage::Starting => Err(Status::precondition("process not created")),
                Stage::Stopped => Err(finished()),
            };
        }
        if process.exit.is_some() && !request.all {
            return Err(finished());
        }
        let (store, id, all) = (container.store.clone(), request.id.clone(), request.all);
        if all || signal == libc::SIGKILL {
            // It waits until the processes are gone, and gives up on one that hangs with an error that names it.
            self.employ(Job::Kill { caller }, move || {
                container::kill(&store, &id, signal, all)?;
                Ok(Report::default())
            });
            return Ok(Answer::Later);
        }
        outcome(container::kill(&store, &id, signal, false).map_err(Status::from)).map(Answer::Now)
    }
}

/// To a child of ours that was not collected yet, so that its pid is its own.
fn send(pid: i32, signal: i32) -> Handled {
    let pidfd = Pid::from_raw(pid)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()));
    let pidfd = pidfd.map_err(|_| finished())?;
    match libcontainer::process::signals::send(&pidfd, signal) {
        Err(error) if error.errno() == Some(rustix::io::Errno::SRCH) => Err(finished()),
        other => Ok(other.map(|()| Answer::Now(Vec::new()))?),
    }
}

/// The words, and the code, by which engines tell that a process is gone already.
fn finished() -> Status {
    Status::not_found("process already finished")
}

/// What the library says, as containerd expects it.
pub(super) fn outcome(outcome: Result<(), Status>) -> Reply {
    match outcome {
        Err(status) if matches!(status.code, Code::FAILED_PRECONDITION | Code::NOT_FOUND) => Err(finished()),
        other => other.and_then(|()| nothing()),
    }
}
