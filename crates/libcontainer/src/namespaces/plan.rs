//! From `linux.namespaces` to what is made and what is joined.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::spec::Namespace;

/// A kind of namespace that this runtime makes and joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names are the spec's own
pub enum Kind {
    User,
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

impl Kind {
    /// Every kind, in the order in which they are joined: mount late, since it changes what paths mean, and user last,
    /// since only the host's root may join what belongs to the host.
    pub const ALL: [Kind; 8] =
        [Kind::Pid, Kind::Network, Kind::Ipc, Kind::Uts, Kind::Cgroup, Kind::Time, Kind::Mount, Kind::User];

    /// The spec's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Pid => "pid",
            Kind::Network => "network",
            Kind::Mount => "mount",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Cgroup => "cgroup",
            Kind::Time => "time",
        }
    }

    /// Its name in /proc/PID/ns.
    pub fn file(self) -> &'static str {
        match self {
            Kind::Network => "net",
            Kind::Mount => "mnt",
            other => other.name(),
        }
    }

    /// Its `CLONE_NEW*` flag.
    pub fn flag(self) -> u64 {
        (match self {
            Kind::User => libc::CLONE_NEWUSER,
            Kind::Pid => libc::CLONE_NEWPID,
            Kind::Network => libc::CLONE_NEWNET,
            Kind::Mount => libc::CLONE_NEWNS,
            Kind::Ipc => libc::CLONE_NEWIPC,
            Kind::Uts => libc::CLONE_NEWUTS,
            Kind::Cgroup => libc::CLONE_NEWCGROUP,
            Kind::Time => libc::CLONE_NEWTIME,
        }) as u64
    }
}

/// A namespace that exists already and is entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// Its kind.
    pub kind: Kind,
    /// Where it is bound, usually /proc/PID/ns/*.
    pub path: PathBuf,
    /// Its index in `linux.namespaces`, for messages.
    pub index: usize,
}

/// What is made and what is joined; all other kinds are the runtime's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NamespacesPlan {
    /// Kinds of which a new one is made.
    pub new: Vec<Kind>,
    /// Those that are joined, in the order of joining.
    pub join: Vec<Join>,
}

impl NamespacesPlan {
    /// Whether the container has a new namespace of this kind.
    pub fn makes(&self, kind: Kind) -> bool {
        self.new.contains(&kind)
    }

    /// Whether it joins one of this kind.
    pub fn joins(&self, kind: Kind) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }

    /// Whether the container's namespace of this kind is not the runtime's own.
    pub fn has(&self, kind: Kind) -> bool {
        self.makes(kind) || self.joins(kind)
    }

    /// The `CLONE_NEW*` flags of all kinds that the container does not share with the runtime.
    pub fn flags(&self) -> u64 {
        self.new_flags() | self.join.iter().fold(0, |flags, join| flags | join.kind.flag())
    }

    /// The `CLONE_NEW*` flags of the kinds that are made.
    pub fn new_flags(&self) -> u64 {
        self.new.iter().fold(0, |flags, kind| flags | kind.flag())
    }

    /// The `CLONE_NEW*` flags of the kinds that a process can only be born into, or must be born into: in a user
    /// namespace that it made itself it would have to wait for its maps with the wrong ids.
    pub fn birth_flags(&self) -> u64 {
        self.new_flags() & (Kind::User.flag() | Kind::Pid.flag())
    }

    /// The `CLONE_NEW*` flags of the kinds that a process makes for itself: into a new time namespace it is born as well,
    /// but its parent makes that ([`make_time`](super::make_time)).
    pub fn unshare_flags(&self) -> u64 {
        self.new_flags() & !(self.birth_flags() | Kind::Time.flag())
    }

    /// Whether somebody must come before the container's process: joining a PID namespace only takes effect for children,
    /// a new one belongs to a joined user namespace only if it is made in there, and nothing can be joined any more from
    /// inside a new user namespace.
    pub fn needs_stage(&self) -> bool {
        self.joins(Kind::Pid)
            || (self.joins(Kind::User) && self.makes(Kind::Pid))
            || (self.makes(Kind::User) && !self.join.is_empty())
    }
}

/// Plans `linux.namespaces`.
///
/// # Errors
/// For an unknown or repeated type and for a relative path.
pub fn plan(namespaces: &[Namespace]) -> Result<NamespacesPlan> {
    let mut plan = NamespacesPlan::default();
    for (index, namespace) in namespaces.iter().enumerate() {
        let field = |name: &str| format!("linux.namespaces[{index}].{name}");
        let kind = kind_of(&namespace.kind).map_err(|error| error.within(field("type")))?;
        if plan.has(kind) {
            return Err(Error::invalid(field("type"), format!("{} is listed twice", kind.name())));
        }
        if namespace.path.is_empty() {
            plan.new.push(kind);
        } else if Path::new(&namespace.path).is_absolute() {
            plan.join.push(Join { kind, path: PathBuf::from(&namespace.path), index });
        } else {
            return Err(Error::invalid(field("path"), format!("\"{}\" is not an absolute path", namespace.path)));
        }
    }
    let position = |join: &Join| Kind::ALL.iter().position(|kind| *kind == join.kind);
    plan.join.sort_by_key(position);
    Ok(plan)
}

fn kind_of(name: &str) -> Result<Kind> {
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) {
        return Ok(kind);
    }
    Err(Error::new(crate::error::Kind::Invalid, format!("\"{name}\" is no kind of namespace"))
        .remedy("use pid, network, mount, ipc, uts, cgroup, time or user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(kind: &str, path: &str) -> Namespace {
        Namespace { kind: kind.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn mount_namespaces_are_joined_late_and_user_namespaces_last() {
        let list = [
            namespace("user", "/proc/1/ns/user"),
            namespace("mount", "/proc/1/ns/mnt"),
            namespace("pid", ""),
            namespace("ipc", "/proc/1/ns/ipc"),
        ];
        let plan = plan(&list).expect("valid");
        assert_eq!(plan.join.iter().map(|join| join.kind).collect::<Vec<_>>(), [Kind::Ipc, Kind::Mount, Kind::User]);
        assert_eq!(plan.new, [Kind::Pid]);
    }

    #[test]
    fn a_stage_is_for_what_one_process_cannot_do() {
        let [pid, user, net] = ["pid", "user", "network"];
        for (list, staged) in [
            (&[(pid, ""), (user, ""), (net, "")][..], false),
            (&[(pid, ""), (net, "/n")], false),
            (&[(pid, "/p"), (net, "")], true),
            (&[(user, "/u"), (net, "/n")], false),
            (&[(user, "/u"), (pid, "")], true),
            (&[(user, ""), (net, "/n")], true),
        ] {
            let list: Vec<Namespace> = list.iter().map(|(kind, path)| namespace(kind, path)).collect();
            assert_eq!(plan(&list).expect("valid").needs_stage(), staged, "{list:?}");
        }
    }

    #[test]
    fn bad_namespaces_are_refused_by_field() {
        for (list, text) in [
            (vec![namespace("pid", ""), namespace("pid", "")], "linux.namespaces[1].type: pid is listed twice"),
            (vec![namespace("net", "")], "linux.namespaces[0].type: \"net\" is no kind of namespace"),
            (vec![namespace("ipc", "proc/1/ns/ipc")], "is not an absolute path"),
        ] {
            let error = plan(&list).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
