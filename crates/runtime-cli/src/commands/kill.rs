//! `kill`: a signal to a container's init or, with `--all`, to all its processes.

use anyhow::Result;
use libcontainer::container;
use libcontainer::error::Kind;

use super::{Context, check_id};
use crate::cli;
use crate::signal_names;

/// Sends the signal.
pub fn run(context: Context<'_>, args: &cli::Kill) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    let name = args.signal.as_deref().filter(|name| !name.is_empty()).unwrap_or("SIGTERM");
    let signal = signal_names::parse(name)?;
    match container::kill(&store, &args.id, signal, args.all) {
        // Engines send `kill --all` to containers that may have ended already.
        Err(error) if args.all && error.kind() == Kind::WrongState => {
            context.log.debug(|| error);
            Ok(0)
        }
        outcome => Ok(outcome.map(|()| 0)?),
    }
}
