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

use super::creating::Creating;
use super::launch::launch;
use super::{Answer, Handled, Job};
use crate::events::encode;
use crate::io::{self, Owner, Stdio};
use crate::mounts;
use crate::options::Options;
use crate::process::{Caller, Container, Name, Process};
use crate::shim::Shim;
use crate::ttrpc::{Code, Status};
use crate::worker::{LOST, Outcome, Report};

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
            is_paused: false,
            shares_pids: false,
            init_exit: None,
        };
        self.creating.insert(request.id.clone(), Creating { container, waiting: Vec::new() });
        self.employ(Job::Create { caller, id: request.id, rootfs: request.rootfs }, || creation.carry_out());
        Ok(Answer::Later)
    }

    /// Who a process's streams belong to.
    pub(super) fn owner_of(&self, id: &str, options: &Options) -> Owner {
        Owner { namespace: self.namespace.clone(), id: id.to_owned(), uid: options.io_uid, gid: options.io_gid }
    }

    pub(super) fn created(&mut self, caller: Caller, id: &str, rootfs: Vec<Mount>, outcome: Outcome) {
        let outcome = match outcome {
            Err(status) if status.code == LOST => return self.clear_up(caller, id, status),
            other => other,
        };
        let Some(Creating { container, waiting }) = self.creating.remove(id) else { return };
        match outcome {
            Ok(report) => {
                self.containers.insert(id.to_owned(), container);
                self.begin(caller, id, rootfs, report);
            }
            Err(status) => self.answer(caller, Err(status.within("OCI runtime create failed"))),
        }
        waiting.into_iter().for_each(|(caller, request)| self.handle(caller, request));
    }

    /// A container is there.
    fn begin(&mut self, caller: Caller, id: &str, rootfs: Vec<Mount>, report: Report) {
        let pid = report.pid;
        let Some(container) = self.containers.get_mut(id) else { return };
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
        let options = CreateOptions {
            id: self.id.clone(),
            bundle: self.bundle.clone(),
            pid_file: Some(self.bundle.join(PID_FILE)),
            no_pivot: self.options.no_pivot_root,
            no_new_keyring: self.options.no_new_keyring,
            rootless: None,
            systemd_cgroup: self.options.systemd_cgroup,
            attach_console: self.stdio.terminal,
            raw_console: true,
            ..CreateOptions::default()
        };
        let report = launch(opened, || container::create(&self.store, &options, self.sealed))?;
        Ok(Report { shares_pids: shares_pids(&self.bundle), ..report })
    }
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
