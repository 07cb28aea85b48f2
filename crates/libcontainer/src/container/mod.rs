//! A container's life: one file per operation, on a state store that survives a kill of the runtime at any instant.

#![allow(
    clippy::disallowed_methods,
    reason = "the state directory and the pid file are the host's; no container writes there"
)]

mod create;
mod delete;
mod events;
mod exec;
mod kill;
mod matching;
mod mounts;
mod notify;
mod oom;
mod passed;
mod pause;
mod pid_file;
mod query;
mod remains;
mod report;
mod sockets;
mod start;
mod state;
mod store;
mod teardown;
mod time;
mod trace;
mod update;

pub use create::{create, run};
pub use delete::{delete, delete_own};
pub use events::{Event, Events, events, rdt_stats, stats, watch_oom};
pub use exec::exec;
pub use kill::kill;
pub use matching::ids_matching;
pub use mounts::{add_mounts, remove_mounts};
pub use notify::NotifyRelay;
pub use oom::out_of_memory;
pub use pause::{pause, resume};
pub use query::{configured_process, list, pids, state};
pub use report::{Listed, StateReport, Status};
pub use start::start;
#[cfg(any(test, fuzzing))]
pub use state::fuzz as fuzz_state;
pub use store::Store;
pub use time::rfc3339;
pub use trace::Trace;
pub use update::update;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::Pid;

use crate::error::Result;
use crate::spec::{ConsoleSize, Process};

/// The environment of the runtime, which hooks without one of their own get, as in runc.
fn own_environment() -> Vec<String> {
    let text = |string: std::ffi::OsString| string.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| format!("{}={}", text(name), text(value))).collect()
}

/// The state of a container that must have one.
fn require_state(entry: &store::Entry, id: &str) -> Result<state::State> {
    entry.load()?.ok_or_else(|| store::missing(id))
}

/// What `create` and `run` need to know besides the bundle.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// The container's id: letters, digits, `_ + - .`, not starting with a dot-only name.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Its configuration, if that is not config.json in the bundle.
    pub config: Option<PathBuf>,
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
    /// Whether the container may do without cgroups that this process may not make; by default unless it is the host's root.
    pub rootless: Option<bool>,
    /// The caller relays the terminal itself: give it the master in [`Launched::console`].
    pub attach_console: bool,
    /// With that: the caller passes the bytes on as they are, to whoever shows them (it leaves ONLCR set).
    pub raw_console: bool,
    /// Tells the size of the caller's own terminal, which goes before `process.consoleSize`, or that it has none to connect
    /// the container's to; asked if that has one.
    pub console_size: Option<fn() -> Result<Option<ConsoleSize>>>,
    /// Gets the steps, for the developer.
    pub trace: Trace,
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
    /// With that: the caller passes the bytes on as they are, to whoever shows them (it leaves ONLCR set).
    pub raw_console: bool,
    /// Gets the steps, for the developer.
    pub trace: Trace,
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
    /// When it started, in clock ticks after boot: with the pid, its identity.
    pub start_time: u64,
    /// Where its readiness is awaited, if a service manager wants to know (`run` only).
    pub notify: Option<NotifyRelay>,
    /// What was wrong without being an error, for the log.
    pub warnings: Vec<String>,
}
