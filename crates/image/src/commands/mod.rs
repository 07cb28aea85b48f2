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
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use creel_image::error::{Error, Kind, Result, SysContext};
use creel_image::store::Store;

use crate::cli::{Cli, Command};

/// Does what the command line says.
pub fn dispatch(cli: Cli) -> Result<ExitCode> {
    let open = || Store::open(&cli.store.clone().map_or_else(default_store, Ok)?);
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
        Some(Command::Bundle(args)) => bundle::bundle(&open()?, args),
        Some(Command::Unpack(args)) => bundle::unpack(&open()?, &args),
        Some(Command::Mount(args)) => creel_image::bundle::mount(&args.directory),
        Some(Command::Unbundle(args)) => bundle::unbundle(open, &args),
        Some(Command::Run(args)) => return run::run(&open()?, args),
    };
    done.map(|()| ExitCode::SUCCESS)
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
