//! `delete`: the resources of a stopped container; with `--force`, of any.

use anyhow::Result;
use libcontainer::container;

use super::{Context, subject};
use crate::cli;
use crate::explain::Operation;

/// Deletes the container.
pub fn run(context: Context<'_>, args: &cli::Delete) -> Result<u8> {
    let store = context.store()?;
    let subject = subject(&store, &args.id)?;
    container::delete(&store, &args.id, args.force).map_err(|error| subject.explain(Operation::Delete, error))?;
    Ok(0)
}
