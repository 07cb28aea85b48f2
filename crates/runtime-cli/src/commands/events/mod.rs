//! `events`: what a container uses, and when it runs out of memory.

mod json;
mod table;

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;

use anyhow::{Result, anyhow, bail};
use libcontainer::cgroups::stats::Stats;
use libcontainer::container::{self, Event};
use libcontainer::intel_rdt::RdtStats;

use self::table::Table;
use super::{Context, check_id};
use crate::cli;
use crate::logging::plain;
use crate::output;

/// How events are shown.
enum Format {
    Json,
    Table(Box<Table>),
}

/// Prints the events until the container ends, or nobody reads them any more.
pub fn run(context: Context<'_>, args: &cli::Events) -> Result<u8> {
    let store = context.store()?;
    check_id(&args.id)?;
    let mut format = match args.format.as_str() {
        "json" => Format::Json,
        "table" => Format::Table(Box::default()),
        _ => bail!("invalid format option"),
    };
    let header = matches!(format, Format::Table(_)).then(Table::header);
    let json = matches!(format, Format::Json);
    // The table has no column for it; and a container that is gone by now has told enough.
    let rdt = || json.then(|| container::rdt_stats(&store, &args.id).ok().flatten()).flatten();
    if args.stats {
        let stats = container::stats(&store, &args.id)?;
        say(&(header.unwrap_or_default() + &format.stats(&args.id, &stats, rdt().as_ref())?))?;
        return Ok(0);
    }
    let mut events = container::events(&store, &args.id, args.interval)?;
    if let Some(header) = header {
        // A person is looking, and does not want to wait for the first interval to be over.
        let first = format.stats(&args.id, &container::stats(&store, &args.id)?, None)?;
        if !say(&(header + &first))? {
            return Ok(0);
        }
    }
    let stdout = std::io::stdout();
    while let Some(event) = events.next(Some(stdout.as_fd()))? {
        let text = match event {
            Event::Stats(stats) => format.stats(&args.id, &stats, rdt().as_ref())?,
            Event::Oom => format.oom(&args.id)?,
        };
        if !say(&text)? {
            break;
        }
    }
    Ok(0)
}

impl Format {
    fn stats(&mut self, id: &str, stats: &Stats, rdt: Option<&RdtStats>) -> Result<String> {
        match self {
            Format::Json => output::json_line(&json::Event::stats(id, stats, rdt)),
            Format::Table(table) => Ok(table.row(stats)),
        }
    }

    fn oom(&self, id: &str) -> Result<String> {
        match self {
            Format::Json => output::json_line(&json::Event::oom(id)),
            Format::Table(_) => Ok(Table::oom()),
        }
    }
}

/// Prints, and tells whether somebody still reads.
fn say(text: &str) -> Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(anyhow!("write /dev/stdout: {}", plain(&error))),
    }
}
