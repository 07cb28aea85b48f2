//! `resume`: thaw a paused container.

use anyhow::Result;
use libcontainer::container;

use super::{Context, subject};
use crate::cli;
use crate::explain::Operation;

/// Resumes the container.
pub fn run(context: Context<'_>, args: &cli::Target) -> Result<u8> {
    let store = context.store()?;
    let subject = subject(&store, &args.id)?;
    container::resume(&store, &args.id).map_err(|error| subject.explain(Operation::Resume, error))?;
    Ok(0)
}
