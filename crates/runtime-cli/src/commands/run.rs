//! `run`: create, start and, unless detached, wait and delete.

use anyhow::{Result, bail};
use libcontainer::container;

use super::{Context, create, subject};
use crate::cli::{self, given};
use crate::explain;
use crate::foreground::Foreground;

/// Runs the container; gives the status of its process, or 0 when detached.
pub fn run(context: Context<'_>, args: &cli::Run) -> Result<u8> {
    let store = context.store()?;
    let mut options = create::options(context, &args.create)?;
    subject(&store, &options.id)?;
    if args.detach {
        let launched = container::run(&store, &options).map_err(|error| explain::creation(&error))?;
        context.log.debug(|| format!("{} runs detached, its init is {}", options.id, launched.pid.as_raw_nonzero()));
        return Ok(0);
    }
    if given(&args.create.console_socket).is_some() {
        bail!("cannot use console socket if creel will not detach or allocate tty");
    }
    options.attach_console = true;
    let foreground = Foreground::prepare(!args.no_subreaper, context.log)?;
    let launched = container::run(&store, &options).map_err(|error| explain::creation(&error))?;
    let outcome = foreground.attend(launched, context.log);
    if !args.keep
        && let Err(error) = container::delete(&store, &options.id, true)
    {
        context.log.warning(error);
    }
    outcome
}
