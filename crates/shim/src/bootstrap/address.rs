//! The shim's socket: named after what it is for, as containerd's own shim names it, so that each container of a group
//! finds the same.

use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use sha2::{Digest, Sha256};

/// As many as containerd may connect at once.
const BACKLOG: i32 = 128;
const SCHEME: &str = "unix://";

/// Where a shim listens.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

impl Socket {
    /// The socket of a group; with a listener if there is no shim yet that listens.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn find(
        directory: &Path,
        containerd: &str,
        namespace: &str,
        group: &str,
    ) -> Result<(Socket, Option<OwnedFd>), String> {
        Socket::at(&directory.join(name(containerd, namespace, group)))
    }

    /// The socket of this path, likewise.
    ///
    /// # Errors
    /// As [`Socket::find`].
    pub fn at(path: &Path) -> Result<(Socket, Option<OwnedFd>), String> {
        let failed = |errno: Errno| format!("socket {}: {errno}", path.display());
        if let Some(directory) = path.parent() {
            use std::os::unix::fs::DirBuilderExt;
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|error| format!("mkdir {}: {error}", directory.display()))?;
        }
        let socket = Socket { path: path.to_owned() };
        loop {
            match listen(path) {
                Ok(listener) => return Ok((socket, Some(listener))),
                Err(Errno::ADDRINUSE) => {}
                Err(errno) => return Err(failed(errno)),
            }
            match connect(path) {
                Ok(()) => return Ok((socket, None)),
                // Its shim is gone.
                Err(_) => match rustix::fs::unlink(path) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(failed(errno)),
                },
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its address, as containerd wants it.
    pub fn address(&self) -> String {
        format!("{SCHEME}{}", self.path.display())
    }
}

/// Removes the socket of a group whose shim is gone.
pub fn remove_stale(directory: &Path, containerd: &str, namespace: &str, group: &str) {
    let path = directory.join(name(containerd, namespace, group));
    if connect(&path) == Err(Errno::CONNREFUSED) {
        let _ = rustix::fs::unlink(&path);
    }
}

fn listen(path: &Path) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // From its first moment on it is for its owner only.
    let before = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn connect(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        // It listens, and is busy.
        Err(Errno::AGAIN) => Ok(()),
        other => other,
    }
}

/// The hash of containerd's socket, the namespace and the group, as one clean path.
fn name(containerd: &str, namespace: &str, group: &str) -> String {
    let mut clean = PathBuf::new();
    for component in Path::new(containerd).join(namespace).join(group).components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    let mut name = String::with_capacity(64);
    for byte in Sha256::digest(clean.to_string_lossy().as_bytes()) {
        // Writing to a text does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_are_those_of_containerds_own_shim() {
        // printf %s /run/containerd/containerd.sock/default/c1 | sha256sum
        let expected = "d25aa4ef11a84e954e74a5bcff06557d0b6ea8d0c00243896f29826694bbd888";
        assert_eq!(name("/run/containerd/containerd.sock", "default", "c1"), expected);
        assert_eq!(name("/run//x/../containerd/./containerd.sock", "default", "c1"), expected);
    }

    #[test]
    fn one_listens_and_the_next_finds_it() {
        let directory = std::env::temp_dir().join(format!("creel-test-shim-socket-{}", std::process::id()));
        let find = || Socket::find(&directory, "/c", "ns", "pod").expect("find");
        let (socket, listener) = find();
        assert!(listener.is_some());
        let mode = std::fs::metadata(socket.path()).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (same, second) = find();
        assert!(second.is_none() && same.address() == socket.address());
        drop(listener);
        let (_, third) = find();
        assert!(third.is_some(), "what a dead shim left is replaced");
        drop(third);
        remove_stale(&directory, "/c", "ns", "pod");
        assert!(!socket.path().exists());
        std::fs::remove_dir_all(&directory).expect("remove");
    }
}
