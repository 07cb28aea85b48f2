//! Where a bus, or a manager itself, listens.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A socket of this machine.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Socket {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Socket {
    /// The sockets in a list of D-Bus addresses (D-Bus specification, "Server Addresses"), such as
    /// `unix:path=/run/user/1000/bus;unix:abstract=/tmp/x,guid=0123`. Other transports are left out.
    pub(super) fn parse_list(addresses: &str) -> Vec<Socket> {
        addresses.split(';').filter_map(Socket::parse).collect()
    }

    fn parse(address: &str) -> Option<Socket> {
        address.strip_prefix("unix:")?.split(',').find_map(|pair| match pair.split_once('=')? {
            ("path", value) => Some(Socket::Path(PathBuf::from(std::ffi::OsString::from_vec(unescape(value)?)))),
            ("abstract", value) => Some(Socket::Abstract(unescape(value)?)),
            _ => None,
        })
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        match self {
            Socket::Path(path) => SocketAddr::from_pathname(path),
            Socket::Abstract(name) => SocketAddr::from_abstract_name(name),
        }
    }
}

impl From<&Path> for Socket {
    fn from(path: &Path) -> Socket {
        Socket::Path(path.to_owned())
    }
}

impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Socket::Path(path) => path.display().fmt(f),
            Socket::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// `%20` and the like.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        plain.push(if byte == b'%' { (digit()? * 16 + digit()?) as u8 } else { byte });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_sockets_are_understood_and_others_are_left_out() {
        let path = |path: &str| Socket::Path(path.into());
        assert_eq!(Socket::parse_list("unix:path=/run/user/1000/bus"), [path("/run/user/1000/bus")]);
        assert_eq!(
            Socket::parse_list("tcp:host=localhost;unix:guid=01,path=/a%20b;unix:abstract=/tmp/x;unix:tmpdir=/tmp"),
            [path("/a b"), Socket::Abstract(b"/tmp/x".to_vec())]
        );
        assert_eq!(Socket::parse_list("unix:path=/a%2"), []);
        assert_eq!(Socket::parse_list(""), []);
    }
}
