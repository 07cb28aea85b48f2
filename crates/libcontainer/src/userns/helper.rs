//! newuidmap(1) and newgidmap(1): set-user-id programs that map the ids which root has given to a user.

#![allow(clippy::disallowed_methods, reason = "programs and files of the host's, as its user finds them")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{StatVfsMountFlags, stat, statvfs};

use crate::error::{Error, Kind, Result};
use crate::host::{read_file, user_name};
use crate::spec::IdMapping;

/// Where the programs are if PATH does not say: a service's may be short.
const CUSTOMARY: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Which ids a map is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    Users,
    Groups,
}

impl Ids {
    /// The file below /proc/PID.
    pub(super) fn file(self) -> &'static str {
        if self == Ids::Users { "uid_map" } else { "gid_map" }
    }

    fn program(self) -> &'static str {
        if self == Ids::Users { "newuidmap" } else { "newgidmap" }
    }

    fn granted_in(self) -> &'static str {
        if self == Ids::Users { "/etc/subuid" } else { "/etc/subgid" }
    }

    fn field(self) -> &'static str {
        if self == Ids::Users { "linux.uidMappings" } else { "linux.gidMappings" }
    }

    fn flag(self) -> &'static str {
        if self == Ids::Users { "--add-subuids" } else { "--add-subgids" }
    }

    fn own(self) -> u32 {
        match self {
            Ids::Users => rustix::process::getuid().as_raw(),
            Ids::Groups => rustix::process::getgid().as_raw(),
        }
    }
}

/// Has the program write the map of process `pid`.
///
/// # Errors
/// One that says what is missing: the program, its privilege, or the ids.
pub(super) fn map(map: &[IdMapping], ids: Ids, pid: i32) -> Result<()> {
    let name = ids.program();
    let path = find(name).ok_or_else(|| {
        let own = ids.own();
        Error::unsupported(format!(
            "{}: mapping more than one's own id takes {name}, which is not installed",
            ids.field()
        ))
        .remedy(format!("install the package uidmap (or shadow-utils), or map nothing but {own}, size 1"))
    })?;
    let numbers = map.iter().flat_map(|range| [range.container_id, range.host_id, range.size]);
    let mut command = Command::new(&path);
    command.arg(pid.to_string()).args(numbers.map(|number| number.to_string())).stdin(Stdio::null());
    let failed = |said: String| {
        explain(Error::new(Kind::System, format!("{}: {name} failed", ids.field())), map, ids, &path, &said)
    };
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let customary = std::env::split_paths(CUSTOMARY);
    let is_program = |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    std::env::split_paths(&search).chain(customary).map(|directory| directory.join(name)).find(is_program)
}

/// What keeps the program from it, most of which it says as "Operation not permitted" or not at all.
fn explain(error: Error, map: &[IdMapping], ids: Ids, path: &Path, said: &str) -> Error {
    let (name, user) = (path.display(), user_name(rustix::process::getuid().as_raw()));
    if !has_privilege(path) {
        return error
            .cause(format!("{name} has neither the set-user-id bit of root nor file capabilities"))
            .remedy(format!("chown root {name} && chmod u+s {name}, or install its package anew"));
    }
    if statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOSUID)) {
        return error
            .cause(format!("{name} is on a mount with the option nosuid, which takes its privilege away"))
            .remedy("mount it without nosuid");
    }
    if rustix::thread::no_new_privs().unwrap_or(false) {
        return error
            .cause(format!("no_new_privs is set here, which takes the privilege of {name} away"))
            .remedy("start creel without it (systemd: NoNewPrivileges=no)");
    }
    let file = ids.granted_in();
    let granted = granted(&read_file(file).unwrap_or_default(), &user, rustix::process::getuid().as_raw());
    let own = IdMapping { container_id: 0, host_id: ids.own(), size: 1 };
    let outside = map
        .iter()
        .find(|range| **range != IdMapping { container_id: range.container_id, ..own } && !is_within(range, &granted));
    let Some(range) = outside else { return error.cause(said) };
    let wanted = format!("{}-{}", range.host_id, range.host_id.saturating_add(range.size - 1));
    let cause = match granted.as_slice() {
        [] => format!("{file} gives {user} no ids, {wanted} are wanted"),
        some => {
            let some = some.iter().map(|(first, count)| format!("{first}-{}", first.saturating_add(count - 1)));
            format!("{wanted} are wanted, {file} gives {user} {}", some.collect::<Vec<_>>().join(", "))
        }
    };
    error.of_kind(Kind::Invalid).cause(cause).remedy(format!(
        "usermod {} FIRST-LAST {user}, as root, with ids that nobody else has, or map what it has",
        ids.flag()
    ))
}

fn has_privilege(path: &Path) -> bool {
    let setuid = stat(path).is_ok_and(|stat| stat.st_uid == 0 && stat.st_mode & 0o4000 != 0);
    setuid || rustix::fs::getxattr(path, c"security.capability", &mut [0u8; 64]).is_ok()
}

/// The ranges of a user in subuid(5) or subgid(5), as first id and count.
fn granted(file: &[u8], user: &str, uid: u32) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.split(':');
        let whose = fields.next()?;
        let range = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        (whose == user || whose.parse() == Ok(uid)).then_some(range)
    };
    String::from_utf8_lossy(file).lines().filter_map(range).filter(|(_, count)| *count > 0).collect()
}

/// Whether one of the ranges holds all of a mapping.
fn is_within(range: &IdMapping, granted: &[(u32, u32)]) -> bool {
    let end = |first: u32, count: u32| u64::from(first) + u64::from(count);
    let holds =
        |(first, count): &(u32, u32)| range.host_id >= *first && end(range.host_id, range.size) <= end(*first, *count);
    granted.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_number() {
        let file = b"# comment\nalice:100000:65536\nbob:200000:10\n1000:300000:5\nalice:bad:1\nalice:7:0\n";
        assert_eq!(granted(file, "alice", 1000), [(100_000, 65_536), (300_000, 5)]);
        assert_eq!(granted(file, "carol", 1), []);
    }

    #[test]
    fn a_range_is_within_another_or_not() {
        let range = |host_id, size| IdMapping { container_id: 1, host_id, size };
        let granted = [(100_000, 10)];
        assert!(is_within(&range(100_000, 10), &granted));
        assert!(!is_within(&range(100_000, 11), &granted));
        assert!(!is_within(&range(99_999, 2), &granted));
        assert!(!is_within(&range(u32::MAX, 1), &[]));
    }
}
