//! systemd's managers (org.freedesktop.systemd1(5)): process 1, and each user's own.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zbus::ObjectPath;
use zbus::wire::Variant;

use super::address::Socket;
use super::connection::{Connection, introduction};
use super::message::{Call, Message};
use super::{Fault, Value};
use crate::error::{Error, Result};

const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Of all signals, the ends of jobs; a manager sends them to whoever has started the job.
const RULE: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
                    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// How long a connection waits for anything, all together.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManagerKind {
    /// Process 1.
    #[default]
    System,
    /// The user's own.
    User,
}

/// A connection to a manager.
#[derive(Debug)]
pub struct Manager {
    connection: Connection,
    /// Whether there is a bus in between.
    on_bus: bool,
}

impl Manager {
    /// Connects to the manager itself, as systemctl(1) does, or else over its bus; for at most 30 seconds, after which
    /// every call fails.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](crate::error::Kind::Unsupported) if no manager can be reached.
    pub fn connect(kind: ManagerKind) -> Result<Manager> {
        let deadline = Instant::now() + PATIENCE;
        let mut failures = Vec::new();
        for (socket, on_bus) in candidates(kind) {
            match Manager::open(&socket, on_bus, deadline) {
                Ok(manager) => return Ok(manager),
                Err(Fault::System(Errno::NOENT)) => failures.push(format!("there is no {socket}")),
                Err(fault) => failures.push(fault.into_error("connect", &socket.to_string()).to_string()),
            }
        }
        let (what, remedy) = match kind {
            ManagerKind::System => {
                ("systemd is not running here", "leave out --systemd-cgroup, and give linux.cgroupsPath as a path")
            }
            ManagerKind::User => (
                "this user has no systemd manager here",
                "run it in a login session, or set XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS to that of one",
            ),
        };
        failures.dedup();
        let error = Error::unsupported(what).remedy(remedy);
        Err(if failures.is_empty() { error } else { error.cause(failures.join(", ")) })
    }

    fn open(socket: &Socket, on_bus: bool, deadline: Instant) -> Result<Manager, Fault> {
        let mut connection = Connection::open(socket, deadline)?;
        if on_bus {
            for serial in connection.send(&introduction(&[Value::from(RULE)]))? {
                connection.reply(serial)?;
            }
        }
        Ok(Manager { connection, on_bus })
    }

    /// Calls a method of the manager whose result does not matter.
    pub fn call(&mut self, method: &str, arguments: &[Value]) -> Result<(), Fault> {
        self.ask(OBJECT, INTERFACE, method, arguments).map(drop)
    }

    fn ask(&mut self, path: &str, interface: &str, member: &str, arguments: &[Value]) -> Result<Message, Fault> {
        let destination = self.on_bus.then_some(NAME);
        let sent = self.connection.send(&[Call { destination, path, interface, member, arguments }])?;
        self.connection.reply(sent.first().copied().unwrap_or_default())
    }

    /// Calls a method that starts a job, and waits for its end; gives its result, `done` if all went well.
    pub fn run_job(&mut self, method: &str, arguments: &[Value]) -> Result<String, Fault> {
        let reply = self.ask(OBJECT, INTERFACE, method, arguments)?;
        let job: ObjectPath<'_> = reply.body()?;
        self.connection.signal("JobRemoved", |signal| {
            let (_, ended, _, result): (u32, ObjectPath<'_>, &str, &str) = signal.body().ok()?;
            (ended == job).then(|| result.to_owned())
        })
    }

    /// Text properties of the manager itself, all asked for at once.
    pub fn texts<const N: usize>(&mut self, properties: [&str; N]) -> Result<[String; N], Fault> {
        let destination = self.on_bus.then_some(NAME);
        let arguments = properties.map(|property| [Value::from(INTERFACE), Value::from(property)]);
        let calls: Vec<Call<'_>> = arguments
            .iter()
            .map(|arguments| Call { destination, path: OBJECT, interface: PROPERTIES, member: "Get", arguments })
            .collect();
        let mut texts = [const { String::new() }; N];
        for (serial, text) in self.connection.send(&calls)?.into_iter().zip(&mut texts) {
            *text = text_in(&self.connection.reply(serial)?)?;
        }
        Ok(texts)
    }

    /// A text property of a loaded unit; `interface` is that of the unit's type, such as `Scope`, or `Unit`.
    pub fn unit_text(&mut self, unit: &str, interface: &str, property: &str) -> Result<String, Fault> {
        let reply = self.ask(OBJECT, INTERFACE, "GetUnit", &[Value::from(unit)])?;
        let path: ObjectPath<'_> = reply.body()?;
        self.text_of(path.as_str(), &format!("{NAME}.{interface}"), property)
    }

    fn text_of(&mut self, path: &str, interface: &str, property: &str) -> Result<String, Fault> {
        let reply = self.ask(path, PROPERTIES, "Get", &[Value::from(interface), Value::from(property)])?;
        text_in(&reply)
    }
}

fn text_in(reply: &Message) -> Result<String, Fault> {
    match reply.body()? {
        Variant::Str(text) => Ok(text.to_string()),
        _ => Err(Fault::Garbled),
    }
}

/// The sockets to try, in order, and whether a bus is behind them.
fn candidates(kind: ManagerKind) -> Vec<(Socket, bool)> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let buses = |addresses: Option<std::ffi::OsString>| {
        let addresses = addresses.map(|addresses| addresses.to_string_lossy().into_owned()).unwrap_or_default();
        Socket::parse_list(&addresses).into_iter().map(|socket| (socket, true)).collect::<Vec<_>>()
    };
    match kind {
        ManagerKind::System => {
            let mut all = vec![(Socket::from(Path::new("/run/systemd/private")), false)];
            all.append(&mut buses(variable("DBUS_SYSTEM_BUS_ADDRESS")));
            all.push((Socket::from(Path::new("/run/dbus/system_bus_socket")), true));
            all
        }
        ManagerKind::User => {
            let runtime_dir = variable("XDG_RUNTIME_DIR");
            let below = |path: &str| runtime_dir.as_ref().map(|dir| Socket::from(Path::new(dir).join(path).as_path()));
            let mut all: Vec<_> = below("systemd/private").map(|socket| (socket, false)).into_iter().collect();
            all.append(&mut buses(variable("DBUS_SESSION_BUS_ADDRESS")));
            all.extend(below("bus").map(|socket| (socket, true)));
            all
        }
    }
}
