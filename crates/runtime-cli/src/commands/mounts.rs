//! `mounts`: what a container that lives has mounted.

use anyhow::{Result, bail};
use libcontainer::container;
use libcontainer::process::sealed_exe::Sealed;
use libcontainer::spec::{Mount, parse_json};

use super::{Context, check_id, read_json};
use crate::cli;

/// Adds or removes the mounts.
pub fn run(context: Context<'_>, args: &cli::Mounts, sealed: Sealed) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    let (name, text) = read_json(&args.file)?;
    let mounts: Vec<Mount> = parse_json(&text).map_err(|error| error.within(name))?;
    match args.action.as_str() {
        "add" => context.log.warnings(&container::add_mounts(&store, &args.id, mounts, sealed)?),
        "remove" => container::remove_mounts(&store, &args.id, &mounts, sealed)?,
        other => bail!("mounts: {other:?} is neither add nor remove"),
    }
    Ok(0)
}
