//! Talking to systemd's managers over D-Bus: a small blocking client, which starts no thread and leaves nothing open
//! (docs/adr/0004-d-bus-by-zbus-wire-format.md has the choice and what it costs).
//!
//! | file | what |
//! |---|---|
//! | `manager` | systemd's system and user managers: where they are, their methods and jobs |
//! | `connection` | a socket, authentication, calls and replies within a time limit |
//! | `message`, `value` | the wire format, which the zbus library encodes and checks |
//! | `address` | D-Bus addresses of sockets |

mod address;
mod connection;
mod manager;
mod message;
mod value;

pub use manager::{Manager, ManagerKind};
pub use value::Value;

use rustix::io::Errno;

use crate::error::{Error, Kind};

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The peer's answer is an error.
    Remote {
        /// Such as `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// What it says to people.
        text: String,
    },
    /// A system call on the socket failed.
    System(Errno),
    /// The socket's owner does not let this user in.
    Refused,
    /// The peer has closed the connection.
    Closed,
    /// There was no answer in time.
    TimedOut,
    /// Something that is no D-Bus message was received, or not the type of answer that was expected.
    Garbled,
    /// A value cannot be expressed in the wire format, or what was received is not in it.
    Malformed(String),
}

impl Fault {
    /// Whether it is the peer's error of this name, without what all of systemd's errors begin with.
    pub fn is(&self, error: &str) -> bool {
        matches!(self, Fault::Remote { name, .. } if name.strip_prefix("org.freedesktop.systemd1.") == Some(error))
    }

    /// The failure of calling `method` about `subject`.
    pub fn into_error(self, method: &str, subject: &str) -> Error {
        let what = format!("{subject}: {method}");
        let failed = |how: &str| Error::new(Kind::System, format!("{what}: {how}"));
        match self {
            Fault::Remote { name, text } => {
                let (name, remedy) = (name.as_str(), remedy_of(&name));
                let error = failed(name).cause(text);
                remedy.map_or(error.clone(), |remedy| error.remedy(remedy))
            }
            Fault::System(errno) => Error::system("D-Bus", what, errno),
            Fault::Refused => failed("systemd's D-Bus socket refuses this user"),
            Fault::Closed => failed("systemd closed the D-Bus connection").remedy("try again when it is up"),
            Fault::TimedOut => {
                failed("systemd did not answer in time").remedy("see what it is busy with: systemctl list-jobs")
            }
            Fault::Garbled => failed("systemd's answer is not what was expected"),
            Fault::Malformed(why) => failed(&why),
        }
    }
}

fn remedy_of(name: &str) -> Option<&'static str> {
    match name {
        "org.freedesktop.DBus.Error.AccessDenied" | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
            Some("run it as root, or in a session with a systemd user manager")
        }
        "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
            Some("systemd is not on that bus; leave out --systemd-cgroup, and give linux.cgroupsPath as a path")
        }
        _ => None,
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        Fault::System(errno)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Errno::from_io_error(&error).map_or_else(|| Fault::Malformed(error.to_string()), Fault::System)
    }
}

impl From<zbus::Error> for Fault {
    fn from(error: zbus::Error) -> Fault {
        Fault::Malformed(error.to_string())
    }
}
