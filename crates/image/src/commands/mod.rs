//! One file for each command.

use clap::CommandFactory;
use creel_image::error::{Result, SysContext};

use crate::cli::{Cli, Command};

/// Does what the command line says.
pub fn dispatch(cli: Cli) -> Result<()> {
    let command: Command = match cli.command {
        Some(command) => command,
        None => return Cli::command().print_help().sys("write", "stdout"),
    };
    match command {}
}
