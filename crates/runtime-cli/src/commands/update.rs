//! `update`: other limits for a container that lives.

use std::path::Path;

use anyhow::Result;
use libcontainer::container;
use libcontainer::intel_rdt::NewSchemata;
use libcontainer::spec::Resources;

use super::{Context, check_id, read_json, update_limits};
use crate::cli::{self, given};

/// Changes the limits.
pub fn run(context: Context<'_>, args: &cli::Update) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    let limits = match given(&args.resources) {
        Some(path) => from_file(&path)?,
        None => update_limits::from_flags(args)?,
    };
    // They are no part of linux.resources, so they count beside a file as well, as in runc.
    let schemata = NewSchemata {
        l3_cache: args.l3_cache_schema.clone().unwrap_or_default(),
        memory_bandwidth: args.mem_bw_schema.clone().unwrap_or_default(),
    };
    context.log.warnings(&container::update(&store, &args.id, &limits, &schemata)?);
    Ok(0)
}

fn from_file(path: &Path) -> Result<Resources> {
    let (name, text) = read_json(path)?;
    Ok(update_limits::from_json(&text).map_err(|error| error.within(name))?)
}
