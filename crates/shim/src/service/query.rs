//! `State`, `Pids`, `Wait` and `Connect`: what is known already.

use containerd_shim_protos::api::{
    ConnectRequest, ConnectResponse, PidsRequest, PidsResponse, ProcessInfo, StateRequest, StateResponse,
    Status as TaskStatus, WaitRequest, WaitResponse,
};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{EnumOrUnknown, MessageField};
use containerd_shim_protos::shim::oci::ProcessDetails;
use libcontainer::container;

use super::{Answer, Handled, now};
use crate::events::{encode, timestamp};
use crate::process::{Caller, Exit, Stage};
use crate::shim::Shim;

impl Shim {
    pub(super) fn state(&mut self, request: &StateRequest) -> Handled {
        let container = self.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        let status = match process.stage {
            Stage::Created | Stage::Starting => TaskStatus::CREATED,
            Stage::Running if container.is_paused => TaskStatus::PAUSED,
            Stage::Running => TaskStatus::RUNNING,
            Stage::Stopped => TaskStatus::STOPPED,
        };
        let stdio = &process.stdio;
        let mut response = StateResponse {
            id: if request.exec_id.is_empty() { request.id.clone() } else { request.exec_id.clone() },
            bundle: container.bundle.to_string_lossy().into_owned(),
            pid: process.pid.unsigned_abs(),
            status: EnumOrUnknown::new(status),
            stdin: stdio.stdin.clone(),
            stdout: stdio.stdout.clone(),
            stderr: stdio.stderr.clone(),
            terminal: stdio.terminal,
            exec_id: request.exec_id.clone(),
            ..StateResponse::default()
        };
        if let Some(exit) = process.exit.filter(|_| process.stage == Stage::Stopped) {
            response.exit_status = exit.status;
            response.exited_at = MessageField::some(timestamp(exit.at));
        }
        now(&response)
    }

    pub(super) fn pids(&mut self, request: &PidsRequest) -> Handled {
        let container = self.container(&request.id)?;
        let pids = container::pids(&container.store, &request.id)?;
        let info = |pid: &i32| {
            let exec = container.execs.iter().find(|(_, exec)| exec.pid == *pid && exec.exit.is_none());
            let details = exec.map(|(name, _)| {
                let details = ProcessDetails { exec_id: name.clone(), ..ProcessDetails::default() };
                let type_url = "containerd.runc.v1.ProcessDetails".to_owned();
                Any { type_url, value: encode(&details), ..Any::default() }
            });
            ProcessInfo { pid: pid.unsigned_abs(), info: details.into(), ..ProcessInfo::default() }
        };
        now(&PidsResponse { processes: pids.iter().map(info).collect(), ..PidsResponse::default() })
    }

    pub(super) fn wait(&mut self, caller: Caller, request: &WaitRequest) -> Handled {
        let process = self.container(&request.id)?.process_mut(&request.exec_id)?;
        match process.exit.filter(|_| process.stage == Stage::Stopped) {
            Some(exit) => now(&wait_response(exit)),
            None => {
                process.waiters.push(caller);
                Ok(Answer::Later)
            }
        }
    }

    /// To one who waits for a process's end.
    pub(crate) fn answer_wait(&mut self, caller: Caller, exit: Exit) {
        self.answer(caller, Ok(encode(&wait_response(exit))));
    }

    pub(super) fn connect(&mut self, request: &ConnectRequest) -> Handled {
        let task_pid = self.container(&request.id).map_or(0, |container| container.init.pid.unsigned_abs());
        now(&ConnectResponse {
            shim_pid: rustix::process::getpid().as_raw_pid().unsigned_abs(),
            task_pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ConnectResponse::default()
        })
    }
}

fn wait_response(exit: Exit) -> WaitResponse {
    WaitResponse {
        exit_status: exit.status,
        exited_at: MessageField::some(timestamp(exit.at)),
        ..WaitResponse::default()
    }
}
