//! `exec`: another process in a container.

use anyhow::{Result, anyhow, bail};
use libcontainer::container::{self, ExecOptions, Store};
use libcontainer::spec::Process;

use super::{Context, exec_process, subject};
use crate::cli::{self, given};
use crate::explain::Operation;
use crate::foreground::Foreground;
use crate::logging::plain;

/// Executes the process; gives its status, or 0 when detached.
pub fn run(context: Context<'_>, args: &cli::Exec) -> Result<u8> {
    let store = context.store()?;
    let subject = subject(&store, &args.id)?;
    let process = match given(&args.process) {
        Some(path) => {
            let text = std::fs::read(&path).map_err(|error| anyhow!("open {}: {}", path.display(), plain(&error)))?;
            serde_json::from_slice(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?
        }
        None => from_flags(&store, args).map_err(|failure| match failure {
            Failed::Library(error) => subject.explain(Operation::Exec, error),
            Failed::Flags(error) => error,
        })?,
    };
    exec_process::validate(&process)?;
    check_terminal(args, process.terminal)?;
    let options = ExecOptions {
        process,
        pid_file: given(&args.pid_file),
        console_socket: given(&args.console_socket),
        pidfd_socket: given(&args.pidfd_socket),
        preserve_fds: args.preserve_fds,
        ignore_paused: args.ignore_paused,
        cgroups: exec_process::cgroups(&args.cgroup)?,
        attach_console: !args.detach,
    };
    let foreground = (!args.detach).then(|| Foreground::prepare(false, context.log)).transpose()?;
    context.log.debug(|| format!("executing {:?} in {}", options.process.args, args.id));
    let launched =
        container::exec(&store, &args.id, &options).map_err(|error| subject.explain(Operation::Exec, error))?;
    match foreground {
        Some(foreground) => foreground.attend(launched, context.log),
        None => Ok(0),
    }
}

enum Failed {
    Library(libcontainer::Error),
    Flags(anyhow::Error),
}

fn from_flags(store: &Store, args: &cli::Exec) -> Result<Process, Failed> {
    let configured = container::configured_process(store, &args.id).map_err(Failed::Library)?;
    exec_process::from_flags(configured, args).map_err(Failed::Flags)
}

/// A terminal's master goes to the console socket when nobody stays to relay it.
fn check_terminal(args: &cli::Exec, terminal: bool) -> Result<()> {
    let has_socket = given(&args.console_socket).is_some();
    if args.detach && terminal && !has_socket {
        bail!("cannot allocate tty if creel will detach without setting console socket");
    }
    if has_socket && !(args.detach && terminal) {
        bail!("cannot use console socket if creel will not detach or allocate tty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_socket_is_for_detached_terminals_only() {
        let check = |detach, terminal, socket: Option<&str>| {
            let args = cli::Exec { detach, console_socket: socket.map(Into::into), ..cli::Exec::default() };
            check_terminal(&args, terminal).map_err(|error| error.to_string())
        };
        assert_eq!(check(true, true, Some("/s")), Ok(()));
        for (detach, terminal) in [(false, false), (false, true), (true, false)] {
            assert_eq!(check(detach, terminal, None), Ok(()));
            let error = check(detach, terminal, Some("/s")).expect_err("a socket of no use");
            assert!(error.starts_with("cannot use console socket"), "{error}");
        }
        assert!(check(true, true, None).expect_err("no socket").starts_with("cannot allocate tty"));
        assert!(check(true, true, Some("")).is_err());
    }
}
