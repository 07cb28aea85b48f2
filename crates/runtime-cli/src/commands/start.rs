//! `start`: let a created container's init execute its process.

use anyhow::Result;
use libcontainer::container;

use super::{Context, subject};
use crate::cli;
use crate::explain::Operation;

/// Starts the container.
pub fn run(context: Context<'_>, args: &cli::Target) -> Result<u8> {
    let store = context.store()?;
    let subject = subject(&store, &args.id)?;
    container::start(&store, &args.id).map_err(|error| subject.explain(Operation::Start, error))?;
    Ok(0)
}
