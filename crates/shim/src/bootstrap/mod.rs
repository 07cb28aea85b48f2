//! `start`: finds the shim of a container's group, or becomes it.

mod address;
pub mod delete;
mod dialect;
pub mod info;
mod placement;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::process::own::{self, Forked};
use libcontainer::process::sealed_exe::Sealed;
use libcontainer::process::signals;
use rustix::fs::{CWD, Mode, OFlags};
use serde::Deserialize;

use self::address::Socket;
use self::dialect::Dialect;
use crate::args::Args;
use crate::log::Log;
use crate::options::Options;
use crate::shim::{Setup, Shim};

/// Containers with the same value in the first of these annotations that they have share a shim.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];
/// The most that is read of stdin, as in containerd.
const LONGEST_INPUT: u64 = 10 << 20;
/// What concerns a service that its manager started, and neither hooks nor containers of ours.
const NOT_OURS: [&str; 5] = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"];

/// What containerd has to say on stdin: options, or bootstrap parameters; the end of it soon.
///
/// # Errors
/// If stdin cannot be read.
pub fn read_stdin() -> Result<Vec<u8>, String> {
    let mut input = Vec::new();
    let read = std::io::stdin().lock().take(LONGEST_INPUT).read_to_end(&mut input);
    read.map(|_| input).map_err(|error| format!("reading stdin: {error}"))
}

/// Says where the shim of the container's group is. If there is none yet, this process has a copy of itself be it.
///
/// # Errors
/// If the socket cannot be made, or what the options ask of the shim itself cannot be done.
pub fn start(args: &Args, sealed: Sealed) -> Result<(), String> {
    let dialect = Dialect::of(&read_stdin()?, args);
    let bundle = std::env::current_dir().map_err(|error| format!("the working directory: {error}"))?;
    let group = group_of(&bundle)?.unwrap_or_else(|| args.id.clone());
    let (socket, listener) = match args.socket.as_str() {
        "" => {
            let directory = dialect.socket_directory();
            Socket::find(&directory, dialect.address(args), &args.namespace, &group)?
        }
        path => Socket::at(Path::new(path))?,
    };
    let is_new = listener.is_some();
    let begun = tell_address(&bundle, &socket).and_then(|()| match listener {
        Some(listener) => begin(args, &dialect, &bundle, (socket.path(), listener), sealed),
        None => Ok(()),
    });
    begun.inspect_err(|_| {
        if is_new {
            let _ = std::fs::remove_file(socket.path());
        }
    })?;
    crate::print(&dialect.answer(&socket.address()))
}

/// For containerd up to 1.7, which reads it when it is started anew.
fn tell_address(bundle: &Path, socket: &Socket) -> Result<(), String> {
    std::fs::write(bundle.join("address"), socket.address()).map_err(|error| format!("writing address: {error}"))
}

/// Becomes two: the caller goes on, its copy serves and never returns.
fn begin(
    args: &Args,
    dialect: &Dialect,
    bundle: &Path,
    (socket, listener): (&Path, OwnedFd),
    sealed: Sealed,
) -> Result<(), String> {
    let text = |error: libcontainer::Error| error.to_string();
    let options = Options::from_any(dialect.options().as_ref()).map_err(|status| status.message)?;
    placement::place(&options).map_err(text)?;
    own::forget_environment(&NOT_OURS).map_err(text)?;
    match own::fork().map_err(text)? {
        Forked::Parent(..) => Ok(()),
        Forked::Child => {
            // Whatever containerd's own starter left open is not for a process that stays.
            if own::close_all_but(&[listener.as_fd()]).is_err() {
                own::exit(1);
            }
            let setup = Setup {
                listener,
                socket: socket.to_owned(),
                namespace: args.namespace.clone(),
                events: dialect.events_address(),
                log: Log::open(bundle, &args.id, &args.namespace),
                sealed,
            };
            own::exit(u8::from(serve(setup).is_err()))
        }
    }
}

/// The shim's whole life.
fn serve(setup: Setup) -> Result<(), String> {
    let text = |error: rustix::io::Errno| error.to_string();
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(text)?;
    // containerd reads what `start` says until nobody has the other end.
    rustix::stdio::dup2_stdin(&null).map_err(text)?;
    rustix::stdio::dup2_stdout(&null).map_err(text)?;
    rustix::stdio::dup2_stderr(&null).map_err(text)?;
    drop(null);
    rustix::process::setsid().map_err(text)?;
    // The bundle is to be removed while this process lives.
    rustix::process::chdir("/").map_err(text)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(text)?;
    signals::block_all().map_err(|error| error.to_string())?;
    let mut shim = Shim::new(setup).map_err(|error| error.to_string())?;
    shim.run().map_err(|error| error.to_string())
}

/// The little of config.json that matters here.
#[derive(Default, Deserialize)]
struct Config {
    annotations: Option<BTreeMap<String, String>>,
}

/// The group that a container belongs to, if it names one.
fn group_of(bundle: &Path) -> Result<Option<String>, String> {
    let path: PathBuf = bundle.join("config.json");
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let config: Config = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let annotations = config.annotations.unwrap_or_default();
    Ok(GROUPS.iter().find_map(|name| annotations.get(*name)).cloned())
}
