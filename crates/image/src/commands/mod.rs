//! One file for each command.

mod archive;
mod bundle;
mod gc;
mod inspect;
mod login;
mod ls;
mod output;
mod pull;
mod rm;
mod run;
mod unshare;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use creel_image::error::{Error, Kind, Result, SysContext};
use creel_image::store::Store;
use creel_image::userns::{self, Maps};

use crate::cli::{Cli, Command};

/// Does what the command line says.
pub fn dispatch(cli: Cli) -> Result<ExitCode> {
    // Before anything else: root of a user's own namespace still is that user.
    let place = cli.store.map_or_else(default_store, Ok);
    let open = || Store::open(&place.clone()?);
    let own = match &cli.command {
        Some(command) if needs_owners(command) => namespace(command, &place)?,
        _ => None,
    };
    let done = match cli.command {
        None => Cli::command().print_help().sys("write", "stdout"),
        Some(Command::Pull(args)) => pull::pull(&open()?, args),
        Some(Command::Ls(args)) => ls::ls(&open()?, &args),
        Some(Command::Inspect(args)) => inspect::inspect(&open()?, &args),
        Some(Command::Rm(args)) => rm::rm(&open()?, &args),
        Some(Command::Gc(args)) => gc::gc(&open()?, &args),
        Some(Command::Import(args)) => archive::import(&open()?, &args),
        Some(Command::Export(args)) => archive::export(&open()?, &args),
        Some(Command::Verify(args)) => verify::verify(&open()?, args),
        Some(Command::Login(args)) => login::login(args),
        Some(Command::Bundle(args)) => bundle::bundle(&open()?, args, own),
        Some(Command::Unpack(args)) => bundle::unpack(&open()?, &args),
        Some(Command::Mount(args)) => creel_image::bundle::mount(&args.directory, own.is_some()),
        Some(Command::Unbundle(args)) => bundle::unbundle(&place, &args),
        Some(Command::Run(args)) => return run::run(&open()?, args, own),
        Some(Command::Unshare(args)) => unshare::unshare(&args),
        Some(Command::MapIds) => return userns::write_maps(std::io::stdin()).map(ExitCode::from),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Whether a command makes or removes files that belong to an image's owners.
fn needs_owners(command: &Command) -> bool {
    matches!(
        command,
        Command::Pull(_)
            | Command::Gc(_)
            | Command::Bundle(_)
            | Command::Unpack(_)
            | Command::Mount(_)
            | Command::Unbundle(_)
            | Command::Run(_)
            | Command::Unshare(_)
    )
}

/// Goes into the user namespace that somebody who is not root needs for that; gives its ids.
fn namespace(command: &Command, place: &Result<PathBuf>) -> Result<Option<Maps>> {
    if let Command::Unbundle(args) = command {
        // From within, the processes of other namespaces cannot be looked at.
        creel_image::bundle::check_unused(&bundle::named(place, &args.directory)?)?;
    }
    let entered = userns::enter()?;
    entered.note.map_or(Ok(()), |note| output::note(format_args!("note: {note}")))?;
    Ok(entered.maps)
}

fn default_store() -> Result<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = of("CREEL_IMAGE_STORE") {
        return Ok(path);
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/creel/images".into());
    }
    let data = of("XDG_DATA_HOME").or_else(|| Some(of("HOME")?.join(".local/share")));
    data.map(|directory| directory.join("creel/images")).ok_or_else(|| {
        Error::new(Kind::NotFound, "no place for images: HOME is not set").remedy("name one with --store")
    })
}
