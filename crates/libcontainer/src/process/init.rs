//! The container's init, from its clone to the payload: one ordered script.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use super::channel::Channel;
use super::gate::Gate;
use super::launch::{self, report};
use super::payload::{self, Payload};
use super::stage;
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::hooks::{self, HookState, Outputs, Setting};
use crate::host::HostProc;
use crate::namespaces::{self, Kind, OpenNamespace};
use crate::plan::Plan;
use crate::sys::clone::SingleThreaded;
use crate::{lsm, rootfs, sys, sysctl, terminal, userns};

/// Everything that init inherits from its parent: the plan, and what was opened on the host.
pub(crate) struct Init<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) namespaces: &'a [OpenNamespace],
    pub(crate) proc: &'a HostProc,
    /// The user namespaces of the plan's list of maps.
    pub(crate) maps: &'a [OwnedFd],
    /// Where it waits for `start`; absent: it goes straight on, as `run` wants it.
    pub(crate) gate: Option<Gate>,
    /// What its hooks read, and where they print to.
    pub(crate) hooks: (&'a HookState, &'a Outputs),
}

impl Init<'_> {
    /// Runs as the container's init; returns only on failure, which it has reported.
    pub(crate) fn run(&self, channel: Channel, alone: &SingleThreaded) -> Result<()> {
        let payload = self.prepare(&channel, alone).map_err(|error| report(&channel, error))?;
        match &self.gate {
            // Closing the channel says that all went well; from here on failures go through the gate.
            Some(gate) => {
                drop(channel);
                if self.plan.process.unprivileged {
                    payload::show()?;
                }
                gate.wait()?;
                let error = self.execute(&payload);
                gate.fail(&error);
                Err(error)
            }
            None => Err(report(&channel, self.execute(&payload))),
        }
    }

    fn prepare(&self, channel: &Channel, alone: &SingleThreaded) -> Result<Payload> {
        let plan = self.plan;
        // Until it gives them up this process holds descriptors of the host's, which nobody may take out of its
        // /proc/PID/fd: neither an exec into this container, nor others that share its PID namespace (CVE-2016-9962).
        // While its ids are not mapped it can enter nothing, and a parent who is not root must see it to map them.
        let is_seen = plan.process.unprivileged && plan.namespaces.makes(Kind::User);
        if !is_seen {
            payload::begin(&plan.process, self.proc, alone)?;
        }
        if plan.namespaces.needs_stage() {
            namespaces::join(self.namespaces)?;
            stage::pass(alone, channel, plan.namespaces.birth_flags())?;
        }
        if self.gate.is_some() {
            // A created container can be ended by an ordinary signal, as runc's can.
            sys::signal::end_by(&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);
        }
        rustix::process::setsid().sys("setsid", "the container's process").during(Phase::Attributes)?;
        self.enter_namespaces(channel, alone)?;
        self.set_names()?;
        let ask = |tree: &rootfs::HostTree| launch::ask_for(channel, tree);
        let maps = rootfs::MapNamespaces { listed: self.maps, container: None };
        let outside: Option<rootfs::Outside<'_>> = if plan.namespaces.has(Kind::User) { Some(&ask) } else { None };
        let root = rootfs::prepare_with(&plan.rootfs, &rootfs::Sources { maps, outside }).during(Phase::Rootfs)?;
        if plan.needs_parent_midway() {
            launch::await_hooks(channel)?;
        }
        self.run_hooks(&plan.hooks.create_container, "createContainer", Some(&plan.rootfs.path))?;
        // runc makes it, and engines rely on that; what is in the way, the chdir will tell.
        if !plan.process.cwd.starts_with("/proc") {
            let _ = root.root().mkdir_all(&plan.process.cwd, 0o755);
        }
        rootfs::enter(root, &plan.rootfs).during(Phase::Rootfs)?;
        let terminal = plan.process.terminal.map(terminal::open).transpose()?;
        sysctl::apply(&plan.sysctl, self.proc)?;
        rootfs::finish(&plan.rootfs).during(Phase::Rootfs)?;
        if let Some(terminal) = &terminal {
            terminal.attach()?;
        }
        let env = payload::environment(&plan.process);
        lsm::label_next_exec(&plan.process.lsm, self.proc)?;
        let filter = launch::await_run(channel, terminal.as_ref().map(|terminal| &terminal.master))?;
        drop(terminal);
        payload::let_go_of_the_host(&plan.process, self.proc, &[vec![channel.as_fd()], self.kept_fds()].concat())?;
        payload::confine(&plan.process, &env, filter.as_ref(), channel)
    }

    /// What is still needed when all that was the host's is closed.
    fn kept_fds(&self) -> Vec<BorrowedFd<'_>> {
        let outputs = (!self.plan.hooks.start_container.is_empty()).then_some(self.hooks.1);
        let outputs = outputs.into_iter().flat_map(Outputs::fds);
        self.gate.iter().flat_map(Gate::fds).chain(outputs).collect()
    }

    fn enter_namespaces(&self, channel: &Channel, alone: &SingleThreaded) -> Result<()> {
        let plan = &self.plan.namespaces;
        if !plan.needs_stage() {
            namespaces::join(self.namespaces)?;
        }
        if plan.makes(Kind::User) {
            launch::await_proceed(channel)?;
        }
        if self.plan.process.unprivileged {
            self.plan.time.as_ref().map_or(Ok(()), |time| namespaces::enter_time(time, self.proc))?;
            if plan.makes(Kind::User) {
                payload::begin(&self.plan.process, self.proc, alone)?;
            }
        }
        if plan.has(Kind::User) {
            userns::become_root()?;
            launch::die_with_parent();
        }
        namespaces::unshare(plan)?;
        if plan.makes(Kind::Network) {
            namespaces::bring_up_loopback()?;
        }
        payload::join_keyring(&self.plan.process, self.proc)
    }

    fn set_names(&self) -> Result<()> {
        let plan = self.plan;
        if !plan.hostname.is_empty() {
            rustix::system::sethostname(plan.hostname.as_bytes())
                .sys("sethostname", &plan.hostname)
                .map_err(|error| name_error(error, self.plan.namespaces.makes(Kind::Uts)))?;
        }
        if !plan.domainname.is_empty() {
            rustix::system::setdomainname(plan.domainname.as_bytes())
                .sys("setdomainname", &plan.domainname)
                .map_err(|error| name_error(error, self.plan.namespaces.makes(Kind::Uts)))?;
        }
        Ok(())
    }

    fn run_hooks(&self, list: &[hooks::HookPlan], kind: &str, cwd: Option<&Path>) -> Result<()> {
        if list.is_empty() {
            return Ok(());
        }
        let pid = rustix::process::getpid().as_raw_pid();
        let (told, outputs) = self.hooks;
        hooks::run(list, &told.json("created", Some(pid)), Setting { kind, cwd, outputs, init: None })
    }

    /// The last steps after `start`.
    fn execute(&self, payload: &Payload) -> Error {
        if let Err(error) = self.run_start_hooks(payload) {
            return error;
        }
        self.gate.iter().for_each(Gate::executing);
        payload.execute()
    }

    /// Without an environment of their own they get the payload's, as in runc.
    fn run_start_hooks(&self, payload: &Payload) -> Result<()> {
        if self.plan.hooks.start_container.is_empty() {
            return Ok(());
        }
        let mut list = self.plan.hooks.start_container.clone();
        hooks::set_default_env(&mut list, &payload.env());
        self.run_hooks(&list, "startContainer", None)
    }
}

/// `own`: the namespace was made here, with every right to it; only a filter can be in the way then, as engines load one
/// for their own containers.
fn name_error(error: Error, own: bool) -> Error {
    match error.errno() {
        Some(Errno::PERM) if own => {
            error.cause("a seccomp filter around the runtime forbids it, such as an outer container's").remedy(
                "leave out hostname and domainname, or run the outer container with CAP_SYS_ADMIN or without a filter \
                 (podman: --security-opt seccomp=unconfined)",
            )
        }
        Some(Errno::PERM) => error
            .cause("the uts namespace that is joined belongs to another user namespace")
            .remedy("leave the names to whoever made it"),
        _ => error,
    }
}
