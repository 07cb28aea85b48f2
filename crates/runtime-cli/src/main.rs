//! creel: an OCI runtime on the command line of runc.

mod argv;
mod cli;
mod commands;
mod duration;
mod foreground;
mod logging;
mod output;
mod root_dir;
mod signal_names;
mod table;

use std::process::ExitCode;

use crate::cli::{Parsed, Refused};
use crate::logging::Log;

/// urfave/cli's status for a command that there is not.
const NO_TOPIC: u8 = 3;

fn main() -> ExitCode {
    let Parsed { log, outcome } = cli::parse(std::env::args_os().collect());
    let log = match Log::open(&log) {
        Ok(log) => log.share(),
        Err(error) => return fail(&Log::default(), &error, 1),
    };
    match outcome {
        Ok(cli) => commands::dispatch(cli, log).unwrap_or_else(|failure| fail(log, &failure.error, failure.status)),
        Err(refused) => refuse(log, refused),
    }
}

fn refuse(log: &Log, refused: Refused) -> ExitCode {
    match refused {
        Refused::Help(help) => match output::print(help) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(log, &error, 1),
        },
        Refused::NoTopic(topic) => {
            log.error(format_args!("No help topic for '{topic}'\n"));
            ExitCode::from(NO_TOPIC)
        }
        Refused::Usage { heading, message, help } => {
            // The message below is what counts; a closed stdout must not hide it.
            let _ = output::print(format!("{heading}\n\n{help}\n"));
            log.error(message);
            ExitCode::FAILURE
        }
    }
}

fn fail(log: &Log, error: &anyhow::Error, status: u8) -> ExitCode {
    log.error(format_args!("{error:#}"));
    ExitCode::from(status)
}
