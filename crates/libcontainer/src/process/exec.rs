//! A process that joins a running container, from its clone to the payload: one ordered script.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::channel::Channel;
use super::launch::{self, report};
use super::payload::{self, Payload};
use super::stage;
use crate::error::{During, Phase, Result, SysContext};
use crate::host::HostProc;
use crate::namespaces::{self, Kind, NamespacesPlan};
use crate::plan::ProcessPlan;
use crate::sys::clone::SingleThreaded;
use crate::{lsm, sys, terminal, userns};

/// Everything that a joining process inherits from its parent.
pub(crate) struct Joiner<'a> {
    pub(crate) plan: &'a ProcessPlan,
    /// The namespaces that the container does not share with the runtime.
    pub(crate) namespaces: &'a NamespacesPlan,
    /// The container's init, whose namespaces are joined all at once (setns(2) with a pidfd).
    pub(crate) container: &'a OwnedFd,
    /// Its pid.
    pub(crate) pid: i32,
    pub(crate) proc: &'a HostProc,
}

impl Joiner<'_> {
    /// A PID namespace only takes effect for children.
    pub(crate) fn needs_stage(&self) -> bool {
        self.namespaces.has(Kind::Pid)
    }

    /// Runs as the joining process; returns only on failure, which it has reported.
    pub(crate) fn run(&self, channel: Channel, alone: &SingleThreaded) -> Result<()> {
        let payload = self.prepare(&channel, alone).map_err(|error| report(&channel, error))?;
        Err(report(&channel, payload.execute()))
    }

    fn prepare(&self, channel: &Channel, alone: &SingleThreaded) -> Result<Payload> {
        payload::begin(self.plan, self.proc, alone)?;
        // What is written for the next execve is passed on by clone(2), so that /proc is not needed in the container.
        lsm::label_next_exec(&self.plan.lsm, self.proc)?;
        let flags = self.namespaces.flags();
        if flags != 0 {
            match sys::namespace::setns(self.container.as_fd(), flags) {
                // A pidfd is none of the descriptors that setns(2) takes before Linux 5.8.
                Err(Errno::INVAL) => namespaces::join_all_of(self.namespaces, self.pid, self.container, self.proc)?,
                joined => joined.sys("setns", "the container's namespaces").during(Phase::Namespaces)?,
            }
        }
        if self.namespaces.has(Kind::User) {
            userns::become_root()?;
            launch::die_with_parent();
        }
        // As the label, it is passed on by clone(2); what labels it needs /proc.
        payload::join_keyring(self.plan, self.proc)?;
        // The stage is not to be seen in the container; what it clones is.
        payload::let_go_of_the_host(self.plan, self.proc, &[channel.as_fd()])?;
        if self.needs_stage() {
            stage::pass(alone, channel, 0)?;
        }
        rustix::process::setsid().sys("setsid", "the joining process").during(Phase::Attributes)?;
        let terminal = self.plan.terminal.map(terminal::open).transpose()?;
        if let Some(terminal) = &terminal {
            terminal.attach()?;
        }
        let env = payload::environment(self.plan);
        let filter = launch::await_run(channel, terminal.as_ref().map(|terminal| &terminal.master))?;
        drop(terminal);
        payload::confine(self.plan, &env, filter.as_ref(), channel)
    }
}
