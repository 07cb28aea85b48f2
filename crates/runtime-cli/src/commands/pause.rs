//! `pause`: freeze every process of a container.

use anyhow::Result;
use libcontainer::container;

use super::{Context, subject};
use crate::cli;
use crate::explain::Operation;

/// Pauses the container.
pub fn run(context: Context<'_>, args: &cli::Target) -> Result<u8> {
    let store = context.store()?;
    let subject = subject(&store, &args.id)?;
    container::pause(&store, &args.id).map_err(|error| subject.explain(Operation::Pause, error))?;
    Ok(0)
}
