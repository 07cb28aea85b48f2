//! `run`: create, start and, unless detached, wait and delete.

use anyhow::Result;
use libcontainer::container;
use libcontainer::process::sealed_exe::Sealed;

use super::{Context, check_id, create, relay_ready};
use crate::cli;
use crate::foreground::{self, Foreground};

/// What a shell says of a process that SIGKILL ended, or a shell in the container of its own child.
const KILLED: u8 = 137;

/// Runs the container; gives the status of its process, or 0 when detached.
pub fn run(context: Context<'_>, args: &cli::Run, sealed: Sealed) -> Result<u8> {
    let store = context.store()?;
    let mut options = create::options(context, &args.create)?;
    check_id(&options.id)?;
    if args.detach {
        let launched = container::run(&store, &options, sealed)?;
        context.log.warnings(&launched.warnings);
        relay_ready(context.log, launched.notify);
        context.log.debug(|| format!("{} runs detached, its init is {}", options.id, launched.pid.as_raw_nonzero()));
        return Ok(0);
    }
    options.attach_console = true;
    options.console_size = Some(foreground::size);
    let foreground = Foreground::prepare(!args.create.no_subreaper, context.log)?;
    let launched = container::run(&store, &options, sealed)?;
    let (pid, start_time) = (launched.pid, launched.start_time);
    let outcome = foreground.attend(launched, context.log);
    if matches!(outcome, Ok(KILLED)) {
        // What a bare 137 does not say. Before the cgroup goes, which knows.
        if let Ok(Some(oom)) = container::out_of_memory(&store, &options.id, pid, start_time) {
            context.log.warning(format_args!("{oom} ({})", oom.remedy()));
        }
    }
    if !args.keep {
        match container::delete_own(&store, &options.id, pid, start_time) {
            Ok(warnings) => context.log.warnings(&warnings),
            Err(error) => context.log.warning(error),
        }
    }
    outcome
}
