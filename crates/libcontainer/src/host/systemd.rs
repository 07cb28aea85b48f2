//! Which systemd manager makes this process's units, and what it is like. Only gathered for the systemd cgroup driver.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CgroupFacts, all_users_in, read_file};
use crate::dbus::{Manager, ManagerKind};
use crate::error::{During, Error, Phase, Result, SysContext};

/// The first version that takes any device number instead of the names in /proc/devices.
const DEVICE_NUMBERS: u32 = 240;

/// What the planner of units needs to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SystemdFacts {
    /// Whose manager it is.
    pub manager: ManagerKind,
    /// Its version, such as 252.
    pub version: u32,
    /// The cgroup below which its slices are; `/` for the system's own.
    pub control_group: PathBuf,
    /// By `char-MAJOR` or `block-MAJOR` the name of a driver (`char-pts`); only where systemd is so old that it needs it.
    #[serde(default)]
    pub device_groups: BTreeMap<String, String>,
}

impl SystemdFacts {
    /// Asks the manager that makes units for this process.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](crate::error::Kind::Unsupported) if there is none.
    pub fn gather(cgroups: &CgroupFacts) -> Result<SystemdFacts> {
        let identity =
            rustix::process::geteuid().is_root() && all_users_in(&read_file("/proc/self/uid_map").unwrap_or_default());
        SystemdFacts::of(manager_for(rustix::process::geteuid().as_raw(), identity, cgroups))
    }

    /// Asks this manager.
    ///
    /// # Errors
    /// As [`SystemdFacts::gather`].
    pub fn of(kind: ManagerKind) -> Result<SystemdFacts> {
        ask(kind).during(Phase::Cgroup)
    }
}

fn ask(kind: ManagerKind) -> Result<SystemdFacts> {
    let mut manager = Manager::connect(kind)?;
    let asked = manager.texts(["Version", "ControlGroup"]);
    let [version, control_group] = asked.map_err(|fault| fault.into_error("Get", "Version and ControlGroup"))?;
    let version = parse_version(&version)?;
    let control_group = Path::new("/").join(control_group);
    let device_groups = if version < DEVICE_NUMBERS {
        device_groups(&read_file("/proc/devices").sys("read", "/proc/devices")?)
    } else {
        BTreeMap::new()
    };
    Ok(SystemdFacts { manager: kind, version, control_group, device_groups })
}

/// The system's manager for root, the user's own for others. Root of a user namespace may be either: it is taken for the
/// user whose slice this process is in.
fn manager_for(euid: u32, all_users: bool, cgroups: &CgroupFacts) -> ManagerKind {
    let user_slice = |path: &Path| {
        path.components().any(|component| match component {
            Component::Normal(name) => {
                let name = name.to_str().and_then(|name| name.strip_prefix("user-")?.strip_suffix(".slice"));
                name.and_then(|uid| uid.parse::<u32>().ok()).is_some_and(|uid| uid != 0)
            }
            _ => false,
        })
    };
    let of_a_user = || cgroups.v2.as_ref().is_some_and(|v2| user_slice(&v2.own));
    match euid {
        0 if all_users || !of_a_user() => ManagerKind::System,
        _ => ManagerKind::User,
    }
}

/// Such as `252.38-1~deb12u1`, `v245.4-1.fc32` or `257`.
fn parse_version(text: &str) -> Result<u32> {
    let digits = text.trim_start_matches('v');
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits.get(..end).and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Error::unsupported(format!("systemd's version \"{text}\" is no number")))
}

/// proc_devices(5): two lists of majors and their drivers' names. The first driver of a major counts.
fn device_groups(text: &[u8]) -> BTreeMap<String, String> {
    let mut groups = BTreeMap::new();
    let mut kind = "";
    for line in String::from_utf8_lossy(text).lines() {
        match (line, line.split_whitespace().collect::<Vec<_>>().as_slice()) {
            ("Character devices:", _) => kind = "char",
            ("Block devices:", _) => kind = "block",
            (_, [major, name]) => {
                groups.entry(format!("{kind}-{major}")).or_insert_with(|| format!("{kind}-{name}"));
            }
            _ => {}
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Hierarchy;

    #[test]
    fn versions_of_all_distributions_are_numbers() {
        for (text, version) in [("252.38-1~deb12u1", 252), ("v245.4-1.fc32", 245), ("257", 257), ("239-78.el8", 239)] {
            assert_eq!(parse_version(text), Ok(version));
        }
        assert!(parse_version("").is_err());
    }

    #[test]
    fn root_has_the_systems_manager_and_others_their_own() {
        let facts = |own: &str| CgroupFacts {
            v2: Some(Hierarchy { own: own.into(), ..Hierarchy::default() }),
            ..CgroupFacts::default()
        };
        let session = facts("/user.slice/user-1000.slice/session-1.scope");
        assert_eq!(manager_for(1000, true, &session), ManagerKind::User);
        assert_eq!(manager_for(0, true, &session), ManagerKind::System);
        assert_eq!(manager_for(0, false, &session), ManagerKind::User);
        assert_eq!(manager_for(0, false, &facts("/user.slice/user-0.slice/session-1.scope")), ManagerKind::System);
        assert_eq!(manager_for(0, false, &facts("/system.slice/sshd.service")), ManagerKind::System);
    }

    #[test]
    fn drivers_are_found_by_their_numbers() {
        let text =
            b"Character devices:\n  1 mem\n  4 /dev/vc/0\n  4 tty\n136 pts\n\nBlock devices:\n259 blkext\n  8 sd\n";
        let groups = device_groups(text);
        let name = |key: &str| groups.get(key).map(String::as_str);
        assert_eq!(name("char-136"), Some("char-pts"));
        assert_eq!(name("char-4"), Some("char-/dev/vc/0"));
        assert_eq!(name("block-8"), Some("block-sd"));
        assert_eq!(name("char-8"), None);
    }
}
