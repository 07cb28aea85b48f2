//! `$NOTIFY_SOCKET`: a payload that tells its service manager that it is ready (sd_notify(3)).
//!
//! The manager's own socket must not enter the container, and does not exist when `create` runs. So the container gets a
//! directory of its state, in which `start` or `run` binds a socket, and what is said there is relayed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::Store;
use super::store::Entry;
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::spec::{Mount, Spec};

const VARIABLE: &str = "NOTIFY_SOCKET";
const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify.sock";
const IN_CONTAINER: &str = "/run/notify";
/// What sd_notify(3) sends is far shorter.
const LONGEST_MESSAGE: usize = 4096;

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
    pid: Pid,
    init: OwnedFd,
}

impl NotifyRelay {
    /// Binds the container's socket; `None` without a service manager, or if the container was created without one.
    pub(super) fn bind(entry: &Entry, pid: Pid) -> Result<Option<NotifyRelay>> {
        let directory = entry.path().join(DIRECTORY);
        let Some(manager) = manager().filter(|_| directory.is_dir()) else { return Ok(None) };
        let bind = || {
            let path = directory.join(SOCKET);
            let socket = UnixDatagram::bind(&path).sys("bind", path.display())?;
            // Any user of the container may say that it is ready.
            let everyone = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(&path, everyone).sys("chmod", path.display())?;
            socket.set_nonblocking(true).sys("fcntl", path.display())?;
            let init = rustix::process::pidfd_open(pid, PidfdFlags::empty()).sys("pidfd_open", pid.as_raw_pid())?;
            Ok(Some(NotifyRelay { socket, manager, pid, init }))
        };
        bind().during(Phase::Start)
    }

    /// Waits until the payload says that it is ready, or is gone, and passes that on.
    pub fn wait(self) -> Result<()> {
        while !self.forward()? {
            let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let mut watched = [readable(self.socket.as_fd()), readable(self.init.as_fd())];
            match rustix::event::poll(&mut watched, None) {
                Ok(_) if watched.iter().skip(1).any(|init| !init.revents().is_empty()) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("poll", SOCKET, errno).during(Phase::Start)),
            }
        }
        Ok(())
    }

    /// Passes on what the payload has said by now; true once it was that it is ready. The service's main process is
    /// then the container's init.
    pub fn forward(&self) -> Result<bool> {
        let mut message = [0; LONGEST_MESSAGE];
        while let Ok(length) = self.socket.recv(&mut message) {
            let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned();
            if let Some(ready) = text.lines().find(|line| line.starts_with("READY=")) {
                let socket = UnixDatagram::unbound().sys("socket", VARIABLE).during(Phase::Start)?;
                for line in [format!("{ready}\n"), format!("MAINPID={}", self.pid.as_raw_pid())] {
                    let sent = self.address().and_then(|manager| socket.send_to_addr(line.as_bytes(), &manager));
                    sent.sys("sendto", self.manager.display()).during(Phase::Start)?;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A leading `@` is how the abstract name space is written (sd_notify(3)).
    fn address(&self) -> std::io::Result<SocketAddr> {
        match self.manager.as_os_str().as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&self.manager),
        }
    }
}

impl AsFd for NotifyRelay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
