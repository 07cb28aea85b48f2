//! `delete`: the resources of a stopped container; with `--force`, of any.

use anyhow::Result;
use libcontainer::container;

use super::{Context, check_id};
use crate::cli;

/// Deletes the container.
pub fn run(context: Context<'_>, args: &cli::Delete) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    context.log.warnings(&container::delete(&store, &args.id, args.force)?);
    Ok(0)
}
