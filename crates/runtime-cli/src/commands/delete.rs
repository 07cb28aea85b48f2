//! `delete`: the resources of a stopped container; with `--force`, of any.

use anyhow::Result;
use libcontainer::container;

use super::{Context, check_id, warn};
use crate::cli;

/// Deletes the container.
pub fn run(context: Context<'_>, args: &cli::Delete) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    warn(context.log, &container::delete(&store, &args.id, args.force)?);
    Ok(0)
}
