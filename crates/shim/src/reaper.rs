//! The one place where children are collected: workers, loggers, containers' processes, and whatever a container left to
//! us as the subreaper.

use std::time::SystemTime;

use rustix::process::{WaitOptions, WaitStatus};

use crate::events::timestamp;
use crate::process::{Exit, Name, Process, Stage};
use crate::service::Job;
use crate::shim::Shim;
use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::MessageField;

/// What shells add to a signal's number.
const SIGNALLED: i32 = 128;

/// A child that ended before anybody knew it: perhaps one that a worker is about to report. It is only remembered while a
/// worker is under way, which is far shorter than the kernel takes to give out a pid again.
#[derive(Debug)]
pub struct Stranger {
    pid: i32,
    exit: Exit,
}

impl Shim {
    /// Collects every child that has ended.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let exit = Exit { status: shell_status(status), at: SystemTime::now() };
            if self.is_worker(pid) {
                continue;
            }
            match self.owner(pid.as_raw_pid()) {
                Some(name) => self.linger(name, exit),
                None if self.part_from(pid) => {}
                None if self.awaits_processes() => {
                    self.strangers.push(Stranger { pid: pid.as_raw_pid(), exit });
                }
                None => {}
            }
        }
    }

    /// Whose process has this pid.
    fn owner(&self, pid: i32) -> Option<Name> {
        let alive = |process: &Process| process.pid == pid && process.exit.is_none();
        self.containers.iter().find_map(|(id, container)| {
            if alive(&container.init) && !self.lingers(id, "") {
                return Some(Name::init(id));
            }
            let exec = container.execs.iter().find(|(name, exec)| alive(exec) && !self.lingers(id, name));
            exec.map(|(name, _)| Name { container: id.clone(), exec: name.clone() })
        })
    }

    /// A worker has reported a process: it may have ended already.
    pub(crate) fn meet(&mut self, name: &Name, pid: i32) {
        if let Some(exit) = self.take_stranger(pid) {
            self.linger(name.clone(), exit);
        }
    }

    /// How a child ended that nobody knew at the time.
    pub(crate) fn take_stranger(&mut self, pid: i32) -> Option<Exit> {
        let index = self.strangers.iter().position(|stranger| stranger.pid == pid)?;
        Some(self.strangers.swap_remove(index).exit)
    }

    /// A process has ended. The end of an exec is told at once, that of init after those of all execs.
    pub(crate) fn ended(&mut self, name: &Name, exit: Exit) {
        let Some(container) = self.containers.get_mut(&name.container) else { return };
        if !name.is_init() {
            self.tell_end(name, exit);
            return self.tell_init_if_last(&name.container);
        }
        container.init.exit = Some(exit);
        container.init_exit = Some(exit);
        if container.shares_pids {
            // They do not die with init; what waits for init's end expects that nothing is left.
            let (store, id) = (container.store.clone(), name.container.clone());
            return self.employ(Job::KillRest { id: id.clone() }, move || {
                libcontainer::container::kill(&store, &id, libc::SIGKILL, true)?;
                Ok(Default::default())
            });
        }
        self.tell_init_if_last(&name.container);
    }

    /// Tells of init's end, when nothing else of the container runs.
    pub(crate) fn tell_init_if_last(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.init.stage == Stage::Starting || container.has_live_execs() {
            return;
        }
        if let Some(exit) = container.init_exit.take() {
            self.finish_memory(id);
            self.tell_end(&Name::init(id), exit);
        }
    }

    fn tell_end(&mut self, name: &Name, exit: Exit) {
        let Some(container) = self.containers.get_mut(&name.container) else { return };
        let Ok(process) = container.process_mut(&name.exec) else { return };
        process.exit = Some(exit);
        process.stage = Stage::Stopped;
        process.held.console = None;
        let (pid, waiters) = (process.pid, std::mem::take(&mut process.waiters));
        self.publish(&TaskExit {
            container_id: name.container.clone(),
            id: if name.is_init() { name.container.clone() } else { name.exec.clone() },
            pid: pid.unsigned_abs(),
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..TaskExit::default()
        });
        waiters.into_iter().for_each(|caller| self.answer_wait(caller, exit));
    }
}

fn shell_status(status: WaitStatus) -> u32 {
    let number = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, signal) => SIGNALLED + signal.unwrap_or_default(),
    };
    number.unsigned_abs()
}
