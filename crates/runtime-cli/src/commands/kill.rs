//! `kill`: a signal to a container's init or, with `--all`, to all its processes; with `--regex`, to many containers.

use anyhow::Result;
use libcontainer::container;
use libcontainer::error::Kind;

use super::{Context, each};
use crate::cli;
use crate::signal_names;

/// Sends the signal.
pub fn run(context: Context<'_>, args: &cli::Kill) -> Result<u8> {
    let store = context.store()?;
    super::check_id(&args.id)?;
    let name = args.signal.as_deref().filter(|name| !name.is_empty()).unwrap_or("SIGTERM");
    let signal = signal_names::parse(name)?;
    each(context, &store, &args.id, args.regex, |id| match container::kill(&store, id, signal, args.all) {
        // Engines send `kill --all` to containers that may have ended already; an expression may match such ones.
        Err(error) if (args.all || args.regex) && error.kind() == Kind::WrongState => {
            context.log.debug(|| error);
            Ok(())
        }
        outcome => Ok(outcome?),
    })
}
