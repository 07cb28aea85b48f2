//! A container's life: one file per operation, on a state store that survives a kill of the runtime at any instant.

mod report;
mod store;

pub use report::{Listed, StateReport, Status};
pub use store::Store;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::spec::Process;

/// What `create` and `run` need to know besides the bundle.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// The container's id: letters, digits, `_ + - .`, not starting with a dot-only name.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// A file to write init's pid to.
    pub pid_file: Option<PathBuf>,
    /// A listening AF_UNIX socket that gets the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// A listening AF_UNIX socket that gets init's pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on (after those of `LISTEN_FDS`) the container inherits.
    pub preserve_fds: u32,
    /// Use MS_MOVE and chroot instead of pivot_root (for a rootfs on a ramdisk).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// `cgroupsPath` is `slice:prefix:name` for systemd.
    pub systemd_cgroup: bool,
    /// The caller relays the terminal itself: give it the master in [`Launched::console`].
    pub attach_console: bool,
}

/// What `exec` needs.
#[derive(Debug)]
pub struct ExecOptions {
    /// The process, complete.
    pub process: Process,
    /// A file to write its pid to.
    pub pid_file: Option<PathBuf>,
    /// A listening AF_UNIX socket that gets the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// A listening AF_UNIX socket that gets its pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on (after those of `LISTEN_FDS`) it inherits.
    pub preserve_fds: u32,
    /// Allow it in a paused container.
    pub ignore_paused: bool,
    /// Sub-cgroups to run it in: (`controller` or `""` for v2, path below the container's own).
    pub cgroups: Vec<(String, String)>,
    /// The caller relays the terminal itself: give it the master in [`Launched::console`].
    pub attach_console: bool,
}

/// A process that was launched: a child of the caller, whose exit the caller collects.
#[derive(Debug)]
pub struct Launched {
    /// Its pid in the caller's PID namespace.
    pub pid: Pid,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// The terminal's master, if the caller asked for it.
    pub console: Option<OwnedFd>,
}

/// Makes a container and leaves its init waiting for [`start`] (runtime.md "Create").
pub fn create(_store: &Store, _options: &CreateOptions) -> Result<Launched> {
    Err(Error::unsupported("create"))
}

/// Lets the init of a created container execute its process (runtime.md "Start").
pub fn start(_store: &Store, _id: &str) -> Result<()> {
    Err(Error::unsupported("start"))
}

/// [`create`] and [`start`] in one; the caller waits for the process and deletes the container.
pub fn run(_store: &Store, _options: &CreateOptions) -> Result<Launched> {
    Err(Error::unsupported("run"))
}

/// Executes another process in a container.
pub fn exec(_store: &Store, _id: &str, _options: &ExecOptions) -> Result<Launched> {
    Err(Error::unsupported("exec"))
}

/// The process in the container's own config.json, which `exec` starts from when it is given a command only.
pub fn configured_process(_store: &Store, _id: &str) -> Result<Process> {
    Err(Error::unsupported("configured_process"))
}

/// What runtime.md "State" demands, for one container.
pub fn state(_store: &Store, _id: &str) -> Result<StateReport> {
    Err(Error::unsupported("state"))
}

/// All containers of the store, by id.
pub fn list(_store: &Store) -> Result<Vec<Listed>> {
    Err(Error::unsupported("list"))
}

/// Sends a signal to a container's init, or, with `all`, to every process in its cgroup.
pub fn kill(_store: &Store, _id: &str, _signal: i32, _all: bool) -> Result<()> {
    Err(Error::unsupported("kill"))
}

/// Deletes a stopped container; with `force`, whatever its state, and a missing one is no error.
pub fn delete(_store: &Store, _id: &str, _force: bool) -> Result<()> {
    Err(Error::unsupported("delete"))
}

/// Freezes every process of a container.
pub fn pause(_store: &Store, _id: &str) -> Result<()> {
    Err(Error::unsupported("pause"))
}

/// Thaws a paused container.
pub fn resume(_store: &Store, _id: &str) -> Result<()> {
    Err(Error::unsupported("resume"))
}

/// The pids of all processes of a container, as the host numbers them, sorted.
pub fn pids(_store: &Store, _id: &str) -> Result<Vec<i32>> {
    Err(Error::unsupported("pids"))
}
