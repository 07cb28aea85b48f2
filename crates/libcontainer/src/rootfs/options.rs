//! Mount options: one table of names, and what a list of them adds up to.

use std::fmt;

use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use serde::{Serialize, Serializer};

use super::plan_label::is_label;

/// Attributes of a mount (not of its filesystem): `MOUNT_ATTR_*` of mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub(super) u64);

impl Attributes {
    /// None.
    pub const NONE: Attributes = Attributes(0);
    /// Read-only.
    pub const RDONLY: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR_RDONLY);
    /// Set-user-id bits are ignored.
    pub const NOSUID: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR_NOSUID);
    /// Device nodes do not work.
    pub const NODEV: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR_NODEV);
    /// Nothing can be executed.
    pub const NOEXEC: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR_NOEXEC);
    /// Access times are not kept.
    pub const NOATIME: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR_NOATIME);
    /// Access times are always kept.
    pub const STRICTATIME: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR_STRICTATIME);
    /// The mask of the three values of access time; none of its bits is `relatime`.
    pub const ATIME: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR__ATIME);
    /// Access times of directories are not kept.
    pub const NODIRATIME: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR_NODIRATIME);
    /// Symlinks are not followed (since Linux 5.14).
    pub const NOSYMFOLLOW: Attributes = Attributes::of(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW);

    const fn of(flag: MountAttrFlags) -> Attributes {
        Attributes(flag.bits() as u64)
    }

    /// Both.
    pub const fn and(self, other: Attributes) -> Attributes {
        Attributes(self.0 | other.0)
    }

    /// Those that are not in `other`.
    pub const fn without(self, other: Attributes) -> Attributes {
        Attributes(self.0 & !other.0)
    }

    /// Whether all of `other` are in it.
    pub const fn has(self, other: Attributes) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it is [`Attributes::NONE`].
    pub const fn is_none(&self) -> bool {
        self.0 == 0
    }

    /// As the first flags argument of fsmount(2).
    pub(super) fn to_fsmount(self) -> MountAttrFlags {
        MountAttrFlags::from_bits_retain(self.0 as u32)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::new();
        if self.has(Attributes::ATIME) {
            names.push("atime*"); // the whole mask, as it is cleared before one of its values is set
        }
        for (attribute, name) in [
            (Attributes::RDONLY, "ro"),
            (Attributes::NOSUID, "nosuid"),
            (Attributes::NODEV, "nodev"),
            (Attributes::NOEXEC, "noexec"),
            (Attributes::NOATIME, "noatime"),
            (Attributes::STRICTATIME, "strictatime"),
            (Attributes::NODIRATIME, "nodiratime"),
            (Attributes::NOSYMFOLLOW, "nosymfollow"),
        ] {
            let in_mask = self.has(Attributes::ATIME) && Attributes::ATIME.has(attribute);
            if self.has(attribute) && !in_mask {
                names.push(name);
            }
        }
        f.write_str(&names.join(","))
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How mount and unmount events pass between a mount and its peers (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names are mount(8)'s
pub enum Propagation {
    Shared,
    Slave,
    Private,
    Unbindable,
}

impl Propagation {
    /// `MS_SHARED` and its kin.
    pub(super) fn bits(self) -> u64 {
        let flag = match self {
            Propagation::Shared => MountPropagationFlags::SHARED,
            Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
            Propagation::Private => MountPropagationFlags::PRIVATE,
            Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
        };
        u64::from(flag.bits())
    }

    /// The type and whether it is recursive, of an option such as `rslave`.
    pub(super) fn named(name: &str) -> Option<(Propagation, bool)> {
        match lookup(name)? {
            Meaning::Propagation(propagation, recursive) => Some((propagation, recursive)),
            _ => None,
        }
    }
}

/// How a mount keeps access times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atime {
    Relative,
    None,
    Strict,
}

impl Atime {
    pub(super) fn attribute(self) -> Attributes {
        match self {
            Atime::Relative => Attributes::NONE,
            Atime::None => Attributes::NOATIME,
            Atime::Strict => Attributes::STRICTATIME,
        }
    }
}

/// What an option means.
#[derive(Clone, Copy)]
enum Meaning {
    /// What is so anyway.
    Default,
    Bind(bool),
    Remount,
    Set(Attributes),
    Clear(Attributes),
    Atime(Atime),
    NotAtime(Atime),
    /// A parameter of any filesystem, and the parameter that it takes back.
    Filesystem(&'static str, &'static str),
    Propagation(Propagation, bool),
    RecursiveSet(Attributes),
    RecursiveClear(Attributes),
    RecursiveAtime(Atime),
    CopyUp,
    CopySymlink,
    SourceNoFollow,
    DestinationNoFollow,
    Idmap(bool),
}

/// config.md "Linux mount options", and three of crun's; sorted by name.
const TABLE: &[(&str, Meaning)] = &[
    ("async", Meaning::Filesystem("async", "sync")),
    ("atime", Meaning::NotAtime(Atime::None)),
    ("bind", Meaning::Bind(false)),
    ("copy-symlink", Meaning::CopySymlink),
    ("defaults", Meaning::Default),
    ("dest-nofollow", Meaning::DestinationNoFollow),
    ("dev", Meaning::Clear(Attributes::NODEV)),
    ("diratime", Meaning::Clear(Attributes::NODIRATIME)),
    ("dirsync", Meaning::Filesystem("dirsync", "")),
    ("exec", Meaning::Clear(Attributes::NOEXEC)),
    ("idmap", Meaning::Idmap(false)),
    ("iversion", Meaning::Filesystem("iversion", "noiversion")),
    ("lazytime", Meaning::Filesystem("lazytime", "nolazytime")),
    ("loud", Meaning::Default),
    ("mand", Meaning::Filesystem("mand", "nomand")),
    ("noatime", Meaning::Atime(Atime::None)),
    ("nodev", Meaning::Set(Attributes::NODEV)),
    ("nodiratime", Meaning::Set(Attributes::NODIRATIME)),
    ("noexec", Meaning::Set(Attributes::NOEXEC)),
    ("noiversion", Meaning::Filesystem("noiversion", "iversion")),
    ("nolazytime", Meaning::Filesystem("nolazytime", "lazytime")),
    ("nomand", Meaning::Filesystem("nomand", "mand")),
    ("norelatime", Meaning::NotAtime(Atime::Relative)),
    ("nostrictatime", Meaning::NotAtime(Atime::Strict)),
    ("nosuid", Meaning::Set(Attributes::NOSUID)),
    ("nosymfollow", Meaning::Set(Attributes::NOSYMFOLLOW)),
    ("private", Meaning::Propagation(Propagation::Private, false)),
    ("ratime", Meaning::RecursiveAtime(Atime::Relative)),
    ("rbind", Meaning::Bind(true)),
    ("rdev", Meaning::RecursiveClear(Attributes::NODEV)),
    ("rdiratime", Meaning::RecursiveClear(Attributes::NODIRATIME)),
    ("relatime", Meaning::Atime(Atime::Relative)),
    ("remount", Meaning::Remount),
    ("rexec", Meaning::RecursiveClear(Attributes::NOEXEC)),
    ("ridmap", Meaning::Idmap(true)),
    ("rnoatime", Meaning::RecursiveAtime(Atime::None)),
    ("rnodev", Meaning::RecursiveSet(Attributes::NODEV)),
    ("rnodiratime", Meaning::RecursiveSet(Attributes::NODIRATIME)),
    ("rnoexec", Meaning::RecursiveSet(Attributes::NOEXEC)),
    ("rnorelatime", Meaning::RecursiveAtime(Atime::Relative)),
    ("rnostrictatime", Meaning::RecursiveAtime(Atime::Relative)),
    ("rnosuid", Meaning::RecursiveSet(Attributes::NOSUID)),
    ("rnosymfollow", Meaning::RecursiveSet(Attributes::NOSYMFOLLOW)),
    ("ro", Meaning::Set(Attributes::RDONLY)),
    ("rprivate", Meaning::Propagation(Propagation::Private, true)),
    ("rrelatime", Meaning::RecursiveAtime(Atime::Relative)),
    ("rro", Meaning::RecursiveSet(Attributes::RDONLY)),
    ("rrw", Meaning::RecursiveClear(Attributes::RDONLY)),
    ("rshared", Meaning::Propagation(Propagation::Shared, true)),
    ("rslave", Meaning::Propagation(Propagation::Slave, true)),
    ("rstrictatime", Meaning::RecursiveAtime(Atime::Strict)),
    ("rsuid", Meaning::RecursiveClear(Attributes::NOSUID)),
    ("rsymfollow", Meaning::RecursiveClear(Attributes::NOSYMFOLLOW)),
    ("runbindable", Meaning::Propagation(Propagation::Unbindable, true)),
    ("rw", Meaning::Clear(Attributes::RDONLY)),
    ("shared", Meaning::Propagation(Propagation::Shared, false)),
    ("silent", Meaning::Default),
    ("slave", Meaning::Propagation(Propagation::Slave, false)),
    ("src-nofollow", Meaning::SourceNoFollow),
    ("strictatime", Meaning::Atime(Atime::Strict)),
    ("suid", Meaning::Clear(Attributes::NOSUID)),
    ("symfollow", Meaning::Clear(Attributes::NOSYMFOLLOW)),
    ("sync", Meaning::Filesystem("sync", "async")),
    ("tmpcopyup", Meaning::CopyUp),
    ("unbindable", Meaning::Propagation(Propagation::Unbindable, false)),
];

const NAMES: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut i = 0;
    while i < TABLE.len() {
        names[i] = TABLE[i].0;
        i += 1;
    }
    names
};

/// Every mount option that is not left to the filesystem, sorted; for `creel features`.
pub const MOUNT_OPTIONS: &[&str] = &NAMES;

fn lookup(name: &str) -> Option<Meaning> {
    let found = TABLE.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    TABLE.get(found).map(|(_, meaning)| *meaning)
}

/// One parameter of a filesystem: `size=64m` or a bare `noacl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub key: String,
    /// What follows `=`, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl Parameter {
    pub(super) fn flag(key: &str) -> Parameter {
        Parameter { key: key.to_owned(), value: None }
    }

    pub(super) fn parse(text: &str) -> Parameter {
        match text.split_once('=') {
            // Quotes are for mount(2), which divides at commas.
            Some((key, value)) if is_label(key) => {
                Parameter { key: key.to_owned(), value: Some(value.trim_matches('"').to_owned()) }
            }
            Some((key, value)) => Parameter { key: key.to_owned(), value: Some(value.to_owned()) },
            None => Parameter::flag(text),
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) if is_label(&self.key) => write!(f, "{}=\"{value}\"", self.key),
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

/// What the options of one mount add up to; where two contradict each other, the later one holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `Some(recursive)` for a bind mount.
    pub(super) bind: Option<bool>,
    pub(super) remount: bool,
    pub(super) set: Attributes,
    pub(super) clear: Attributes,
    pub(super) atime: Option<Atime>,
    /// Parameters that every filesystem takes (`sync`, `lazytime`).
    pub(super) generic: Vec<Parameter>,
    /// Parameters for the filesystem itself.
    pub(super) data: Vec<Parameter>,
    pub(super) propagation: Vec<(Propagation, bool)>,
    pub(super) recursive_set: Attributes,
    pub(super) recursive_clear: Attributes,
    pub(super) recursive_atime: Option<Atime>,
    pub(super) copy_up: bool,
    pub(super) copy_symlink: bool,
    pub(super) source_nofollow: bool,
    pub(super) destination_nofollow: bool,
    /// `Some(recursive)` for an id-mapped mount.
    pub(super) idmap: Option<bool>,
    /// Its maps in crun's form, what follows `idmap=` or `ridmap=`.
    pub(super) maps: Option<String>,
}

impl Options {
    pub(super) fn parse(options: &[String]) -> Options {
        let mut parsed = Options::default();
        for option in options {
            match (lookup(option), option.as_str()) {
                (Some(meaning), _) => parsed.add(meaning),
                (None, text) if text.starts_with("idmap=") || text.starts_with("ridmap=") => {
                    parsed.idmap = Some(text.starts_with('r'));
                    parsed.maps = text.split_once('=').map(|(_, maps)| maps.to_owned());
                }
                // Several in one string, as mount(8) takes them, except inside quotes (an SELinux context has commas).
                (None, text) if !text.contains('"') => {
                    parsed.data.extend(text.split(',').filter(|part| !part.is_empty()).map(Parameter::parse));
                }
                (None, text) => parsed.data.push(Parameter::parse(text)),
            }
        }
        parsed
    }

    fn add(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Default => (),
            Meaning::Bind(recursive) => self.bind = Some(recursive || self.bind == Some(true)),
            Meaning::Remount => self.remount = true,
            Meaning::Set(attribute) => {
                self.set = self.set.and(attribute);
                self.clear = self.clear.without(attribute);
            }
            Meaning::Clear(attribute) => {
                self.clear = self.clear.and(attribute);
                self.set = self.set.without(attribute);
            }
            Meaning::Atime(atime) => self.atime = Some(atime),
            Meaning::NotAtime(Atime::Relative) => self.atime = self.atime.filter(|atime| *atime != Atime::Relative),
            Meaning::NotAtime(not) if self.atime.is_none_or(|atime| atime == not) => {
                self.atime = Some(Atime::Relative);
            }
            Meaning::NotAtime(_) => (),
            Meaning::Filesystem(key, opposite) => {
                self.generic.retain(|parameter| parameter.key != opposite && parameter.key != key);
                self.generic.push(Parameter::flag(key));
            }
            Meaning::Propagation(propagation, recursive) => self.propagation.push((propagation, recursive)),
            Meaning::RecursiveSet(attribute) => {
                self.recursive_set = self.recursive_set.and(attribute);
                self.recursive_clear = self.recursive_clear.without(attribute);
            }
            Meaning::RecursiveClear(attribute) => {
                self.recursive_clear = self.recursive_clear.and(attribute);
                self.recursive_set = self.recursive_set.without(attribute);
            }
            Meaning::RecursiveAtime(atime) => self.recursive_atime = Some(atime),
            Meaning::CopyUp => self.copy_up = true,
            Meaning::CopySymlink => self.copy_symlink = true,
            Meaning::SourceNoFollow => self.source_nofollow = true,
            Meaning::DestinationNoFollow => self.destination_nofollow = true,
            Meaning::Idmap(recursive) => self.idmap = Some(recursive),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_table_is_sorted_and_has_all_of_the_spec() {
        assert!(MOUNT_OPTIONS.is_sorted_by(|one, next| one < next), "lookup needs it sorted");
        // config.md, runtime-spec 1.3.0.
        let spec = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev \
                    nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private \
                    ratime rbind rdev rdiratime relatime remount rexec ridmap rnoatime rnodev rnodiratime rnoexec rnorelatime \
                    rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
                    rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";
        for name in spec.split_whitespace() {
            assert!(MOUNT_OPTIONS.contains(&name), "{name}");
            assert!(parse(&[name]).data.is_empty(), "{name} must not reach the filesystem");
        }
    }

    #[test]
    fn the_later_of_two_that_contradict_holds() {
        for (options, set, clear) in [
            (&["ro", "rw"][..], "", "ro"),
            (&["rw", "ro"], "ro", ""),
            (&["nosuid", "nodev", "dev", "noexec"], "nosuid,noexec", "nodev"),
            (&["suid", "nodiratime", "nosymfollow", "symfollow"], "nodiratime", "nosuid,nosymfollow"),
        ] {
            let parsed = parse(options);
            assert_eq!((parsed.set.to_string(), parsed.clear.to_string()), (set.to_owned(), clear.to_owned()));
        }
        let parsed = parse(&["sync", "mand", "async", "nomand", "lazytime", "dirsync"]);
        assert_eq!(parsed.generic, ["async", "nomand", "lazytime", "dirsync"].map(Parameter::flag));
    }

    #[test]
    fn access_times_are_one_of_three() {
        for (options, atime) in [
            (&["noatime"][..], Some(Atime::None)),
            (&["noatime", "relatime"], Some(Atime::Relative)),
            (&["noatime", "atime"], Some(Atime::Relative)),
            (&["strictatime", "atime"], Some(Atime::Strict)),
            (&["strictatime", "nostrictatime"], Some(Atime::Relative)),
            (&["relatime", "norelatime"], None),
            (&["nodiratime"], None),
        ] {
            assert_eq!(parse(options).atime, atime, "{options:?}");
        }
        assert_eq!(parse(&["rnoatime", "rstrictatime"]).recursive_atime, Some(Atime::Strict));
    }

    #[test]
    fn what_is_unknown_goes_to_the_filesystem_in_order() {
        let parsed = parse(&["size=64k,mode=755", "ro", "context=\"a:b:c1,c2\"", "acl", "upperdir=/a=b"]);
        let data: Vec<String> = parsed.data.iter().map(Parameter::to_string).collect();
        assert_eq!(data, ["size=64k", "mode=755", "context=\"a:b:c1,c2\"", "acl", "upperdir=/a=b"]);
        assert_eq!(parsed.data[2].value.as_deref(), Some("a:b:c1,c2"), "fsconfig(2) takes it plain");
        assert_eq!(parsed.data[4].value.as_deref(), Some("/a=b"));
    }

    #[test]
    fn recursive_ones_and_propagation_are_kept_apart() {
        let parsed = parse(&["rbind", "bind", "rro", "rnosuid", "rsuid", "rprivate", "shared"]);
        assert_eq!(parsed.bind, Some(true));
        assert_eq!((parsed.set, parsed.clear), (Attributes::NONE, Attributes::NONE));
        assert_eq!((parsed.recursive_set, parsed.recursive_clear), (Attributes::RDONLY, Attributes::NOSUID));
        assert_eq!(parsed.propagation, [(Propagation::Private, true), (Propagation::Shared, false)]);
        assert_eq!((parse(&["idmap"]).idmap, parse(&["idmap", "ridmap"]).idmap), (Some(false), Some(true)));
    }
}
