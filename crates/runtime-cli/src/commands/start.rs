//! `start`: let a created container's init execute its process.

use anyhow::Result;
use libcontainer::container;

use super::{Context, check_id, relay_ready};
use crate::cli;

/// Starts the container.
pub fn run(context: Context<'_>, args: &cli::Target) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    relay_ready(context.log, container::start(&store, &args.id)?);
    Ok(0)
}
