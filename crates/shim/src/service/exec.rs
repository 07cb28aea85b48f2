//! `Exec`: announces another process, which `Start` executes.

use containerd_shim_protos::api::ExecProcessRequest;
use containerd_shim_protos::events::task::TaskExecAdded;
use libcontainer::spec::{self, Process as ProcessSpec};

use super::{Answer, Handled};
use crate::io::Stdio;
use crate::process::Process;
use crate::shim::Shim;
use crate::ttrpc::{Code, Status};

impl Shim {
    pub(super) fn exec(&mut self, request: ExecProcessRequest) -> Handled {
        let container = self.container(&request.id)?;
        if request.exec_id.is_empty() {
            return Err(Status::new(Code::INVALID_ARGUMENT, "the process has no id"));
        }
        if container.execs.contains_key(&request.exec_id) {
            return Err(Status::new(Code::ALREADY_EXISTS, format!("id {}", request.exec_id)));
        }
        if container.init.exit.is_some() {
            return Err(Status::precondition("cannot exec in a stopped container"));
        }
        let text = request.spec.into_option().unwrap_or_default().value;
        // Now, so that the one who asks learns it; then it waits as the text that it came as, which is smaller.
        spec::parse_json::<ProcessSpec>(&text)?;
        let stdio =
            Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal };
        container.execs.insert(request.exec_id.clone(), Process::new(stdio, text));
        self.publish(&TaskExecAdded { container_id: request.id, exec_id: request.exec_id, ..TaskExecAdded::default() });
        Ok(Answer::Now(Vec::new()))
    }
}
