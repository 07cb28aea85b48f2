//! The command line as runc defines it. `argv.rs` brings Go's spellings into the one form that this definition parses.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::argv::{self, Line};
use crate::duration;
use crate::logging::LogOptions;

#[cfg(test)]
mod engine_tests;
mod update;

pub use update::Update;

/// Open Container Initiative runtime: it creates and runs containers from bundles
///
/// A bundle is a directory with a config.json and a root filesystem. `creel spec` writes a config.json to start from;
/// `creel run -b <bundle> <container-id>` runs it.
#[derive(Debug, Parser)]
#[command(name = "creel", disable_version_flag = true, disable_help_subcommand = true, args_override_self = true)]
pub struct Cli {
    /// What comes before the command.
    #[command(flatten)]
    pub global: Global,
    /// The command; without one, help is shown.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags of every command. As in runc 1.5 they may also follow the command's name.
#[derive(Debug, Default, Args)]
pub struct Global {
    /// Enable debug logging
    #[arg(long)]
    pub debug: bool,
    /// Append the log to this file, or send it to a daemon (journald:ID, syslog:ID), instead of writing it to stderr
    #[arg(long, value_name = "[file:]path")]
    pub log: Option<OsString>,
    /// The log's format: text or json
    #[arg(long, value_name = "format")]
    pub log_format: Option<OsString>,
    /// The least that is logged: error, warning or debug [default: warning]
    #[arg(long, value_name = "level")]
    pub log_level: Option<OsString>,
    /// The directory that holds the containers' state; it should be on a tmpfs [default: /run/creel]
    #[arg(long, value_name = "path", value_parser = path())]
    pub root: Option<PathBuf>,
    /// Let systemd make the cgroup: cgroupsPath is then slice:prefix:name, such as system.slice:creel:434234
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who makes the cgroup: cgroupfs, or systemd, which is --systemd-cgroup
    #[arg(long, value_name = "manager")]
    pub cgroup_manager: Option<String>,
    /// Ignore cgroup permission errors: true, false or auto
    #[arg(long, value_name = "when")]
    pub rootless: Option<String>,
    /// Accepted, and ignored as by runc since 1.2
    #[arg(long, value_name = "path", hide = true)]
    pub criu: Option<OsString>,
    /// Print the version
    #[arg(long, short)]
    pub version: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a container, ready to be started
    Create(Create),
    /// Delete the resources of a stopped container
    Delete(Delete),
    /// Show what a container uses, and when it runs out of memory, until it ends
    Events(Events),
    /// Execute a process in a container
    Exec(Box<Exec>),
    /// Show what this runtime supports, as JSON
    Features,
    /// Send a signal (SIGTERM unless given) to a container's init
    Kill(Kill),
    /// List the containers of this root directory
    List(List),
    /// Add mounts to a container that lives, or remove some
    Mounts(Mounts),
    /// Suspend all processes of a container
    Pause(Target),
    /// Show the processes of a container
    Ps(Ps),
    /// Resume all processes of a paused container
    Resume(Target),
    /// Create and start a container, and wait for it
    Run(Run),
    /// Write a config.json to start from
    Spec(Spec),
    /// Start the process of a created container
    Start(Target),
    /// Print a container's state as JSON
    State(Target),
    /// Change the resource limits of a container
    Update(Box<Update>),
    /// Checkpoint a container (not supported yet)
    #[command(hide = true)]
    Checkpoint(Anything),
    /// Restore a container from a checkpoint (not supported yet)
    #[command(hide = true)]
    Restore(Anything),
}

/// A command that takes a container and nothing else.
#[derive(Debug, Args)]
pub struct Target {
    /// The container
    #[arg(value_name = "container-id")]
    pub id: String,
}

/// A command of runc that this version does not have: its arguments are not looked at.
#[derive(Debug, Args)]
pub struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<OsString>,
}

/// `create`, and what `run` shares with it.
#[derive(Debug, Args)]
pub struct Create {
    /// The bundle's directory [default: the current one]
    #[arg(long, short, value_name = "path", value_parser = path())]
    pub bundle: Option<PathBuf>,
    /// The configuration [default: config.json in the bundle]
    #[arg(long, short = 'f', value_name = "path", value_parser = path())]
    pub config: Option<PathBuf>,
    /// A listening AF_UNIX socket that receives the master of the container's terminal
    #[arg(long, value_name = "path", value_parser = path())]
    pub console_socket: Option<PathBuf>,
    /// A listening AF_UNIX socket that receives a pidfd of the container's init
    #[arg(long, value_name = "path", value_parser = path())]
    pub pidfd_socket: Option<PathBuf>,
    /// A file to write the init's pid to
    #[arg(long, value_name = "path", value_parser = path())]
    pub pid_file: Option<PathBuf>,
    /// Do not use pivot_root, for a root filesystem on a ramdisk
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring instead of making a new one
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Pass N more descriptors to the container (stdio + $LISTEN_FDS + N in total)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Do not become the reaper of the container's orphans (create never does)
    #[arg(long)]
    pub no_subreaper: bool,
    /// The container's name, unique on this host
    #[arg(value_name = "container-id")]
    pub id: String,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// What it shares with `create`.
    #[command(flatten)]
    pub create: Create,
    /// Do not wait for the container
    #[arg(long, short)]
    pub detach: bool,
    /// Do not delete the container after its exit
    #[arg(long)]
    pub keep: bool,
}

/// `exec`.
#[derive(Debug, Default, Args)]
pub struct Exec {
    /// A listening AF_UNIX socket that receives the master of the process's terminal
    #[arg(long, value_name = "path", value_parser = path())]
    pub console_socket: Option<PathBuf>,
    /// A listening AF_UNIX socket that receives a pidfd of the process
    #[arg(long, value_name = "path", value_parser = path())]
    pub pidfd_socket: Option<PathBuf>,
    /// The working directory in the container
    #[arg(long, value_name = "path")]
    pub cwd: Option<String>,
    /// Add an environment variable; may be repeated
    #[arg(long, short, value_name = "name=value")]
    pub env: Vec<String>,
    /// Give the process a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// The user to run as
    #[arg(long, short, value_name = "uid[:gid]")]
    pub user: Option<String>,
    /// Add a supplementary group; may be repeated
    #[arg(long, short = 'g', value_name = "gid")]
    pub additional_gids: Vec<i64>,
    /// Take the process from this JSON file instead of the command line
    #[arg(long, short, value_name = "path", value_parser = path())]
    pub process: Option<PathBuf>,
    /// Do not wait for the process
    #[arg(long, short)]
    pub detach: bool,
    /// A file to write the process's pid to
    #[arg(long, value_name = "path", value_parser = path())]
    pub pid_file: Option<PathBuf>,
    /// The process's security label (SELinux)
    #[arg(long, value_name = "label")]
    pub process_label: Option<String>,
    /// The process's AppArmor profile
    #[arg(long, value_name = "profile")]
    pub apparmor: Option<String>,
    /// Keep the process from gaining privileges (no_new_privs); `=false` lets it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    pub no_new_privs: Option<bool>,
    /// Add a capability to the bounding, effective and permitted sets; may be repeated
    #[arg(long, short, value_name = "capability")]
    pub cap: Vec<String>,
    /// Pass N more descriptors to the process (stdio + $LISTEN_FDS + N in total)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Run it in a cgroup below the container's; may be repeated for cgroup v1
    #[arg(long, value_name = "[controller:]path")]
    pub cgroup: Vec<String>,
    /// Allow it in a paused container
    #[arg(long)]
    pub ignore_paused: bool,
    /// The container
    #[arg(value_name = "container-id")]
    pub id: String,
    /// The command and its arguments, unless --process is given
    #[arg(value_name = "command", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// How often to show what was used, as Go writes it: 100ms, 5s, 1m30s
    #[arg(long, value_name = "duration", default_value = "5s", value_parser = duration::parse)]
    pub interval: Duration,
    /// Show what was used so far, and end
    #[arg(long)]
    pub stats: bool,
    /// json or table
    #[arg(long, short, default_value = "json")]
    pub format: String,
    /// The container
    #[arg(value_name = "container-id")]
    pub id: String,
}

/// `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Signal every process of the container
    #[arg(long, short)]
    pub all: bool,
    /// Take the container's id for a regular expression (regex(7)), and signal all containers that match
    #[arg(long, short)]
    pub regex: bool,
    /// The container
    #[arg(value_name = "container-id")]
    pub id: String,
    /// A number, or a name with or without SIG
    #[arg(value_name = "signal")]
    pub signal: Option<String>,
}

/// `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Kill the container first if it still runs
    #[arg(long, short)]
    pub force: bool,
    /// Take the container's id for a regular expression (regex(7)), and delete all containers that match
    #[arg(long, short)]
    pub regex: bool,
    /// The container
    #[arg(value_name = "container-id")]
    pub id: String,
}

/// `list`.
#[derive(Debug, Args)]
pub struct List {
    /// table or json
    #[arg(long, short, default_value = "table")]
    pub format: String,
    /// Print the containers' ids only
    #[arg(long, short)]
    pub quiet: bool,
}

/// `mounts`.
#[derive(Debug, Args)]
pub struct Mounts {
    /// add, or remove, which looks at the destinations only
    #[arg(value_name = "add|remove")]
    pub action: String,
    /// The container
    #[arg(value_name = "container-id")]
    pub id: String,
    /// A JSON list like config.json's mounts; - for stdin
    #[arg(value_name = "file", value_parser = path())]
    pub file: PathBuf,
}

/// `ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// table or json
    #[arg(long, short, default_value = "table")]
    pub format: String,
    /// The container
    #[arg(value_name = "container-id")]
    pub id: String,
    /// Options of ps(1) [default: -ef]
    #[arg(value_name = "ps options", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// `spec`.
#[derive(Debug, Args)]
pub struct Spec {
    /// The directory to write to [default: the current one]
    #[arg(long, short, value_name = "path", value_parser = path())]
    pub bundle: Option<PathBuf>,
    /// The file to write, over what it has [default: config.json in that directory, which must not exist]
    #[arg(long, short, value_name = "path", value_parser = path())]
    pub file: Option<PathBuf>,
    /// For a container without root privileges
    #[arg(long)]
    pub rootless: bool,
}

/// clap's own parser of paths refuses the empty one, which runc takes as "not given".
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A path that was given and is not empty.
pub fn given(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.clone().filter(|path| !path.as_os_str().is_empty())
}

/// Why there is no command to carry out.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// Help was asked for.
    Help(String),
    /// There is no such command.
    NoTopic(String),
    /// The command line is wrong: what runc calls it, the message, the help to show.
    Usage { heading: String, message: String, help: String },
}

/// The parsed command line; the log's options are known even when the rest is refused.
#[derive(Debug)]
pub struct Parsed {
    /// Where to tell about failures.
    pub log: LogOptions,
    /// The command line, or why there is none.
    pub outcome: Result<Cli, Refused>,
}

/// Parses `argv`, the program's name first.
pub fn parse(argv: Vec<OsString>) -> Parsed {
    let mut definition = Cli::command();
    let (line, outcome) = argv::read(&definition, argv);
    let log = log_options(&line);
    let outcome = outcome.map_err(|problem| refuse(&mut definition, &line, problem)).and_then(|()| {
        let name = line.command.clone();
        definition
            .try_get_matches_from_mut(line.to_argv())
            .and_then(|matches| Cli::from_arg_matches(&matches))
            .map_err(|error| refuse_value(&mut definition, name.as_deref(), &error))
    });
    Parsed { log, outcome }
}

fn log_options(line: &Line) -> LogOptions {
    let last = |name| line.globals.iter().rev().find(|flag| flag.name == name).map(|flag| flag.value.clone());
    LogOptions {
        file: last("log").unwrap_or_default(),
        format: last("log-format").unwrap_or_default(),
        level: last("log-level").unwrap_or_default(),
        debug: last("debug").is_some_and(|value| value == "true"),
    }
}

fn refuse(definition: &mut clap::Command, line: &Line, problem: argv::Problem) -> Refused {
    let name = line.command.as_deref();
    match problem {
        argv::Problem::Help(None) => Refused::Help(help(definition, name)),
        argv::Problem::Help(Some(topic)) => match definition.find_subcommand(&topic) {
            Some(_) => Refused::Help(help(definition, Some(&topic))),
            None => Refused::NoTopic(topic),
        },
        argv::Problem::UnknownCommand(name) => Refused::NoTopic(name),
        argv::Problem::Flag(message) => {
            let help = help(definition, name);
            Refused::Usage { heading: format!("Incorrect Usage: {message}"), message, help }
        }
        argv::Problem::Count(message) => {
            Refused::Usage { heading: "Incorrect Usage.".to_owned(), message, help: help(definition, name) }
        }
    }
}

/// After `argv.rs`, only values can be wrong.
fn refuse_value(definition: &mut clap::Command, name: Option<&str>, error: &clap::Error) -> Refused {
    let context = |kind| error.get(kind).map(ToString::to_string);
    let message = match (error.kind(), context(ContextKind::InvalidArg), context(ContextKind::InvalidValue)) {
        (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(flag), Some(value)) => {
            let flag = flag.split([' ', '=']).next().unwrap_or_default().trim_start_matches('-');
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("invalid value {value:?} for flag -{flag}{cause}")
        }
        _ => error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
    };
    Refused::Usage { heading: format!("Incorrect Usage: {message}"), message, help: help(definition, name) }
}

/// In the layout of runc's help, whose first lines are what scripts look at.
fn help(definition: &mut clap::Command, name: Option<&str>) -> String {
    definition.build();
    let program = definition.get_name().to_owned();
    let (command, title) = match name.and_then(|name| definition.find_subcommand_mut(name)) {
        Some(command) => (command.clone(), format!("{program} {}", command.get_name())),
        None => (definition.clone(), program),
    };
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let more = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let more = more.strip_prefix(&about).unwrap_or_default().trim().to_owned();
    let mut template = format!("NAME:\n   {title} - {about}\n\nUSAGE:\n   {{usage}}\n\n");
    let sections = [
        (!more.is_empty(), format!("DESCRIPTION:\n   {more}\n\n").as_str()),
        (command.has_subcommands(), "COMMANDS:\n{subcommands}\n\n"),
        (command.get_positionals().any(|argument| !argument.is_hide_set()), "ARGUMENTS:\n{positionals}\n\n"),
        (true, "OPTIONS:\n{options}"),
    ]
    .map(|(shown, section)| if shown { section.to_owned() } else { String::new() });
    template.extend(sections);
    // There is one help, for -h and --help.
    command.mut_arg("help", |flag| flag.help("Print help")).help_template(template).render_help().to_string()
}

/// What `creel` says when it is given no command.
pub fn overview() -> String {
    help(&mut Cli::command(), None)
}
