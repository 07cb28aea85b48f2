//! `state`: what runtime.md "State" demands.

use anyhow::Result;
use libcontainer::container;

use super::{Context, check_id};
use crate::cli;
use crate::output;

/// Prints the container's state.
pub fn run(context: Context<'_>, args: &cli::Target) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    let mut state = container::state(&store, &args.id)?;
    // runc looks the owner up for `list` only; the member is there and empty.
    state.owner.clear();
    output::print(output::json_indented(&state, "  ")?)?;
    Ok(0)
}
