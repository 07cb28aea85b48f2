//! `exec`: another process in a container.

use anyhow::{Result, anyhow};
use libcontainer::container::{self, ExecOptions};
use libcontainer::process::sealed_exe::Sealed;
use libcontainer::spec;

use super::{Context, check_id, exec_process};
use crate::cli::{self, given};
use crate::foreground::{self, Foreground};
use crate::logging::plain;

/// Executes the process; gives its status, or 0 when detached.
pub fn run(context: Context<'_>, args: &cli::Exec, sealed: Sealed) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    let mut process = match given(&args.process) {
        Some(path) => {
            let text = std::fs::read(&path).map_err(|error| anyhow!("open {}: {}", path.display(), plain(&error)))?;
            spec::parse_json(&text).map_err(|error| error.within(path.display()))?
        }
        None => exec_process::from_flags(container::configured_process(&store, &args.id)?, args)?,
    };
    let console_socket = given(&args.console_socket);
    if process.terminal && !args.detach && console_socket.is_none() {
        process.console_size = foreground::size()?.or(process.console_size);
    }
    let options = ExecOptions {
        process,
        pid_file: given(&args.pid_file),
        console_socket,
        pidfd_socket: given(&args.pidfd_socket),
        preserve_fds: args.preserve_fds,
        ignore_paused: args.ignore_paused,
        cgroups: exec_process::cgroups(&args.cgroup)?,
        attach_console: !args.detach,
        raw_console: false,
        trace: context.log.trace(),
    };
    let foreground = (!args.detach).then(|| Foreground::prepare(false, context.log)).transpose()?;
    context.log.debug(|| format!("executing {:?} in {}", options.process.args, args.id));
    let launched = container::exec(&store, &args.id, &options, sealed)?;
    match foreground {
        Some(foreground) => foreground.attend(launched, context.log),
        None => {
            context.log.warnings(&launched.warnings);
            Ok(0)
        }
    }
}
