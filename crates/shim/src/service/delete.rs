//! `Delete`: what is left of a container, or of another process of it; and `Shutdown`.

use std::time::{Duration, Instant};

use containerd_shim_protos::api::{DeleteRequest, DeleteResponse};
use containerd_shim_protos::events::task::TaskDelete;
use containerd_shim_protos::protobuf::MessageField;
use libcontainer::container;
use libcontainer::error::Kind;
use rustix::process::{Pid, Signal, kill_process};

use super::create::ROOTFS;
use super::{Answer, Handled, Job};
use crate::events::{encode, timestamp};
use crate::mounts;
use crate::process::{Caller, Exit, Held, Process, Stage};
use crate::shim::Shim;
use crate::ttrpc::Status;
use crate::worker::{Outcome, Report};

/// How long a logger has to end by itself, at the end of its input; then it is told to, and has a while to write out
/// what it has, as containerd grants it; then it is killed.
const LOGGER_LIMITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(12)];

/// A logger whose process is deleted: the answer waits until it has written everything.
#[derive(Debug)]
pub struct Parting {
    logger: Pid,
    caller: Caller,
    answer: Vec<u8>,
    begun: Instant,
    /// How many of [`LOGGER_LIMITS`] are over.
    pressed: usize,
}

impl Parting {
    /// When it is to be pressed.
    pub fn deadline(&self) -> Instant {
        self.begun + LOGGER_LIMITS.get(self.pressed).copied().unwrap_or(Duration::from_secs(3600))
    }
}

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
            self.part(caller, exec);
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
        for exec in container.execs.into_values() {
            self.let_go(exec.held);
        }
        self.part(caller, container.init);
    }

    /// Answers when nothing of the process is left.
    fn part(&mut self, caller: Caller, process: Process) {
        let exit = process.exit.unwrap_or(unknown_exit());
        let response = DeleteResponse {
            pid: process.pid.unsigned_abs(),
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..DeleteResponse::default()
        };
        let (answer, logger) = (encode(&response), process.held.logger);
        self.let_go(process.held);
        match logger {
            Some(logger) => {
                self.partings.push(Parting { logger, caller, answer, begun: Instant::now(), pressed: 0 });
            }
            None => self.answer(caller, Ok(answer)),
        }
    }

    fn let_go(&mut self, held: Held) {
        held.pumps.iter().for_each(|pump| self.drop_pump(*pump));
    }

    /// A child has ended: whether it was a logger.
    pub(crate) fn part_from(&mut self, pid: Pid) -> bool {
        if let Some(index) = self.partings.iter().position(|parting| parting.logger == pid) {
            let parting = self.partings.swap_remove(index);
            self.answer(parting.caller, Ok(parting.answer));
            return true;
        }
        let processes =
            self.containers.values_mut().flat_map(|one| std::iter::once(&mut one.init).chain(one.execs.values_mut()));
        let mut of = processes.filter(|process| process.held.logger == Some(pid));
        of.next().map(|process| process.held.logger = None).is_some()
    }

    /// Presses loggers that take too long.
    pub(crate) fn press_loggers(&mut self, now: Instant) {
        for parting in self.partings.iter_mut().filter(|parting| parting.deadline() <= now) {
            let signal = if parting.pressed == 0 { Signal::TERM } else { Signal::KILL };
            let _ = kill_process(parting.logger, signal);
            parting.pressed += 1;
        }
    }

    pub(super) fn shutdown(&mut self) -> Handled {
        if self.is_empty() {
            self.end();
        }
        Ok(Answer::Now(Vec::new()))
    }
}

/// For a process that ended without our seeing it.
fn unknown_exit() -> Exit {
    Exit { status: 0, at: std::time::SystemTime::now() }
}
