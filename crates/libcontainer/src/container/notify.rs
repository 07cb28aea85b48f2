//! `$NOTIFY_SOCKET`: a payload that tells its service manager that it is ready (sd_notify(3)).
//!
//! The manager's own socket must not enter the container, and does not exist when `create` runs. So the container gets a
//! directory of its state, in which `start` or `run` binds a socket, and what is said there is relayed.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::Store;
use super::store::Entry;
use crate::error::{During, Phase, Result, SysContext};
use crate::spec::{Mount, Spec};

const VARIABLE: &str = "NOTIFY_SOCKET";
const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify.sock";
const IN_CONTAINER: &str = "/run/notify";

/// The manager's socket, if this process was started by one.
fn manager() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Adds the directory's mount and the variable to the spec.
pub(super) fn add_to(spec: &mut Spec, store: &Store, id: &str) {
    let (Some(_), Some(process)) = (manager(), &mut spec.process) else { return };
    process.env.push(format!("{VARIABLE}={IN_CONTAINER}/{SOCKET}"));
    spec.mounts.push(Mount {
        destination: IN_CONTAINER.to_owned(),
        source: store.root().join(id).join(DIRECTORY).to_string_lossy().into_owned(),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
}

/// Makes the directory in the container's state.
pub(super) fn make_directory(entry: &Entry) -> Result<()> {
    if manager().is_none() {
        return Ok(());
    }
    rustix::fs::mkdirat(entry, DIRECTORY, Mode::from_raw_mode(0o755)).sys("mkdir", DIRECTORY).during(Phase::State)
}

/// The relay between a container and its service manager.
#[derive(Debug)]
pub struct NotifyRelay {
    socket: UnixDatagram,
    manager: PathBuf,
}

impl NotifyRelay {
    /// Binds the container's socket; `None` without a service manager, or if the container was created without one.
    pub fn bind(store: &Store, id: &str) -> Result<Option<NotifyRelay>> {
        let directory = store.root().join(id).join(DIRECTORY);
        let Some(manager) = manager().filter(|_| directory.is_dir()) else { return Ok(None) };
        let path = directory.join(SOCKET);
        let socket = UnixDatagram::bind(&path).sys("bind", path.display()).during(Phase::Start)?;
        // Any user of the container may say that it is ready.
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&path, everyone).sys("chmod", path.display()).during(Phase::Start)?;
        Ok(Some(NotifyRelay { socket, manager }))
    }

    /// Waits until the payload says that it is ready, or is gone, and passes that on; `pid` becomes the service's main
    /// process.
    pub fn relay_ready(&self, pid: i32, is_gone: impl Fn() -> bool) -> Result<()> {
        let wait = std::time::Duration::from_millis(100);
        self.socket.set_read_timeout(Some(wait)).sys("setsockopt", SOCKET).during(Phase::Start)?;
        let mut message = vec![0; 4096];
        loop {
            match self.socket.recv(&mut message) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned();
                    if let Some(ready) = text.lines().find(|line| line.starts_with("READY=")) {
                        return self.tell(&format!("{ready}\n"), pid);
                    }
                }
                Err(_) if is_gone() => return Ok(()),
                Err(_) => {}
            }
        }
    }

    fn tell(&self, ready: &str, pid: i32) -> Result<()> {
        let send = |text: String| send_to(&self.manager, &text);
        send(ready.to_owned())?;
        send(format!("MAINPID={pid}"))
    }
}

fn send_to(manager: &Path, text: &str) -> Result<()> {
    let socket = UnixDatagram::unbound().sys("socket", VARIABLE).during(Phase::Start)?;
    socket.send_to(text.as_bytes(), manager).sys("sendto", manager.display()).during(Phase::Start).map(drop)
}
