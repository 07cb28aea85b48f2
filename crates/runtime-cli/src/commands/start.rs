//! `start`: let a created container's init execute its process.

use anyhow::Result;
use libcontainer::container::{self, NotifyRelay};

use super::{Context, check_id};
use crate::cli;

/// Starts the container.
pub fn run(context: Context<'_>, args: &cli::Target) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    container::start(&store, &args.id)?.map_or(Ok(()), NotifyRelay::wait)?;
    Ok(0)
}
