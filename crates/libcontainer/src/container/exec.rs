//! `exec`: another process in a container.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::process::Pid;

use super::report::Status;
use super::sockets::Sockets;
use super::state::State;
use super::{ExecOptions, Launched, Store, oom, passed, pid_file, require_state};
use crate::error::{During, Error, Kind, Phase, Result};
use crate::host::{HostProc, ProcessFacts};
use crate::plan::{self, Request};
use crate::process::birth::Birth;
use crate::process::launch::{compile, launch};
use crate::process::sealed_exe::Sealed;
use crate::process::sources::Fetcher;
use crate::process::{Joiner, wait};
use crate::{attributes, seccomp};

/// Executes another process in a container.
///
/// # Errors
/// [`Kind::WrongState`] if the container has stopped or is paused; the failure of any step in the container.
pub fn exec(store: &Store, id: &str, options: &ExecOptions, sealed: Sealed) -> Result<Launched> {
    let passed_fds = passed::count(options.preserve_fds)?;
    let entry = store.open(id)?;
    let state = require_state(&entry, id)?;
    let status = state.status()?;
    match status {
        Status::Created | Status::Running => {}
        Status::Paused if options.ignore_paused => {}
        Status::Paused => {
            return Err(refuse("cannot exec in a paused container").remedy("use --ignore-paused to override"));
        }
        other => return Err(oom::blame(refuse(&format!("cannot exec in a {other} container")), &state.cgroup)),
    }
    let container = state.open_init()?.ok_or_else(|| refuse("cannot exec in a stopped container"))?;
    exec_in(&container, &state, status, options, sealed, passed_fds).map_err(|error| {
        // `kill` and `delete` do not wait for an exec: what fails beside them is a consequence.
        match wait::wait_for_end(container.as_fd(), Duration::ZERO) {
            Ok(true) if error.errno().is_some() => {
                refuse("cannot exec in a container that has stopped meanwhile").cause(error.to_string())
            }
            _ => error,
        }
    })
}

fn exec_in(
    container: &OwnedFd,
    state: &State,
    status: Status,
    options: &ExecOptions,
    sealed: Sealed,
    passed_fds: i32,
) -> Result<Launched> {
    let request = Request {
        id: state.id.clone(),
        bundle: state.bundle.clone(),
        passed_fds,
        no_new_keyring: !state.keyring,
        ..Request::default()
    };
    let mut process = options.process.clone();
    passed::announce(&mut process);
    let spec = state.spec()?;
    let plan = plan::plan_exec(&process, &spec, &request, &ProcessFacts::gather()?)?;
    let listener = plan.seccomp.as_ref().and_then(|seccomp| seccomp.listener.as_ref());
    let hand_over = |listener, fd: OwnedFd, pid: Pid| {
        let init = state.init.map(|init| init.pid);
        let told = state.hook_state(&spec.oci_version, &spec.annotations).json(&status.to_string(), init);
        seccomp::hand_over(listener, fd.as_fd(), pid.as_raw_pid(), &told)
    };
    let paths = (options.console_socket.as_deref(), options.pidfd_socket.as_deref());
    let sockets = Sockets::connect(paths, plan.terminal.is_some(), options.attach_console)?;
    let proc = HostProc::open().during(Phase::Launch)?;
    let init = state.init.ok_or_else(|| refuse("cannot exec in a stopped container"))?;
    let cgroup = match options.cgroups.is_empty() {
        true => state.cgroup.for_joining(init.pid)?,
        false => state.cgroup.sub(&options.cgroups)?,
    };
    let membership = cgroup.membership().during(Phase::Cgroup)?;
    let joiner = Joiner { plan: &plan, namespaces: &state.namespaces, container, pid: init.pid, proc: &proc };
    let scheduling = &plan.attributes.scheduling;
    let birth = Birth { membership: &membership, namespaces: 0, staged: joiner.needs_stage(), scheduling, time: None };
    let launched = || {
        let mut launching = launch(sealed, birth, || {}, |channel, alone| joiner.run(channel, &alone))?;
        options.trace.cloned(launching.pid(), &scheduling.initial_cpus);
        let filter = compile(plan.seccomp.as_ref())?;
        let console = launching.until_ready(Fetcher { proc: &proc, maps: &[] }, |_| Ok(()))?;
        options.trace.is_set_up();
        attributes::limit(&plan.attributes, launching.pid(), &proc, plan.unprivileged)?;
        if let Some(group) = &state.intel_rdt {
            group.join(launching.pid().as_raw_pid()).during(Phase::Launch)?;
        }
        let console = sockets.hand_over_console(console, options.raw_console)?.filter(|_| options.attach_console);
        launching.pidfd().map_or(Ok(()), |pidfd| sockets.hand_over_pidfd(pidfd))?;
        let pid = launching.pid();
        let on_listener = |fd| listener.map_or(Ok(()), |listener| hand_over(listener, fd, pid));
        options.trace.lets_go(filter.as_ref());
        options.trace.executes(&plan.args);
        launching.finish(filter, false, on_listener).map(|(pid, pidfd)| (pid, pidfd, console))
    };
    let (pid, pidfd, console) = launched().map_err(|error| oom::blame(error, &state.cgroup))?;
    if let Some(path) = &options.pid_file {
        pid_file::write(path, pid.as_raw_pid()).inspect_err(|_| {
            let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        })?;
    }
    let start_time = wait::stat(pid.as_raw_pid()).map_or(0, |stat| stat.start_time);
    Ok(Launched { pid, pidfd, console, start_time, notify: None, warnings: plan.capabilities.warnings.clone() })
}

fn refuse(why: &str) -> Error {
    Error::new(Kind::WrongState, why).during(Phase::Exec)
}
