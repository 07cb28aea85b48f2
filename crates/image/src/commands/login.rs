//! `login`: credentials are proven, then kept where Docker and podman look for them.

use std::io::{BufRead, IsTerminal, Write};

use creel_image::error::{Error, Kind, Result, SysContext};
use creel_image::registry::credentials::{self, Credentials};
use creel_image::registry::{Options, Registry};
use rustix::termios::{LocalModes, OptionalActions};

use super::output;
use crate::cli;

/// Logs in.
pub fn login(args: cli::Login) -> Result<()> {
    let user = match args.username {
        Some(user) => user,
        None if !args.password_stdin => ask("user: ")?,
        None => return Err(Error::invalid("--password-stdin", "needs --username as well")),
    };
    let password = if args.password_stdin { line_of_stdin()? } else { ask_hidden("password: ")? };
    if user.is_empty() || user.contains(':') {
        return Err(Error::invalid("--username", "must not be empty, and has no colon"));
    }
    let options: Options = args.options.into();
    Registry::check_login(&args.registry, Credentials::Password(user.clone(), password.clone()), &options)?;
    let place = credentials::store(options.auth_file.as_deref(), &args.registry, &user, &password)?;
    output::line(format_args!("logged in to {}; kept in {place}", args.registry))
}

fn ask(prompt: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        let error =
            Error::new(Kind::Invalid, format!("there is no terminal to ask for the {}", prompt.trim_end_matches(": ")));
        return Err(error.remedy("use --username and --password-stdin"));
    }
    write!(std::io::stderr(), "{prompt}").sys("write", "stderr")?;
    line_of_stdin()
}

/// Asks without showing what is typed.
fn ask_hidden(prompt: &str) -> Result<String> {
    let stdin = std::io::stdin();
    let Ok(before) = rustix::termios::tcgetattr(&stdin) else { return ask(prompt) };
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    rustix::termios::tcsetattr(&stdin, OptionalActions::Flush, &hidden).sys("tcsetattr", "stdin")?;
    let answer = ask(prompt);
    rustix::termios::tcsetattr(&stdin, OptionalActions::Flush, &before).sys("tcsetattr", "stdin")?;
    writeln!(std::io::stderr()).sys("write", "stderr")?;
    answer
}

fn line_of_stdin() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).sys("read", "stdin")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
