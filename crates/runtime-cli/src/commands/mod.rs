//! One file per command.

mod create;
mod delete;
mod events;
mod exec;
mod exec_process;
mod features;
mod kill;
mod list;
mod mounts;
mod pause;
mod ps;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;
mod update_limits;
mod version;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use libcontainer::container::{self, NotifyRelay, Store};
use libcontainer::process::sealed_exe::{self, Sealed};

use crate::argv::parse_bool;
use crate::cli::{Cli, Command, Global};
use crate::logging::{Log, plain};
use crate::root_dir::{self, Root};

/// The status of an `exec` that did not come to execute anything; others end with 1.
const EXEC_FAILED: u8 = 255;

/// Why a command failed, and the exit status that says so.
#[derive(Debug)]
pub struct Failure {
    /// The message, outermost context first.
    pub error: Error,
    /// The exit status.
    pub status: u8,
}

/// What every command is given.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    global: &'a Global,
    log: &'a Log,
}

impl Context<'_> {
    /// Only asked for by commands that need it: `features` must work where no state can be kept.
    fn root(&self) -> Result<Root> {
        root_dir::find(self.global.root.as_deref())
    }

    fn store(&self) -> Result<Store> {
        Ok(self.root()?.store)
    }

    /// Whether systemd makes the cgroup: crun's way to say it goes before runc's.
    fn systemd_cgroup(&self) -> Result<bool> {
        match self.global.cgroup_manager.as_deref() {
            None | Some("") => Ok(self.global.systemd_cgroup),
            Some("systemd") => Ok(true),
            Some("cgroupfs") => Ok(false),
            Some("disabled") => bail!("--cgroup-manager: containers without a cgroup are not supported yet"),
            Some(manager) => bail!("--cgroup-manager: {manager:?} is none of cgroupfs, systemd and disabled"),
        }
    }

    /// `--rootless`; none for `auto`.
    fn rootless(&self) -> Result<Option<bool>> {
        match self.global.rootless.as_deref() {
            None | Some("") => Ok(None),
            Some(auto) if auto.eq_ignore_ascii_case("auto") => Ok(None),
            Some(text) => match parse_bool(text) {
                Some(value) => Ok(Some(value)),
                None => bail!("--rootless: {text:?} is none of true, false and auto"),
            },
        }
    }
}

/// An id that is empty was forgotten by a script, rather than chosen.
fn check_id(id: &str) -> Result<()> {
    if id.is_empty() {
        bail!("container id cannot be empty");
    }
    Ok(())
}

/// The JSON in a file, or on stdin if that is `-`, and its name for messages.
fn read_json(path: &Path) -> Result<(String, Vec<u8>)> {
    let (name, text) = if path == Path::new("-") {
        let mut text = Vec::new();
        ("stdin".to_owned(), std::io::stdin().read_to_end(&mut text).map(|_| text))
    } else {
        (path.display().to_string(), std::fs::read(path))
    };
    let text = text.map_err(|error| anyhow!("open {name}: {}", plain(&error)))?;
    Ok((name, text))
}

/// Does something to the container or, with `--regex`, to every one that matches. There, one that fails is told and does
/// not keep the others from it; the status is then 1.
fn each(
    context: Context<'_>,
    store: &Store,
    id: &str,
    is_regex: bool,
    mut action: impl FnMut(&str) -> Result<()>,
) -> Result<u8> {
    check_id(id)?;
    if !is_regex {
        return action(id).map(|()| 0);
    }
    let mut status = 0;
    for id in container::ids_matching(store, id)? {
        if let Err(error) = action(&id) {
            context.log.error(format_args!("{id}: {error:#}"));
            status = 1;
        }
    }
    Ok(status)
}

/// Waits until the payload is ready, if a service manager wants to know. That this one cannot be told does not harm the
/// container.
fn relay_ready(log: &Log, notify: Option<NotifyRelay>) {
    if let Some(Err(error)) = notify.map(NotifyRelay::wait) {
        log.warning(error);
    }
}

/// Carries out a command; gives the status to exit with.
pub fn dispatch(cli: Cli, log: &Log) -> Result<ExitCode, Failure> {
    let context = Context { global: &cli.global, log };
    if cli.global.version {
        return finish(version::run(), 1);
    }
    let Some(command) = cli.command else {
        return finish(crate::output::print(crate::cli::overview()).map(|()| 0), 1);
    };
    match command {
        Command::Create(args) => finish(create::run(context, &args, seal()?).context("creel create failed"), 1),
        Command::Delete(args) => finish(delete::run(context, &args), 1),
        Command::Events(args) => finish(events::run(context, &args), 1),
        Command::Exec(args) => finish(exec::run(context, &args, seal()?).context("exec failed"), EXEC_FAILED),
        Command::Features => finish(features::run(), 1),
        Command::Kill(args) => finish(kill::run(context, &args), 1),
        Command::List(args) => finish(list::run(context, &args), 1),
        Command::Mounts(args) => finish(mounts::run(context, &args, seal()?), 1),
        Command::Pause(args) => finish(pause::run(context, &args), 1),
        Command::Ps(args) => finish(ps::run(context, &args), 1),
        Command::Resume(args) => finish(resume::run(context, &args), 1),
        Command::Run(args) => finish(run::run(context, &args, seal()?).context("creel run failed"), 1),
        Command::Spec(args) => finish(spec::run(&args), 1),
        Command::Start(args) => finish(start::run(context, &args), 1),
        Command::State(args) => finish(state::run(context, &args), 1),
        Command::Update(args) => finish(update::run(context, &args), 1),
        Command::Checkpoint(_) => finish(unsupported("checkpoint"), 1),
        Command::Restore(_) => finish(unsupported("restore"), 1),
    }
}

/// Before anything is read (a process.json may come through a pipe) or logged: this process may begin anew here.
fn seal() -> Result<Sealed, Failure> {
    sealed_exe::ensure().map_err(|error| Failure { error: error.into(), status: 1 })
}

fn finish(outcome: Result<u8>, status: u8) -> Result<ExitCode, Failure> {
    outcome.map(ExitCode::from).map_err(|error| Failure { error, status })
}

fn unsupported(command: &str) -> Result<u8> {
    Err(anyhow!("{command}: not supported yet by this version of creel"))
}
