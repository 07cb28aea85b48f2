//! `create` and `run`: from a bundle to an init that waits for `start`, or that executes at once.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde_json::value::RawValue;

use super::sockets::Sockets;
use super::state::{self, State};
use super::store::{Entry, check_id};
use super::teardown::{self, Whose};
use super::{CreateOptions, Launched, NotifyRelay, Store, notify, oom};
use crate::cgroups::{Cgroup, Membership};
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::hooks::{self, HookState, Outputs, Setting};
use crate::host::{HostFacts, HostProc, Resctrl};
use crate::namespaces::{self, Kind, OpenNamespace};
use crate::plan::{self, Plan, Request};
use crate::process::Init;
use crate::process::birth::Birth;
use crate::process::gate::Gate;
use crate::process::launch::{Launching, compile, launch};
use crate::process::sealed_exe::Sealed;
use crate::process::sources::{self, Fetcher};
use crate::spec::{CONFIG, Spec};
use crate::{attributes, intel_rdt, netdev, seccomp, userns};

/// Makes a container and leaves its init waiting for [`super::start`] (runtime.md "Create").
///
/// # Errors
/// Nothing is left behind: no process, mount, cgroup or state.
pub fn create(store: &Store, options: &CreateOptions, sealed: Sealed) -> Result<Launched> {
    make(store, options, sealed, false)
}

/// [`create`] and [`super::start`] in one; the caller waits for the process and deletes the container.
///
/// # Errors
/// As [`create`].
pub fn run(store: &Store, options: &CreateOptions, sealed: Sealed) -> Result<Launched> {
    make(store, options, sealed, true)
}

fn make(store: &Store, options: &CreateOptions, sealed: Sealed, start: bool) -> Result<Launched> {
    check_id(&options.id).during(Phase::State)?;
    let passed_fds = super::passed::count(options.preserve_fds)?;
    let bundle = std::path::absolute(&options.bundle).sys("getcwd", options.bundle.display())?;
    let (mut spec, config) = Spec::load(&bundle, options.config.as_deref())?;
    spec.process.iter_mut().for_each(super::passed::announce);
    notify::add_to(&mut spec, store, &options.id);
    let proc = HostProc::open().during(Phase::Launch)?;
    let namespaces = open_namespaces(&spec)?;
    let user = namespaces.iter().find_map(|namespace| namespace.of_kind(Kind::User));
    let request = Request {
        id: options.id.clone(),
        bundle: bundle.clone(),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        passed_fds,
        joined_maps: user.map(|user| userns::maps_of(user, &proc)).transpose()?,
    };
    let mut plan = plan::plan(&spec, &request, &facts(&spec, options)?)?;
    if plan.hooks.run_during_create() {
        plan.hooks.set_runtime_env(&super::own_environment());
    }
    // crun's annotation, from before there was a flag.
    let receiver = spec.annotations.get("run.oci.pidfd_receiver").map(Path::new);
    let paths = (options.console_socket.as_deref(), options.pidfd_socket.as_deref().or(receiver));
    let sockets = Sockets::connect(paths, plan.process.terminal.is_some(), options.attach_console)?;
    if let (Some(terminal), Some(tell)) = (&mut plan.process.terminal, options.console_size) {
        terminal.size = tell()?.or(terminal.size);
    }
    let maps = sources::make_maps(&plan.rootfs)?;
    let fetcher = Fetcher { proc: &proc, maps: &maps };

    let mut making = Making::begin(store, options, &spec, config, &plan, bundle)?;
    making.starts = start;
    let (cgroup, membership) = Cgroup::create(&plan.cgroup).during(Phase::Cgroup)?;
    making.state.cgroup = cgroup;
    making.cgroup = Whose::Ours;
    let gate = if start { None } else { Some(Gate::make(making.entry.as_fd()).during(Phase::State)?) };
    let hooks = (&making.hook_state, &making.hook_outputs);
    let init = Init { plan: &plan, namespaces: &namespaces, proc: &proc, maps: &maps, gate, hooks };
    let leave_lock = || making.entry.leave_lock();
    let launching =
        launch(sealed, birth(&plan, &membership, &proc), leave_lock, |channel, alone| init.run(channel, &alone));
    drop(init);
    launching
        .and_then(|launching| making.complete(launching, membership, &plan, &sockets, fetcher, options))
        .map_err(|error| oom::blame(error, &making.state.cgroup))
}

/// Those that are joined; before the plan, which needs to know what is in one of them.
fn open_namespaces(spec: &Spec) -> Result<Vec<OpenNamespace>> {
    let listed = spec.linux.as_ref().map_or(&[][..], |linux| &linux.namespaces);
    namespaces::open(&namespaces::plan(listed).during(Phase::Plan)?)
}

/// resctrl is only looked at for who wants something of it (config-linux.md "IntelRdt").
fn facts(spec: &Spec, options: &CreateOptions) -> Result<HostFacts> {
    let mut facts = HostFacts::gather(options.systemd_cgroup, options.rootless)?;
    if let Some(rdt) = spec.linux.as_ref().and_then(|linux| linux.intel_rdt.as_ref()) {
        let group = intel_rdt::group_name(rdt, &options.id).during(Phase::Plan)?;
        facts.resctrl = Resctrl::find()?.map(|resctrl| resctrl.facts(group));
    }
    Ok(facts)
}

fn birth<'a>(plan: &'a Plan, membership: &'a Membership, proc: &'a HostProc) -> Birth<'a> {
    let staged = plan.namespaces.needs_stage();
    let namespaces = if staged { 0 } else { plan.namespaces.birth_flags() };
    let time = plan.time.as_ref().filter(|_| !plan.process.unprivileged).map(|time| (time, proc));
    Birth { membership, namespaces, staged, scheduling: &plan.process.attributes.scheduling, time }
}

/// A container that is being made. Dropped before it is complete, all that was made is undone.
struct Making {
    entry: Entry,
    state: State,
    hook_state: HookState,
    hook_outputs: Outputs,
    pid_file: Option<PathBuf>,
    /// Not ours until it was made: what is in a cgroup that was refused must not be touched.
    cgroup: Whose,
    /// Devices of the host's that init's network namespace has.
    net_devices: Option<netdev::Moved>,
    /// Whether init goes on without waiting for `start`.
    starts: bool,
    done: bool,
}

impl Making {
    /// Takes the id and saves what a later command needs to clean up, before anything else is made.
    fn begin(
        store: &Store,
        options: &CreateOptions,
        spec: &Spec,
        config: Vec<u8>,
        plan: &Plan,
        bundle: PathBuf,
    ) -> Result<Making> {
        let config = String::from_utf8(config)
            .ok()
            .and_then(|text| RawValue::from_string(text).ok())
            .ok_or_else(|| Error::invalid(CONFIG, "it is not UTF-8").during(Phase::LoadSpec))?;
        let state = State {
            id: options.id.clone(),
            bundle,
            created: state::now(),
            owner: rustix::process::geteuid().as_raw(),
            init: None,
            creating: true,
            cgroup: plan.cgroup.location(),
            intel_rdt: plan.intel_rdt.as_ref().map(|rdt| rdt.group.clone()),
            keyring: plan.process.keyring.is_some(),
            namespaces: plan.namespaces.clone(),
            resources: None,
            config,
        };
        let hook_state = state.hook_state(&spec.oci_version, &spec.annotations);
        let hook_outputs = if spec.hooks.is_some() { Outputs::open(&hook_state)? } else { Outputs::default() };
        let entry = store.create(&options.id)?;
        let making = Making {
            entry,
            state,
            hook_state,
            hook_outputs,
            pid_file: None,
            cgroup: Whose::Others,
            net_devices: None,
            starts: false,
            done: false,
        };
        notify::make_directory(&making.entry)?;
        making.entry.save(&making.state)?;
        Ok(making)
    }

    /// Leads init through the protocol; when this returns the container is complete.
    fn complete(
        &mut self,
        mut launching: Launching,
        membership: Membership,
        plan: &Plan,
        sockets: &Sockets,
        fetcher: Fetcher<'_>,
        options: &CreateOptions,
    ) -> Result<Launched> {
        let (pid, proc) = (launching.pid(), fetcher.proc);
        options.trace.cloned(pid, &plan.process.attributes.scheduling.initial_cpus);
        if let (Some(group), Some(rdt)) = (&mut self.state.intel_rdt, &plan.intel_rdt) {
            // Before it has children, which would stay where they are.
            let entered = group.enter(rdt, pid.as_raw_pid()).during(Phase::Launch);
            entered.map_err(|error| launching.prefer_childs(error))?;
        }
        if let Some(userns) = plan.userns.as_ref().filter(|_| plan.namespaces.makes(Kind::User)) {
            userns::write_maps(userns, pid.as_raw_pid(), proc).map_err(|error| launching.prefer_childs(error))?;
            launching.proceed()?;
        }
        if plan.hooks.run_during_create() {
            // Hooks take their time, and may hang: until they are done `kill` and `delete --force` must find init.
            self.save_init(pid, true)?;
        }
        // The child makes its mounts meanwhile.
        let filter = compile(plan.process.seccomp.as_ref())?;
        let console = launching.until_ready(fetcher, |init| {
            self.net_devices = netdev::move_all(&plan.net_devices, pid.as_raw_pid(), proc)?;
            self.run_hooks(plan, pid.as_raw_pid(), init)
        })?;
        options.trace.is_set_up();
        membership.settle(pid)?;
        attributes::limit(&plan.process.attributes, pid, proc, plan.process.unprivileged)?;
        let console = sockets.hand_over_console(console, options.raw_console)?.filter(|_| options.attach_console);
        self.save_init(pid, false)?;
        if let Some(path) = &options.pid_file {
            super::pid_file::write(path, pid.as_raw_pid())?;
            self.pid_file = Some(path.clone());
        }
        let notify = if self.starts { NotifyRelay::bind(&self.entry, pid)? } else { None };
        launching.pidfd().map_or(Ok(()), |pidfd| sockets.hand_over_pidfd(pidfd))?;
        let listener = plan.process.seccomp.as_ref().and_then(|seccomp| seccomp.listener.as_ref());
        options.trace.lets_go(filter.as_ref());
        let (pid, pidfd) = launching.finish(filter, !self.starts, |fd| {
            let pid = pid.as_raw_pid();
            let state = self.hook_state.json("creating", Some(pid));
            listener.map_or(Ok(()), |listener| seccomp::hand_over(listener, fd.as_fd(), pid, &state))
        })?;
        options.trace.is_complete(self.starts);
        let start_time = self.state.init.map_or(0, |init| init.start_time);
        let launched = Launched { pid, pidfd, console, start_time, notify, warnings: plan.warnings.clone() };
        if self.starts {
            super::start::run_poststart(&self.state)?;
        }
        self.done = true;
        Ok(launched)
    }

    fn save_init(&mut self, pid: Pid, creating: bool) -> Result<()> {
        self.state.init = Some(state::identify(pid)?);
        self.state.creating = creating;
        self.entry.save(&self.state)
    }

    /// The hooks of the runtime's own namespaces, once the mounts are made (config.md "Prestart", "CreateRuntime").
    fn run_hooks(&self, plan: &Plan, pid: i32, init: &OwnedFd) -> Result<()> {
        // "created", as in runc up to 1.1 and crun: hooks that look for it in the field are older than "creating".
        let state = self.hook_state.json("created", Some(pid));
        let cwd = Some(self.state.bundle.as_path());
        let setting = |kind| Setting { kind, cwd, outputs: &self.hook_outputs, init: Some(init) };
        hooks::run(&plan.hooks.prestart, &state, setting("prestart"))?;
        hooks::run(&plan.hooks.create_runtime, &state, setting("createRuntime"))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.done {
            if let Some(path) = &self.pid_file {
                let _ = std::fs::remove_file(path);
            }
            // What cannot be undone here stays on record: `delete --force` finds the state and goes on.
            let _ = teardown::destroy(&self.entry, &self.state, self.cgroup);
            if let Some(devices) = self.net_devices.take() {
                devices.bring_back();
            }
        }
    }
}
