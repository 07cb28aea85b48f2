//! The mounts of config.json as a list of steps.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::options::{Attributes, Options, Parameter, Propagation};
use super::plan::{RootfsInput, no_nul};
use super::plan_cgroups::{self, CgroupV1};
use super::plan_idmap::{self, IdMaps, Idmap};
use crate::error::{Error, Result};
use crate::paths::clean;
use crate::spec::Mount;

/// One mount.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MountStep {
    /// Its place in the spec's `mounts`, for messages.
    pub index: usize,
    /// Where, inside the root; absolute and clean.
    pub destination: PathBuf,
    /// What is mounted.
    pub action: Action,
    /// What is changed on it before it is attached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A new instance of a filesystem.
    Filesystem(Filesystem),
    /// Something of the host's. There is no place here for parameters of a filesystem: they could have no effect.
    Bind(Bind),
    /// What is mounted there already is changed.
    Remount(Remount),
    /// The container's view of the cgroup v1 hierarchies.
    CgroupV1(CgroupV1),
}

/// A new instance of a filesystem.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filesystem {
    /// Its type, one of /proc/filesystems.
    pub kind: String,
    /// A device, or a name that is shown in its place; may be empty.
    pub source: String,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// Of the mount.
    pub attributes: Attributes,
    /// Whether no symlink may lead to the destination: procfs and sysfs must be where they seem to be (CVE-2019-19921).
    pub plain: bool,
    /// tmpfs: take the permissions of the directory that it is mounted on.
    pub inherit_mode: bool,
    /// tmpfs: start with a copy of what is in the directory that it is mounted on.
    pub copy_up: bool,
    /// SELinux's label of its root, where it cannot be a parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_label: Option<String>,
}

/// Something of the host's, mounted in the container as well.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bind {
    /// A path on the host, absolute.
    pub source: PathBuf,
    /// With what is mounted below it.
    pub recursive: bool,
    /// Bind a symlink itself.
    pub source_nofollow: bool,
    /// Mount on a symlink itself, which must exist.
    pub destination_nofollow: bool,
    /// If the source is a symlink, make an equal one in place of a mount.
    pub copy_symlink: bool,
    /// The source must be procfs, since it becomes /proc.
    pub procfs: bool,
    /// Whose the files are seen to be, if that is not what their file system says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idmap: Option<Idmap>,
}

/// A change of what is mounted at the destination.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remount {
    /// Parameters of the filesystem; if there are none it is the mount alone that changes.
    pub parameters: Vec<Parameter>,
}

/// One call of mount_setattr(2).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Change {
    /// On everything below as well.
    pub recursive: bool,
    /// Attributes to set.
    #[serde(skip_serializing_if = "Attributes::is_none")]
    pub set: Attributes,
    /// Attributes to clear.
    #[serde(skip_serializing_if = "Attributes::is_none")]
    pub clear: Attributes,
    /// Attributes that nobody asked for and that a bind mount would take over from its source: cleared as well, unless
    /// they are locked because the source belongs to another user namespace.
    #[serde(skip_serializing_if = "Attributes::is_none")]
    pub reset: Attributes,
    /// The new propagation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Propagation>,
}

/// The steps, and what remains to be done about them at the end.
pub(super) struct Mounts {
    pub(super) steps: Vec<MountStep>,
    pub(super) late_readonly: Vec<PathBuf>,
    pub(super) id_maps: Vec<IdMaps>,
    pub(super) warnings: Vec<String>,
}

pub(super) fn plan(input: &RootfsInput) -> Result<Mounts> {
    let steps = Vec::with_capacity(input.spec.mounts.len());
    let mut mounts = Mounts { steps, late_readonly: Vec::new(), id_maps: Vec::new(), warnings: Vec::new() };
    for (index, mount) in input.spec.mounts.iter().enumerate() {
        let step = step(input, index, mount, &mut mounts)?;
        mounts.steps.push(step);
    }
    Ok(mounts)
}

fn step(input: &RootfsInput, index: usize, mount: &Mount, mounts: &mut Mounts) -> Result<MountStep> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let destination = inside(input, clean(no_nul(&mount.destination, || field("destination"))?));
    no_nul(&mount.source, || field("source"))?;
    no_nul(&mount.kind, || field("type"))?;
    for (i, option) in mount.options.iter().enumerate() {
        no_nul(option, || format!("mounts[{index}].options[{i}]"))?;
    }
    if mount.destination.is_empty() {
        return Err(Error::invalid(field("destination"), "is missing"));
    }
    if destination == Path::new("/") {
        let why = format!("\"{}\" is the root itself, which root.path sets", mount.destination);
        return Err(Error::invalid(field("destination"), why));
    }
    let mut options = Options::parse(&mount.options);
    if mount.kind == "bind" && options.bind.is_none() {
        options.bind = Some(false); // the kernel has no filesystem of that name, so nothing else can be meant
    }
    check_options(&options, mount, index)?;
    let idmap = plan_idmap::plan(input, index, mount, &options, &mut mounts.id_maps)?;
    check_below_proc(&destination, &mount.kind, options.bind.is_some(), index)?;
    let mut changes = Vec::new();
    let action = if options.remount {
        changes = bind_changes(&options);
        let parameters = options.generic.into_iter().chain(options.data).collect();
        Action::Remount(Remount { parameters })
    } else if let Some(recursive) = options.bind {
        // The kernel ignores such options, and crun and older runcs let them pass, so configs in the field have them.
        mounts.warnings.extend(options.data.first().map(|option| {
            format!("{}: \"{option}\" is for a filesystem and has no effect on a bind mount", field("options"))
        }));
        let source = input.bundle.join(&mount.source);
        if input.rootless && recursive && options.set.has(Attributes::RDONLY) && source.starts_with("/sys") {
            // Below it are the host's cgroups (CVE-2023-25809).
            options.recursive_set = options.recursive_set.and(Attributes::RDONLY);
        }
        changes = bind_changes(&options);
        Action::Bind(Bind {
            source,
            recursive,
            source_nofollow: options.source_nofollow,
            destination_nofollow: options.destination_nofollow,
            copy_symlink: options.copy_symlink,
            procfs: destination == Path::new("/proc"),
            idmap,
        })
    } else {
        let action = filesystem(input, mount, &options, &destination, index, &mut mounts.late_readonly)?;
        match action {
            // cgroup v2 without a cgroup namespace, sysfs without a network namespace
            Action::Bind(_) => {
                let readonly = if input.rootless { Attributes::RDONLY } else { Attributes::NONE };
                options.recursive_set = options.recursive_set.and(readonly);
                changes = bind_changes(&options);
            }
            _ => add_propagation(&mut changes, &options.propagation),
        }
        action
    };
    Ok(MountStep { index, destination, action, changes })
}

/// A destination that starts with the host's path of the root filesystem is meant to be below it: hooks and engines have
/// written such ones, and runc takes them so.
fn inside(input: &RootfsInput, destination: PathBuf) -> PathBuf {
    let root = input.spec.root.as_ref().map(|root| clean(input.bundle.join(&root.path)));
    match root.as_deref().filter(|root| *root != Path::new("/")).map(|root| destination.strip_prefix(root)) {
        Some(Ok(below)) => Path::new("/").join(below),
        _ => destination,
    }
}

/// What no kind of mount can have.
fn check_options(options: &Options, mount: &Mount, index: usize) -> Result<()> {
    let invalid = |why: &str| Err(Error::invalid(format!("mounts[{index}].options"), why));
    if options.bind.is_some() {
        if mount.source.is_empty() {
            return Err(Error::invalid(format!("mounts[{index}].source"), "is missing: a bind mount needs one"));
        }
    } else if mount.kind.is_empty() && !options.remount {
        let why = "is missing: a mount is of a type, or has the option bind or rbind";
        return Err(Error::invalid(format!("mounts[{index}].type"), why));
    }
    if options.copy_up && (mount.kind != "tmpfs" || options.bind.is_some()) {
        return invalid("tmpcopyup is for tmpfs only");
    }
    let nofollow = options.source_nofollow || options.destination_nofollow;
    if (options.copy_symlink || nofollow) && options.bind.is_none() {
        return invalid("copy-symlink, src-nofollow and dest-nofollow are for bind mounts only");
    }
    if options.copy_symlink && nofollow {
        return invalid("copy-symlink excludes src-nofollow and dest-nofollow");
    }
    Ok(())
}

/// What may be mounted over single files of procfs: those that lxcfs emulates, and two sysctls.
const BELOW_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// A faked /proc would swallow the security labels that are written to it (CVE-2019-16884, CVE-2019-19921).
fn check_below_proc(destination: &Path, kind: &str, bind: bool, index: usize) -> Result<()> {
    let Ok(below) = destination.strip_prefix("/proc") else { return Ok(()) };
    let field = format!("mounts[{index}].destination");
    if below.as_os_str().is_empty() {
        // Whether a bind mount's source is procfs is seen when it is opened.
        return match bind || kind == "proc" {
            true => Ok(()),
            false => Err(Error::invalid(field, format!("/proc must be of type proc, not \"{kind}\""))),
        };
    }
    match BELOW_PROC.iter().any(|allowed| destination == Path::new(allowed)) {
        true => Ok(()),
        false => Err(Error::invalid(
            field,
            format!("{} is inside /proc, where nothing may be mounted", destination.display()),
        )),
    }
}

/// The attributes that a bind mount shares with its source until they are changed.
const INHERITED: Attributes = Attributes::RDONLY
    .and(Attributes::NOSUID)
    .and(Attributes::NODEV)
    .and(Attributes::NOEXEC)
    .and(Attributes::NOSYMFOLLOW);

/// As mount(8) does with `--bind -o`: once any option is given, exactly those that are given hold.
fn bind_changes(options: &Options) -> Vec<Change> {
    let mut changes = Vec::new();
    let touched =
        !options.set.is_none() || !options.clear.is_none() || options.atime.is_some() || !options.generic.is_empty();
    if touched {
        let (set, clear) = with_atime(options.set, options.clear, options.atime);
        let reset = INHERITED.without(options.set).without(options.clear);
        changes.push(Change { set, clear, reset, ..Change::default() });
    }
    let (set, clear) = with_atime(options.recursive_set, options.recursive_clear, options.recursive_atime);
    if !set.is_none() || !clear.is_none() {
        changes.push(Change { recursive: true, set, clear, ..Change::default() });
    }
    add_propagation(&mut changes, &options.propagation);
    changes
}

/// mount_setattr(2) wants the three values of access time cleared as a whole.
fn with_atime(set: Attributes, clear: Attributes, atime: Option<super::options::Atime>) -> (Attributes, Attributes) {
    match atime {
        Some(atime) => (set.and(atime.attribute()), clear.and(Attributes::ATIME)),
        None => (set, clear),
    }
}

/// Puts each propagation into a call that is made anyway, if there is one with the same reach.
fn add_propagation(changes: &mut Vec<Change>, propagation: &[(Propagation, bool)]) {
    for (propagation, recursive) in propagation {
        let free = |change: &&mut Change| change.recursive == *recursive && change.propagation.is_none();
        match changes.iter_mut().find(free) {
            Some(change) => change.propagation = Some(*propagation),
            None => {
                changes.push(Change { recursive: *recursive, propagation: Some(*propagation), ..Change::default() })
            }
        }
    }
}

/// sysfs shows a network namespace, and is mounted by who owns that. Where it is the host's, the container's root does not,
/// and has the host's own sysfs.
fn host_sysfs() -> Bind {
    Bind {
        source: PathBuf::from("/sys"),
        recursive: true,
        source_nofollow: false,
        destination_nofollow: false,
        copy_symlink: false,
        idmap: None,
        procfs: false,
    }
}

/// Filesystems of the kernel's own, which are read-only by the mount alone. Of others the filesystem itself must be
/// told (`ro`), or it would write to its device.
const PSEUDO: [&str; 7] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];

fn filesystem(
    input: &RootfsInput,
    mount: &Mount,
    options: &Options,
    destination: &Path,
    index: usize,
    late_readonly: &mut Vec<PathBuf>,
) -> Result<Action> {
    let (set, _) = with_atime(options.set, options.clear, options.atime);
    let mut attributes = set.without(options.recursive_clear).and(options.recursive_set);
    if let Some(atime) = options.recursive_atime {
        attributes = attributes.without(Attributes::ATIME).and(atime.attribute());
    }
    let kind = mount.kind.as_str();
    if kind == "sysfs" && input.own_user_namespace && !input.own_network_namespace {
        return Ok(Action::Bind(host_sysfs()));
    }
    if kind == "cgroup" {
        if !input.cgroups.v1.is_empty() {
            return Ok(Action::CgroupV1(plan_cgroups::v1(input, attributes)));
        }
        return plan_cgroups::v2(input, mount, attributes, index);
    }
    if attributes.has(Attributes::RDONLY) && (kind == "tmpfs" || destination == Path::new("/dev")) {
        attributes = attributes.without(Attributes::RDONLY);
        late_readonly.push(destination.to_owned());
    }
    let mut parameters = options.generic.clone();
    if attributes.has(Attributes::RDONLY) && !PSEUDO.contains(&kind) {
        parameters.push(Parameter::flag("ro"));
    }
    // Every devpts is an instance of its own since Linux 4.7; the parameter is a system call for nothing.
    let devpts = kind == "devpts";
    parameters.extend(options.data.iter().filter(|parameter| !(devpts && parameter.key == "newinstance")).cloned());
    Ok(Action::Filesystem(Filesystem {
        kind: kind.to_owned(),
        source: mount.source.clone(),
        attributes,
        plain: matches!(kind, "proc" | "sysfs"),
        inherit_mode: kind == "tmpfs" && !parameters.iter().any(|parameter| parameter.key == "mode"),
        parameters,
        copy_up: options.copy_up,
        root_label: None,
    }))
}
