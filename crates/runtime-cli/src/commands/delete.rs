//! `delete`: the resources of a stopped container; with `--force`, of any; with `--regex`, of many.

use anyhow::Result;
use libcontainer::container;

use super::{Context, each};
use crate::cli;

/// Deletes the container.
pub fn run(context: Context<'_>, args: &cli::Delete) -> Result<u8> {
    let store = context.store()?;
    each(context, &store, &args.id, args.regex, |id| {
        context.log.warnings(&container::delete(&store, id, args.force)?);
        Ok(())
    })
}
