//! containerd-shim-creel-v2: containerd's runtime `io.containerd.creel.v2`.
//!
//! containerd starts it for each container; for each group (a pod) one process stays and serves the task API. It calls
//! libcontainer in-process and executes no second program.

mod args;
mod backlog;
mod bootstrap;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod io;
mod log;
mod metrics;
mod mounts;
mod options;
mod poll;
mod process;
mod reaper;
mod relays;
mod service;
mod shim;
mod ttrpc;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use libcontainer::process::sealed_exe;

use crate::args::Args;

/// As containerd names it in its configuration.
const RUNTIME: &str = "io.containerd.creel.v2";

/// The program.
pub fn main() -> ExitCode {
    match act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // containerd puts it into its own error.
            write_all(rustix::stdio::stderr(), format!("{RUNTIME}: {message}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn act() -> Result<(), String> {
    let text = |error: libcontainer::Error| error.to_string();
    // First of all, since the program begins again (CVE-2019-5736).
    let sealed = sealed_exe::ensure().map_err(text)?;
    let mut given = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let program = given.next().unwrap_or_default();
    let args = Args::parse(given)?;
    if args.version {
        let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
        let version = env!("CARGO_PKG_VERSION");
        let lines = format!("{name}:\n  Version:  {version}\n  Runtime:  {RUNTIME}\n  Task API: v2, v3\n\n");
        return print(lines.as_bytes());
    }
    if args.info {
        return print(&bootstrap::info::info(&bootstrap::read_stdin()?)?);
    }
    if args.namespace.is_empty() {
        return Err("shim namespace cannot be empty".into());
    }
    match args.action.as_str() {
        "start" => bootstrap::start(&args, sealed),
        "delete" => print(&bootstrap::delete::delete(&args)?),
        other => Err(format!("action \"{other}\": it is started by containerd, with \"start\" or \"delete\"")),
    }
}

fn print(bytes: &[u8]) -> Result<(), String> {
    match write_all(rustix::stdio::stdout(), bytes) {
        true => Ok(()),
        false => Err("stdout cannot be written to".into()),
    }
}

fn write_all(fd: std::os::fd::BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
