//! Where the cgroup hierarchies are mounted and where this process sits in them.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;
use serde::{Deserialize, Serialize};

use super::file::read_file;
use crate::error::{Result, SysContext};

/// The directory that every distribution mounts the hierarchies in.
const CUSTOMARY: &str = "/sys/fs/cgroup";

/// How control groups are laid out on this host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// The v1 hierarchies that are mounted, in the order of /proc/self/mountinfo; empty on a pure v2 host.
    pub v1: Vec<Hierarchy>,
    /// The v2 hierarchy, if it is mounted: at /sys/fs/cgroup (unified) or beside v1 (hybrid).
    pub v2: Option<Hierarchy>,
    /// What a caller who is not the host's root has of them; absent: everything.
    #[serde(default)]
    pub delegation: Option<Delegation>,
}

/// What of the cgroups was given to a caller who is not the host's root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delegation {
    /// Whether a container may do without those that the caller may not make.
    pub tolerant: bool,
    /// Whether the kernel has him decide on devices (CAP_SYS_ADMIN, CAP_BPF).
    pub devices: bool,
    /// The mount points of the hierarchies in which he may make a cgroup where a container has its own by default.
    pub mountpoints: Vec<PathBuf>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// v1: its controllers (`cpu`, `cpuacct`), or `name=systemd` for a named one. v2: those in cgroup.controllers.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The directory below `mountpoint` that this process is in, absolute within the hierarchy (`/` for its root).
    pub own: PathBuf,
}

impl Hierarchy {
    /// v2: where a container goes by default, as with runc: beside the caller's own cgroup, which has processes in it and so
    /// cannot pass controllers on to a child.
    pub fn place_for_siblings(&self) -> &Path {
        self.own.parent().unwrap_or(&self.own)
    }
}

impl CgroupFacts {
    /// Reads /proc/self/mountinfo, /proc/self/cgroup and, where v2 is mounted, its cgroup.controllers.
    ///
    /// # Errors
    /// If one of the two files in /proc cannot be read.
    pub fn gather() -> Result<CgroupFacts> {
        let read = |path: &str| read_file(path).sys("read", path);
        let mut facts = parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        if let Some(v2) = &mut facts.v2 {
            // The file is hidden where somebody keeps programs off v2; the hierarchy then has no controller to offer.
            let text = read_file(v2.mountpoint.join("cgroup.controllers")).unwrap_or_default();
            v2.controllers = String::from_utf8_lossy(&text).split_whitespace().map(str::to_owned).collect();
        }
        Ok(facts)
    }

    /// Looks where the caller may make a cgroup: he needs the directory that it is to be in.
    pub(super) fn find_delegated(&mut self, tolerant: bool, rootless: bool) {
        let may = |one: &Hierarchy, start: &Path| {
            let start = one.mountpoint.join(start.strip_prefix("/").unwrap_or(start));
            rustix::fs::access(&start, Access::WRITE_OK | Access::EXEC_OK).is_ok().then(|| one.mountpoint.clone())
        };
        let v1 = self.v1.iter().filter_map(|one| may(one, &one.own));
        // Beside v1, v2's default place is below its root.
        let v2 = self.v2.iter().filter_map(|one| match self.v1.is_empty() {
            true => may(one, one.place_for_siblings()),
            false => may(one, Path::new("/")),
        });
        let mountpoints = v1.chain(v2).collect();
        self.delegation = Some(Delegation { tolerant, devices: !rootless, mountpoints });
    }

    /// Whether a container's rules for devices are set: the kernel takes them from the host's root only. Others cannot make
    /// device nodes either, and their containers reach those that are bound.
    pub fn decides_on_devices(&self) -> bool {
        self.delegation.as_ref().is_none_or(|delegation| delegation.devices)
    }

    /// Whether the v1 hierarchies are absent, so that v2 governs everything.
    pub fn is_unified(&self) -> bool {
        self.v1.is_empty() && self.v2.is_some()
    }
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
pub(super) struct Mount<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    root: &'a [u8],
    pub(super) mountpoint: &'a [u8],
    pub(super) filesystem: &'a [u8],
    options: &'a [u8],
}

impl<'a> Mount<'a> {
    /// The fields are divided by spaces, and a lone `-` ends the optional ones.
    pub(super) fn parse(line: &'a [u8]) -> Option<Mount<'a>> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (id, parent, _device) = (fields.next()?, fields.next()?, fields.next()?);
        let (root, mountpoint) = (fields.next()?, fields.next()?);
        fields.find(|field| *field == b"-")?;
        let (filesystem, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Mount { id, parent, root, mountpoint, filesystem, options })
    }

    fn is_customary(&self) -> bool {
        self.mountpoint.starts_with(CUSTOMARY.as_bytes())
    }

    /// Whether the hierarchy with this controller, or name, is what is mounted.
    fn holds(&self, controller: &str) -> bool {
        self.options.split(|byte| *byte == b',').any(|option| option == controller.as_bytes())
    }

    /// `path` of /proc/self/cgroup as seen below the mount point. A path outside of what is mounted (in a container
    /// without a cgroup namespace, or `/..` in one) can only be answered with the mount's root.
    fn own(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(unescape(self.root)).unwrap_or(Path::new(""));
        let plain = below.components().all(|component| matches!(component, Component::Normal(_)));
        Path::new("/").join(if plain { below } else { Path::new("") })
    }
}

/// The facts but for v2's controllers.
fn parse(mountinfo: &[u8], cgroup: &[u8]) -> CgroupFacts {
    let lines = || mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::parse);
    // What is mounted over cannot be reached by its path.
    let covered = |mount: &Mount| lines().any(|over| over.parent == mount.id && over.mountpoint == mount.mountpoint);
    let mut mounts: Vec<Mount> = lines()
        .filter(|mount| matches!(mount.filesystem, b"cgroup" | b"cgroup2"))
        .filter(|mount| !covered(mount))
        .collect();
    // Stable, so that mountinfo's order is kept among the customary ones and among the others.
    mounts.sort_by_key(|mount| !mount.is_customary());

    let mut facts = CgroupFacts::default();
    let mut v1: Vec<(usize, Hierarchy)> = Vec::new();
    for (controllers, path) in cgroup.split(|byte| *byte == b'\n').filter_map(membership) {
        let Some(first) = controllers.first() else {
            if let Some(mount) = mounts.iter().find(|mount| mount.filesystem == b"cgroup2") {
                facts.v2 =
                    Some(Hierarchy { controllers, mountpoint: unescape(mount.mountpoint), own: mount.own(path) });
            }
            continue;
        };
        let found = mounts.iter().enumerate().find(|(_, mount)| mount.filesystem == b"cgroup" && mount.holds(first));
        if let Some((order, mount)) = found {
            let (mountpoint, own) = (unescape(mount.mountpoint), mount.own(path));
            v1.push((order, Hierarchy { controllers, mountpoint, own }));
        }
    }
    v1.sort_by_key(|(order, _)| *order);
    // With v2 at the customary place the host is a unified one, whatever named v1 hierarchy is mounted for old guests.
    if facts.v2.as_ref().is_none_or(|v2| v2.mountpoint != Path::new(CUSTOMARY)) {
        facts.v1 = v1.into_iter().map(|(_, hierarchy)| hierarchy).collect();
    }
    facts
}

/// A line of /proc/self/cgroup (cgroups(7)): its controllers, none for v2, and the path.
fn membership(line: &[u8]) -> Option<(Vec<String>, &Path)> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let controllers = std::str::from_utf8(controllers).ok()?;
    let controllers = controllers.split(',').filter(|controller| !controller.is_empty()).map(str::to_owned).collect();
    Some((controllers, Path::new(OsStr::from_bytes(path))))
}

/// Undoes the kernel's `\040` for a space (and tab, newline, backslash, number sign).
pub(super) fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        match octal {
            Some(digits) => {
                bytes.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(controllers: &[&str], mountpoint: &str, own: &str) -> Hierarchy {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Hierarchy { controllers, mountpoint: mountpoint.into(), own: own.into() }
    }

    #[test]
    fn hybrid_hierarchies_keep_the_order_of_mountinfo_and_the_own_paths() {
        let mountinfo = b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            31 20 0:28 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw shared:10 master:3 - cgroup2 cgroup2 rw,nsdelegate\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let cgroup =
            b"5:memory:/outer/inner\n4:cpu,cpuacct:/\n3:pids:/not-mounted\n1:name=systemd:/init.scope\n0::/user\n";
        assert_eq!(
            parse(mountinfo, cgroup),
            CgroupFacts {
                v1: vec![
                    hierarchy(&["name=systemd"], "/sys/fs/cgroup/systemd", "/init.scope"),
                    hierarchy(&["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct", "/"),
                    hierarchy(&["memory"], "/sys/fs/cgroup/memory", "/outer/inner"),
                ],
                v2: Some(hierarchy(&[], "/sys/fs/cgroup/unified", "/user")),
                delegation: None,
            }
        );
    }

    #[test]
    fn v2_at_the_customary_place_makes_the_host_unified() {
        let mountinfo = b"31 20 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let facts = parse(mountinfo, b"1:name=systemd:/\n0::/user.slice/user-1000.slice/session-1.scope\n");
        assert!(facts.is_unified());
        assert_eq!(facts.v2, Some(hierarchy(&[], "/sys/fs/cgroup", "/user.slice/user-1000.slice/session-1.scope")));
    }

    #[test]
    fn customary_mounts_win_and_covered_ones_lose() {
        let mountinfo = b"30 20 0:32 / /mnt/memory rw - cgroup cgroup rw,memory\n\
            31 20 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            32 20 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            33 32 0:50 / /sys/fs/cgroup/pids rw - tmpfs tmpfs rw\n\
            34 20 0:33 / /run/my\\040own\\134pids rw - cgroup cgroup rw,pids\n";
        let facts = parse(mountinfo, b"2:pids:/\n1:memory:/\n");
        let mountpoints: Vec<_> = facts.v1.iter().map(|one| one.mountpoint.as_path()).collect();
        assert_eq!(mountpoints, [Path::new("/sys/fs/cgroup/memory"), Path::new("/run/my own\\pids")]);
    }

    #[test]
    fn the_own_path_is_relative_to_what_is_mounted_and_never_leads_out_of_it() {
        let own = |root: &str, path: &str| {
            let mountinfo = format!("31 20 0:32 {root} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
            parse(mountinfo.as_bytes(), format!("1:memory:{path}\n").as_bytes()).v1[0].own.clone()
        };
        assert_eq!(own("/docker/c1", "/docker/c1/sub"), Path::new("/sub"));
        assert_eq!(own("/docker/c1", "/docker/c1"), Path::new("/"));
        assert_eq!(own("/docker/c1", "/docker/c10"), Path::new("/"));
        assert_eq!(own("/", "/../../other"), Path::new("/"));
        assert_eq!(own("/..", "/"), Path::new("/"));
    }

    #[test]
    fn this_host_is_read() {
        let facts = CgroupFacts::gather().expect("gather");
        for hierarchy in facts.v1.iter().chain(&facts.v2) {
            assert!(hierarchy.mountpoint.join("cgroup.procs").exists(), "{hierarchy:?}");
            assert!(hierarchy.own.is_absolute(), "{hierarchy:?}");
        }
        let lines = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert_eq!(facts.v2.is_some(), lines.contains(" - cgroup2 "));
    }
}
