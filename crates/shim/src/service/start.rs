//! `Start`: lets a created container's init go on, or executes another process in it.

use containerd_shim_protos::api::{StartRequest, StartResponse};
use containerd_shim_protos::events::task::{TaskExecStarted, TaskStart};
use libcontainer::container::{self, ExecOptions, Store};
use libcontainer::process::sealed_exe::Sealed;
use libcontainer::spec::{self, Process as ProcessSpec};

use super::launch::launch;
use super::{Answer, Handled, Job};
use crate::events::encode;
use crate::io::{self, Owner, Stdio};
use crate::process::{Caller, Exit, Name, Stage};
use crate::shim::Shim;
use crate::ttrpc::Status;
use crate::worker::{Outcome, Report};

/// What a process that could not be started is said to have ended with.
const NOT_STARTED: u32 = 255;

impl Shim {
    pub(super) fn start(&mut self, caller: Caller, request: &StartRequest) -> Handled {
        let sealed = self.sealed;
        let container = self.container(&request.id)?;
        if !request.exec_id.is_empty() && container.init.exit.is_some() {
            return Err(Status::precondition(format!("container {} init process is not running", request.id)));
        }
        let (store, options, paused) = (container.store.clone(), container.options.clone(), container.is_paused);
        let process = container.process_mut(&request.exec_id)?;
        match process.stage {
            Stage::Created if paused => {
                return Err(Status::precondition("cannot start a process in a paused container"));
            }
            Stage::Created => process.stage = Stage::Starting,
            Stage::Starting | Stage::Running => return Err(Status::precondition("cannot start a running process")),
            Stage::Stopped => return Err(Status::precondition("cannot start a stopped process")),
        }
        let (spec, stdio) = (std::mem::take(&mut process.spec), process.stdio.clone());
        let id = request.id.clone();
        if request.exec_id.is_empty() {
            self.employ(Job::Start { caller, id: id.clone() }, move || {
                container::start(&store, &id)?;
                Ok(Report::default())
            });
        } else {
            let owner = self.owner_of(&request.exec_id, &options);
            let name = Name { container: id.clone(), exec: request.exec_id.clone() };
            let execution = Execution { id, store, spec, stdio, owner, sealed };
            self.employ(Job::StartExec { caller, name }, move || execution.carry_out());
        }
        Ok(Answer::Later)
    }

    pub(super) fn started(&mut self, caller: Caller, id: &str, outcome: Outcome) {
        let Some(container) = self.containers.get_mut(id) else {
            return self.answer(caller, Err(Status::not_found("container not created")));
        };
        match outcome {
            Ok(_) => {
                container.init.stage = Stage::Running;
                let pid = container.init.pid.unsigned_abs();
                self.publish(&TaskStart { container_id: id.to_owned(), pid, ..TaskStart::default() });
                self.answer(caller, Ok(encode(&StartResponse { pid, ..StartResponse::default() })));
            }
            Err(status) => {
                // Its init may have ended, which is told below; or it may be tried again.
                container.init.stage = Stage::Created;
                self.answer(caller, Err(status.within("OCI runtime start failed")));
            }
        }
        self.tell_init_if_last(id);
    }

    pub(super) fn exec_started(&mut self, caller: Caller, name: &Name, outcome: Outcome) {
        let found = self.containers.get_mut(&name.container).and_then(|one| one.process_mut(&name.exec).ok());
        let Some(process) = found else {
            return self.answer(caller, Err(Status::not_found(format!("process {} does not exist", name.exec))));
        };
        match outcome {
            Ok(report) => {
                let pid = report.pid;
                process.stage = Stage::Running;
                process.pid = pid;
                self.hold(name, report);
                self.publish(&TaskExecStarted {
                    container_id: name.container.clone(),
                    exec_id: name.exec.clone(),
                    pid: pid.unsigned_abs(),
                    ..TaskExecStarted::default()
                });
                let response = StartResponse { pid: pid.unsigned_abs(), ..StartResponse::default() };
                self.answer(caller, Ok(encode(&response)));
                self.meet(name, pid);
            }
            Err(status) => {
                let exit = Exit { status: NOT_STARTED, at: std::time::SystemTime::now() };
                process.stage = Stage::Stopped;
                process.exit = Some(exit);
                // There was never a process, so there is no event of its end; but nobody shall wait for it.
                let waiters = std::mem::take(&mut process.waiters);
                waiters.into_iter().for_each(|waiter| self.answer_wait(waiter, exit));
                self.answer(caller, Err(status.within("OCI runtime exec failed")));
                self.tell_init_if_last(&name.container);
            }
        }
    }
}

/// Everything that a worker needs to execute a process.
struct Execution {
    id: String,
    store: Store,
    spec: Vec<u8>,
    stdio: Stdio,
    owner: Owner,
    sealed: Sealed,
}

impl Execution {
    /// In a worker.
    fn carry_out(self) -> Outcome {
        let mut process: ProcessSpec = spec::parse_json(&self.spec)?;
        process.terminal = self.stdio.terminal;
        let opened = io::open(&self.stdio, &self.owner)?;
        let options = ExecOptions {
            process,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            preserve_fds: 0,
            ignore_paused: false,
            cgroups: Vec::new(),
            attach_console: self.stdio.terminal,
            raw_console: true,
            trace: container::Trace::default(),
        };
        launch(opened, || container::exec(&self.store, &self.id, &options, self.sealed))
    }
}
