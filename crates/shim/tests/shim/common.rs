//! The shim as containerd starts it, with containerd's own client for it (the ttrpc crate); on the real kernel, as root.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{
    ConnectRequest, CreateTaskRequest, DeleteRequest, DeleteResponse, ExecProcessRequest, KillRequest, ShutdownRequest,
    StartRequest, StateRequest, StateResponse, WaitRequest,
};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::shim::oci::Options;
use containerd_shim_protos::ttrpc::context::{self, Context};
use containerd_shim_protos::ttrpc::{Code, Error};
use containerd_shim_protos::types::mount::Mount;
use containerd_shim_protos::{Client, TaskClient};

const SHIM: &str = env!("CARGO_BIN_EXE_containerd-shim-creel-v2");
const BUSYBOX: &str = "/bin/busybox";
const NAMESPACE: &str = "creel-test";
pub const ID: &str = "c";

/// Runs `body` with a shim on mounts of its own; says so where it cannot be had.
pub fn with_shim(test: &str, events: &Path, body: impl FnOnce(&Pod) + Send + 'static) {
    if !rustix::process::geteuid().is_root() || !Path::new(BUSYBOX).exists() {
        return println!("skipped: {test} needs root and busybox-static");
    }
    let (test, events) = (test.to_owned(), events.to_owned());
    let thread = std::thread::spawn(move || {
        let mut is_over = false;
        let back = libcontainer::namespaces::with_mounts_aside(|| {
            let pod = Pod::start(&test, &events);
            body(&pod);
            is_over = true;
            Ok(())
        });
        // For a thread whose client has threads of its own there is no way back, and it needs none.
        assert!(is_over, "{back:?}");
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// A shim that runs, and its container's bundle.
pub struct Pod {
    pub base: PathBuf,
    pub bundle: PathBuf,
    pub client: TaskClient,
    pub socket: PathBuf,
    pub shim: i32,
    pub options: Any,
}

/// Waits until something holds, for ten seconds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn soon() -> Context {
    context::with_timeout(10_000_000_000)
}

pub fn code_of<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    match result.expect_err("a failure") {
        Error::RpcStatus(status) => status.code.enum_value_or_default(),
        other => panic!("{other}"),
    }
}

impl Pod {
    fn start(test: &str, events: &Path) -> Pod {
        let base = std::env::temp_dir().join(format!("creel-test-shim-{test}-{}", std::process::id()));
        let bundle = base.join("bundle");
        std::fs::create_dir_all(bundle.join("rootfs/bin")).expect("mkdir");
        let given = Options { root: base.join("state").to_string_lossy().into_owned(), ..Options::default() };
        let value = given.write_to_bytes().expect("bytes");
        let options = Any { type_url: "containerd.runc.v1.Options".into(), value, ..Any::default() };
        let socket = base.join("socket");
        write_config(test, &bundle, &["/bin/busybox", "true"], false);
        // With the caller's mounts, and the events' socket as containerd names it.
        let mut command = program(&bundle, &["-socket", &socket.to_string_lossy(), "start"]);
        command.env("TTRPC_ADDRESS", events).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("spawn");
        let stdin = child.stdin.take().expect("stdin").write_all(&options.write_to_bytes().expect("bytes"));
        stdin.expect("options");
        let output = child.wait_with_output().expect("wait");
        assert!(output.status.success(), "{output:?}");
        let address = String::from_utf8(output.stdout).expect("text");
        let client = TaskClient::new(Client::connect(&address).expect("connect"));
        let connected = client.connect(soon(), &ConnectRequest::new()).expect("connect");
        let shim = i32::try_from(connected.shim_pid).expect("pid");
        Pod { base, bundle, client, socket, shim, options }
    }

    /// A copy of busybox where the container's root is, if that is no mount.
    pub fn fill_rootfs(&self) -> PathBuf {
        let rootfs = self.bundle.join("rootfs");
        std::fs::copy(BUSYBOX, rootfs.join("bin/busybox")).expect("copy");
        rootfs
    }

    pub fn create(&self, script: &str, rootfs: &[Mount], stdout: &str, stderr: &str) -> Result<u32, Error> {
        let (stdout, stderr) = (stdout.into(), stderr.into());
        self.create_as(script, CreateTaskRequest { rootfs: rootfs.to_vec(), stdout, stderr, ..Default::default() })
    }

    pub fn create_on_terminal(&self, script: &str, stdout: &str) -> Result<u32, Error> {
        self.create_as(script, CreateTaskRequest { stdout: stdout.into(), terminal: true, ..Default::default() })
    }

    fn create_as(&self, script: &str, request: CreateTaskRequest) -> Result<u32, Error> {
        let test = self.base.file_name().expect("name").to_string_lossy().into_owned();
        write_config(&test, &self.bundle, &["/bin/busybox", "sh", "-c", script], request.terminal);
        let request = CreateTaskRequest {
            id: ID.into(),
            bundle: self.bundle.to_string_lossy().into_owned(),
            options: MessageField::some(self.options.clone()),
            ..request
        };
        self.client.create(soon(), &request).map(|response| response.pid)
    }

    pub fn start_task(&self) -> Result<u32, Error> {
        let request = StartRequest { id: ID.into(), ..StartRequest::default() };
        self.client.start(soon(), &request).map(|response| response.pid)
    }

    pub fn state(&self) -> Result<StateResponse, Error> {
        self.client.state(soon(), &StateRequest { id: ID.into(), ..StateRequest::default() })
    }

    /// Executes a script in the container.
    pub fn exec(&self, exec: &str, script: &str, terminal: bool, stdout: &str) {
        let args = ["/bin/busybox", "sh", "-c", script];
        let spec =
            serde_json::json!({ "args": args, "cwd": "/", "user": { "uid": 0, "gid": 0 }, "terminal": terminal });
        let spec = Any { value: spec.to_string().into_bytes(), ..Any::default() };
        let (exec_id, stdout, spec) = (exec.to_owned(), stdout.to_owned(), MessageField::some(spec));
        let request =
            ExecProcessRequest { id: ID.into(), exec_id, terminal, stdout, spec, ..ExecProcessRequest::default() };
        self.client.exec(soon(), &request).expect("exec");
        let request = StartRequest { id: ID.into(), exec_id: exec.into(), ..StartRequest::default() };
        self.client.start(soon(), &request).expect("start");
    }

    /// The exit status, when it has ended.
    pub fn wait(&self) -> u32 {
        self.wait_for("")
    }

    /// That of an exec.
    pub fn wait_for(&self, exec: &str) -> u32 {
        let request = WaitRequest { id: ID.into(), exec_id: exec.into(), ..WaitRequest::default() };
        self.client.wait(soon(), &request).expect("wait").exit_status
    }

    pub fn kill(&self) -> Result<(), Error> {
        let request = KillRequest { id: ID.into(), signal: 9, ..KillRequest::default() };
        self.client.kill(soon(), &request).map(drop)
    }

    pub fn delete(&self) -> Result<DeleteResponse, Error> {
        self.delete_process("")
    }

    pub fn delete_process(&self, exec: &str) -> Result<DeleteResponse, Error> {
        let request = DeleteRequest { id: ID.into(), exec_id: exec.into(), ..DeleteRequest::default() };
        self.client.delete(context::with_timeout(30_000_000_000), &request)
    }

    pub fn shutdown(&self) {
        let _ = self.client.shutdown(soon(), &ShutdownRequest::new());
    }

    /// As a crash would end the shim.
    pub fn crash(&self) {
        let pid = rustix::process::Pid::from_raw(self.shim).expect("pid");
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd");
        rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).expect("kill");
        wait_for_end(&pidfd);
    }

    /// What containerd calls when a shim is gone.
    pub fn run_delete(&self) {
        let output = program(&self.bundle, &["-bundle", &self.bundle.to_string_lossy(), "delete"]).output();
        let output = output.expect("run");
        assert!(output.status.success(), "{output:?}");
    }

    /// How many descriptors it has open, and how much memory is its own, in KiB.
    pub fn size(&self) -> (usize, u64) {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.shim)).expect("fd").count();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.shim)).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        (descriptors, line.trim().trim_end_matches(" kB").parse().expect("a number"))
    }

    /// A connection past the client.
    pub fn socket(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        stream
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.kill();
        eventually("the end of the container", || self.delete().is_ok() || self.state().is_err());
        self.shutdown();
        let gone = || !Path::new(&format!("/proc/{}", self.shim)).exists();
        let deadline = Instant::now() + Duration::from_secs(8);
        while !gone() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !gone() {
            self.crash();
        }
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn program(bundle: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(SHIM);
    command
        .current_dir(bundle)
        .args(["-namespace", NAMESPACE, "-id", ID, "-address", "/run/creel-test.sock"])
        .args(args);
    command
}

fn wait_for_end(pidfd: impl AsFd) {
    let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut watched = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut watched, Some(&limit)), Ok(1), "the end of the shim");
}

fn write_config(test: &str, bundle: &Path, args: &[&str], terminal: bool) {
    let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| serde_json::json!({ "type": kind }));
    let config = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": { "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 }, "terminal": terminal },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"] },
        ],
        "linux": { "namespaces": namespaces, "cgroupsPath": format!("/{test}-{}", std::process::id()) },
    });
    std::fs::write(bundle.join("config.json"), config.to_string()).expect("write");
}
