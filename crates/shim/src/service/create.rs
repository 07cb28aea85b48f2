//! `Create`: mounts the root file system, and makes the container with its init.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use containerd_shim_protos::api::{CreateTaskRequest, CreateTaskResponse};
use containerd_shim_protos::events::task::{TaskCreate, TaskIO};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::types::mount::Mount;
use libcontainer::container::{self, CreateOptions, Store};
use libcontainer::process::sealed_exe::Sealed;
use serde::Deserialize;

use super::{Answer, Handled, Job};
use crate::events::encode;
use crate::io::{self, Owner, Role, Stdio};
use crate::mounts;
use crate::options::Options;
use crate::process::{Caller, Container, Name, Process};
use crate::shim::Shim;
use crate::ttrpc::{Code, Status};
use crate::worker::{Outcome, Report};

/// The file in the bundle that init's pid is written to, as containerd's own shim names it.
pub const PID_FILE: &str = "init.pid";
/// The directory in the bundle that the root file system is mounted on.
pub const ROOTFS: &str = "rootfs";

/// Everything that a worker needs to create a container.
struct Creation {
    id: String,
    bundle: PathBuf,
    rootfs: Vec<Mount>,
    stdio: Stdio,
    owner: Owner,
    options: Options,
    store: Store,
    sealed: Sealed,
}

impl Shim {
    pub(super) fn create(&mut self, caller: Caller, request: CreateTaskRequest) -> Handled {
        if self.containers.contains_key(&request.id) {
            return Err(Status::new(Code::ALREADY_EXISTS, format!("container {} exists", request.id)));
        }
        if !request.checkpoint.is_empty() {
            return Err(Status::new(Code::UNIMPLEMENTED, "restore: this version of creel has no checkpoints"));
        }
        let options = Options::from_any(request.options.as_ref())?;
        let stdio =
            Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal };
        let (bundle, store) = (PathBuf::from(&request.bundle), options.store(&self.namespace));
        let creation = Creation {
            id: request.id.clone(),
            bundle: bundle.clone(),
            rootfs: request.rootfs.clone(),
            stdio: stdio.clone(),
            owner: self.owner_of(&request.id, &options),
            options: options.clone(),
            store: store.clone(),
            sealed: self.sealed,
        };
        let container = Container {
            bundle,
            store,
            options,
            init: Process::new(stdio, Vec::new()),
            execs: BTreeMap::new(),
            is_creating: true,
            is_paused: false,
            shares_pids: false,
            init_exit: None,
        };
        self.containers.insert(request.id.clone(), container);
        self.employ(Job::Create { caller, id: request.id, rootfs: request.rootfs }, || creation.carry_out());
        Ok(Answer::Later)
    }

    /// Who a process's streams belong to.
    pub(super) fn owner_of(&self, id: &str, options: &Options) -> Owner {
        Owner { namespace: self.namespace.clone(), id: id.to_owned(), uid: options.io_uid, gid: options.io_gid }
    }

    pub(super) fn created(&mut self, caller: Caller, id: &str, rootfs: Vec<Mount>, outcome: Outcome) {
        let report = match outcome {
            Ok(report) => report,
            Err(status) => {
                self.containers.remove(id);
                return self.answer(caller, Err(status.within("OCI runtime create failed")));
            }
        };
        let pid = report.pid;
        // Nobody can have removed it: until now it was not there for others.
        let Some(container) = self.containers.get_mut(id) else { return };
        container.is_creating = false;
        container.shares_pids = report.shares_pids;
        container.init.pid = pid;
        let (bundle, stdio) = (container.bundle.to_string_lossy().into_owned(), container.init.stdio.clone());
        let name = Name::init(id);
        self.hold(&name, report);
        self.watch_memory(id);
        let io = TaskIO {
            stdin: stdio.stdin,
            stdout: stdio.stdout,
            stderr: stdio.stderr,
            terminal: stdio.terminal,
            ..TaskIO::default()
        };
        self.publish(&TaskCreate {
            container_id: id.to_owned(),
            bundle,
            rootfs,
            io: MessageField::some(io),
            pid: pid.unsigned_abs(),
            ..TaskCreate::default()
        });
        let response = CreateTaskResponse { pid: pid.unsigned_abs(), ..CreateTaskResponse::default() };
        self.answer(caller, Ok(encode(&response)));
        self.meet(&name, pid);
    }
}

impl Creation {
    /// In a worker.
    fn carry_out(self) -> Outcome {
        let target = self.bundle.join(ROOTFS);
        if !self.rootfs.is_empty() {
            match std::fs::create_dir(&target) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Status::new(Code::UNKNOWN, format!("mkdir {}: {error}", target.display())));
                }
                _ => mounts::mount_all(&self.rootfs, &target)?,
            }
        }
        self.make().inspect_err(|_| {
            if !self.rootfs.is_empty() {
                let _ = mounts::unmount_all(&target);
            }
        })
    }

    fn make(&self) -> Outcome {
        self.options.save(&self.bundle)?;
        let opened = io::open(&self.stdio, &self.owner)?;
        take_as_own(&opened.child)?;
        let options = CreateOptions {
            id: self.id.clone(),
            bundle: self.bundle.clone(),
            pid_file: Some(self.bundle.join(PID_FILE)),
            no_pivot: self.options.no_pivot_root,
            no_new_keyring: self.options.no_new_keyring,
            systemd_cgroup: self.options.systemd_cgroup,
            attach_console: self.stdio.terminal,
            raw_console: true,
            ..CreateOptions::default()
        };
        let made = container::create(&self.store, &options, self.sealed);
        let launched = made.inspect_err(|_| {
            opened.logger.iter().for_each(io::logger::Logger::kill);
        })?;
        let mut kept = opened.kept;
        kept.extend(launched.console.map(|console| (Role::Console, console)));
        Ok(Report {
            pid: launched.pid.as_raw_pid(),
            logger: opened.logger.map(|logger| logger.pid.as_raw_pid()),
            shares_pids: shares_pids(&self.bundle),
            warnings: launched.warnings,
            kept,
        })
    }
}

/// Makes streams those of the calling process, which what it launches inherits.
pub(super) fn take_as_own(streams: &[std::os::fd::OwnedFd; 3]) -> Result<(), Status> {
    let [stdin, stdout, stderr] = streams;
    let taken = rustix::stdio::dup2_stdin(stdin)
        .and_then(|()| rustix::stdio::dup2_stdout(stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr));
    taken.map_err(|errno| Status::new(Code::UNKNOWN, format!("dup2: {errno}")))
}

/// The little of config.json that matters here.
#[derive(Default, Deserialize)]
struct Config {
    linux: Option<Linux>,
}

#[derive(Default, Deserialize)]
struct Linux {
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

fn shares_pids(bundle: &Path) -> bool {
    let text = std::fs::read(bundle.join("config.json")).unwrap_or_default();
    let config: Config = serde_json::from_slice(&text).unwrap_or_default();
    let namespaces = config.linux.and_then(|linux| linux.namespaces).unwrap_or_default();
    !namespaces.iter().any(|namespace| namespace.kind == "pid" && namespace.path.is_empty())
}

impl Shim {
    /// Keeps what a process leaves open here, and relays what has to be relayed.
    pub(super) fn hold(&mut self, name: &Name, report: Report) {
        let has_lost_logger = report.logger.is_some_and(|pid| self.take_stranger(pid).is_some());
        let logger = report.logger.filter(|_| !has_lost_logger).and_then(rustix::process::Pid::from_raw);
        let mut held = crate::process::Held { logger, ..Default::default() };
        let mut pumps = Vec::new();
        let (mut typed, mut screen, mut piped) = (None, None, None);
        for (role, fd) in report.kept {
            match role {
                Role::Output => held.outputs.push(fd),
                Role::Input => held.input = Some(fd),
                Role::Console => held.console = Some(fd),
                Role::Typed => typed = Some(fd),
                Role::Screen => screen = Some(fd),
                Role::Piped => piped = Some(fd),
                Role::File => pumps.extend(piped.take().map(|pipe| io::pump::Pump::new(pipe, fd))),
            }
        }
        if let Some(console) = &held.console {
            let _ = rustix::fs::fcntl_setfl(console, rustix::fs::OFlags::NONBLOCK);
            let master = || rustix::io::fcntl_dupfd_cloexec(console, 0).ok();
            pumps.extend(screen.zip(master()).map(|(screen, master)| io::pump::Pump::new(master, screen)));
            pumps.extend(typed.zip(master()).map(|(typed, master)| io::pump::Pump::new(typed, master)));
        }
        held.pumps = pumps.into_iter().map(|pump| self.add_pump(pump)).collect();
        if let Some(process) = self.containers.get_mut(&name.container).and_then(|one| one.process_mut(&name.exec).ok())
        {
            process.held = held;
        }
        if has_lost_logger {
            self.lose_logger(name);
        }
    }
}
