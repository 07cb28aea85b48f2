//! `run`: from an image's name to the end of its container.

use std::fs::DirBuilder;
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use creel_image::bundle::command::{self, Found};
use creel_image::bundle::{self, Directory, Form, Source};
use creel_image::error::{Error, Kind, Result, SysContext, Within};
use creel_image::platform::Platform;
use creel_image::progress::Progress;
use creel_image::pull::Pull;
use creel_image::store::{Image, Store};
use creel_image::userns::Maps;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::bundle::{container, warn};
use crate::cli::{Named, RegistryArgs, Run};

/// Runs it, and gives the code that it ended with (128 and the signal's number, if one ended it; 127 and 126 if there was
/// nothing to execute). `own` is the user namespace that this process has gone into for it.
pub fn run(store: &Store, args: Run, own: Option<Maps>) -> Result<ExitCode> {
    let runtime = runtime(args.runtime.as_deref())?;
    let name = match args.name {
        Some(name) => checked(name)?,
        None => random_name()?,
    };
    let path = container(store.path(), &name);
    if path.join("config.json").exists() {
        return Err(Error::invalid(format!("--name {name:?}"), "is a container that is here already")
            .remedy(format!("name another, or remove it with: creel-image unbundle {name}")));
    }
    let image = find_or_pull(store, &args.image, args.registry)?;
    let source = Source::read(store, &image.descriptor)?;
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).sys("mkdir", parent.display())?;
    }
    let input = args.interactive || args.wishes.terminal;
    let mut request = args.wishes.request(args.args, own.as_ref().map(Maps::nested))?;
    request.hostname.get_or_insert_with(|| name.clone());
    // Before anything is made: a signal that comes now must not leave it behind.
    let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2]).sys("sigaction", "run")?;
    if request.users.as_ref().is_some_and(|users| users.shift().is_some()) {
        store.let_through("containers")?;
    }
    // Held to the end: whoever comes with the same name meanwhile is told so.
    let directory = Directory::new(&path).within(|| format!("--name {name:?}"))?;
    warn(bundle::create(store, &source, &directory, Form::Overlay, &request)?)?;
    let command = command::look(directory.path())?;
    let ended = execute(&runtime, directory.path(), &name, input, signals);
    if args.rm || ended.is_err() {
        directory.remove()?;
    }
    ended.map(|code| match (code, command) {
        (0, _) | (_, Found::Something) => ExitCode::from(code),
        (_, Found::NotExecutable) => ExitCode::from(126),
        (_, Found::Nothing) => ExitCode::from(127),
    })
}

fn find_or_pull(store: &Store, image: &Named, registry: RegistryArgs) -> Result<Image> {
    let platform = image.platform.clone().unwrap_or_else(Platform::host);
    match store.find(&image.reference, &platform) {
        Err(error) if error.kind() == Kind::NotFound => {
            let (options, progress) = (registry.into(), Progress::for_stderr());
            let reference = &image.reference;
            let pull =
                Pull { store, reference, platform: &platform, options: &options, unpack: true, progress: &progress };
            pull.run()
        }
        found => found,
    }
}

fn execute(runtime: &Path, directory: &Path, name: &str, input: bool, mut signals: Signals) -> Result<u8> {
    let mut command = Command::new(runtime);
    command.arg("run").arg("--bundle").arg(directory).arg(name);
    if !input {
        command.stdin(Stdio::null());
    }
    let mut child = command.spawn().sys("execve", runtime.display())?;
    let forwarding = signals.handle();
    let pidfd = open(&child)?;
    // From a terminal, these reach all of its foreground processes by themselves.
    let terminal = std::io::stdin().is_terminal();
    let forward = std::thread::spawn(move || {
        for number in signals.forever() {
            if let Some(signal) = Signal::from_named_raw(number)
                && !(terminal && matches!(signal, Signal::INT | Signal::QUIT))
            {
                // It may just have ended; its status tells.
                let _ = pidfd_send_signal(&pidfd, signal);
            }
        }
    });
    let status = child.wait().sys("waitid", runtime.display())?;
    forwarding.close();
    // It does nothing that could panic.
    let _ = forward.join();
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}

fn open(child: &Child) -> Result<std::os::fd::OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::new(Kind::System, "the runtime has no process id"))?;
    pidfd_open(pid, PidfdFlags::empty()).sys("pidfd_open", pid.as_raw_nonzero())
}

/// What is named; else `creel` beside this program, else in PATH.
fn runtime(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let own = std::env::current_exe().sys("readlink", "/proc/self/exe")?;
    let beside = own.with_file_name("creel");
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("creel")).find(|file| file.is_file());
    found.ok_or_else(|| {
        Error::new(Kind::NotFound, "creel is neither beside creel-image nor in PATH")
            .remedy("name a runtime with --runtime")
    })
}

/// A container's name is a name of a directory too.
fn checked(name: String) -> Result<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'+');
    if name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(good)
        && name.len() < 64
    {
        return Ok(name);
    }
    Err(Error::invalid(format!("--name {name:?}"), "must be letters, digits, and . _ + - after the first"))
}

fn random_name() -> Result<String> {
    let mut bytes = [0_u8; 6];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::new(Kind::System, "getrandom: no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
