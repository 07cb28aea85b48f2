//! creel-image: pulls, stores and unpacks OCI images into bundles.

mod cli;
mod commands;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::dispatch(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // There is nowhere left to say that stderr is closed.
            let _ = writeln!(std::io::stderr(), "creel-image: {error}");
            ExitCode::FAILURE
        }
    }
}
