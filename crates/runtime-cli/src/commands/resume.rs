//! `resume`: thaw a paused container.

use anyhow::Result;
use libcontainer::container;

use super::{Context, check_id};
use crate::cli;

/// Resumes the container.
pub fn run(context: Context<'_>, args: &cli::Target) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    container::resume(&store, &args.id)?;
    Ok(0)
}
