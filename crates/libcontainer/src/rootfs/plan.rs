//! What is to be done about the root filesystem, as data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::options::{Parameter, Propagation};
use super::plan_devices::{self, DeviceNode};
use super::plan_idmap::IdMaps;
use super::plan_label;
use super::plan_mounts::{self, Action, MountStep};
use crate::error::{During, Error, Phase, Result};
use crate::host::CgroupFacts;
use crate::paths::clean;
use crate::spec::{Linux, Spec};

/// What [`plan`] decides by.
#[derive(Clone, Copy, Debug)]
pub struct RootfsInput<'a> {
    /// The container's config.json.
    pub spec: &'a Spec,
    /// The bundle's directory, absolute: where relative paths start.
    pub bundle: &'a Path,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// Whether init runs in a mount namespace other than the runtime's.
    pub own_mount_namespace: bool,
    /// Whether init runs in a cgroup namespace of the container's own.
    pub cgroup_namespace: bool,
    /// Whether init is root of a user namespace other than the host's, which may not make device nodes.
    pub own_user_namespace: bool,
    /// Whether init runs in a network namespace of the container's own, which sysfs shows.
    pub own_network_namespace: bool,
    /// Whether the host's own cgroups may belong to the user who runs this, and so to the container's root.
    pub rootless: bool,
    /// Whether the terminal will be bound onto /dev/console; a configured node of that path is then left out.
    pub terminal: bool,
    /// Whether SELinux is active here.
    pub selinux: bool,
    /// Where the host's hierarchies are.
    pub cgroups: &'a CgroupFacts,
    /// The container's own directory in each v1 hierarchy (key: its controllers joined by commas, or `name=systemd`)
    /// and in v2 (key: empty), as host paths.
    pub cgroup_dirs: &'a BTreeMap<String, PathBuf>,
}

/// Everything that is to be done, in order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RootfsPlan {
    /// The root filesystem on the host, absolute.
    pub path: PathBuf,
    /// Whether `/` is to be read-only at the end.
    pub readonly: bool,
    /// How mounts pass between the container and the host.
    pub propagation: RootPropagation,
    /// The mounts, in the spec's order.
    pub mounts: Vec<MountStep>,
    /// The maps of id-mapped mounts that are not the container's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id_maps: Vec<IdMaps>,
    /// Whether /dev gets the usual nodes and links: not if the host's own was bound there.
    pub setup_dev: bool,
    /// Device nodes to make.
    pub devices: Vec<DeviceNode>,
    /// Whether the nodes are the host's own, bound: in a user namespace none can be made.
    pub bind_devices: bool,
    /// Mounts that become read-only at the very end, since more is put into them before: tmpfs and /dev.
    pub late_readonly: Vec<PathBuf>,
    /// Paths that become read-only, with all that is mounted below.
    pub readonly_paths: Vec<PathBuf>,
    /// Paths whose content must not be seen.
    pub masked_paths: Vec<PathBuf>,
    /// SELinux's label, for what lies over masked directories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Parameter>,
    /// How the root filesystem becomes `/`.
    pub pivot: Pivot,
    /// What is asked for and has no effect, for the log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `rootfsPropagation`, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RootPropagation {
    /// What the namespace's `/` gets before anything is mounted, and whether all below it does too.
    pub host: (Propagation, bool),
    /// What the mount that the root filesystem lies in gets, if it may be shared after that: otherwise pivot_root(2)
    /// refuses, and the container's mounts would show up on the host.
    pub parent: Option<Propagation>,
    /// What the container's `/` gets once it is that.
    pub root: Option<(Propagation, bool)>,
}

/// How the root filesystem becomes `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Pivot {
    /// pivot_root(2): nothing of the host stays reachable.
    PivotRoot,
    /// It is moved over `/` (`--no-pivot`, for a root on a ramdisk, where pivot_root cannot work).
    Move,
    /// chroot(2) alone, for a container in the host's mount namespace.
    Chroot,
}

/// Plans the root filesystem.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] with the field of config.json that cannot be used.
pub fn plan(input: &RootfsInput) -> Result<RootfsPlan> {
    build(input).during(Phase::Plan)
}

fn build(input: &RootfsInput) -> Result<RootfsPlan> {
    let root = input.spec.root.as_ref().ok_or_else(|| Error::invalid("root", "is missing"))?;
    if root.path.is_empty() {
        return Err(Error::invalid("root.path", "is empty").remedy("name the directory that becomes /"));
    }
    let none = Linux::default();
    let linux = input.spec.linux.as_ref().unwrap_or(&none);
    let readonly_paths = paths(&linux.readonly_paths, "linux.readonlyPaths")?;
    let masked_paths = paths(&linux.masked_paths, "linux.maskedPaths")?;
    if !input.own_mount_namespace {
        needs_mount_namespace(!readonly_paths.is_empty(), "linux.readonlyPaths")?;
        needs_mount_namespace(!masked_paths.is_empty(), "linux.maskedPaths")?;
    }
    let mut mounts = plan_mounts::plan(input)?;
    let label = plan_label::plan(input.spec, input.selinux)?;
    if let Some(label) = &label {
        plan_label::put_on(&mut mounts.steps, label);
    }
    if root.readonly && !input.own_mount_namespace {
        // Nothing of the host's is exposed by this, and `spec` writes it into every config.json: so it is no error, as
        // with runc.
        mounts
            .warnings
            .push("root.readonly: has no effect without a mount namespace of the container's own".to_owned());
    }
    let bound_dev = |step: &MountStep| matches!(step.action, Action::Bind(_)) && step.destination == Path::new("/dev");
    let setup_dev = !mounts.steps.iter().any(bound_dev);
    let devices = plan_devices::plan(&linux.devices, &mounts.steps, input.terminal)?;
    Ok(RootfsPlan {
        path: input.bundle.join(&root.path),
        readonly: root.readonly,
        propagation: propagation(&linux.rootfs_propagation)?,
        mounts: mounts.steps,
        id_maps: mounts.id_maps,
        setup_dev,
        devices: if setup_dev { devices } else { Vec::new() },
        bind_devices: input.own_user_namespace,
        late_readonly: mounts.late_readonly,
        readonly_paths,
        masked_paths,
        label,
        pivot: match (input.own_mount_namespace, input.no_pivot) {
            (false, _) => Pivot::Chroot,
            (true, true) => Pivot::Move,
            (true, false) => Pivot::PivotRoot,
        },
        warnings: mounts.warnings,
    })
}

/// Without a namespace of its own, what the container hides or protects would be hidden and protected on the host.
fn needs_mount_namespace(used: bool, field: &str) -> Result<()> {
    match used {
        true => Err(Error::invalid(field, "needs a mount namespace of the container's own")
            .remedy("add {\"type\": \"mount\"} to linux.namespaces")),
        false => Ok(()),
    }
}

fn propagation(name: &str) -> Result<RootPropagation> {
    let (propagation, recursive) = match name {
        // As runc: the container sees what the host mounts later, the host sees nothing of the container's.
        "" => (Propagation::Slave, true),
        name => Propagation::named(name).ok_or_else(|| {
            let why = format!("\"{name}\" is not one of shared, slave, private, unbindable, or r before one of them");
            Error::invalid("linux.rootfsPropagation", why)
        })?,
    };
    let none_is_shared = recursive && matches!(propagation, Propagation::Slave | Propagation::Private);
    let after = matches!(propagation, Propagation::Shared | Propagation::Unbindable);
    let parent = if propagation == Propagation::Slave { Propagation::Slave } else { Propagation::Private };
    Ok(RootPropagation {
        host: (propagation, recursive),
        parent: (!none_is_shared).then_some(parent),
        root: after.then_some((propagation, recursive)),
    })
}

/// The paths of one list, clean, each once.
fn paths(list: &[String], field: &str) -> Result<Vec<PathBuf>> {
    let mut cleaned: Vec<PathBuf> = Vec::with_capacity(list.len());
    for (i, path) in list.iter().enumerate() {
        let path = no_nul(path, || format!("{field}[{i}]"))?;
        let clean = clean(path);
        if clean == Path::new("/") {
            return Err(Error::invalid(format!("{field}[{i}]"), format!("\"{path}\" is the root itself")));
        }
        if !cleaned.contains(&clean) {
            cleaned.push(clean);
        }
    }
    Ok(cleaned)
}

/// Refuses a NUL, which no path can have and which would cut the string short on its way to the kernel.
pub(super) fn no_nul(text: &str, field: impl FnOnce() -> String) -> Result<&str> {
    if text.contains('\0') { Err(Error::invalid(field(), "has a NUL character")) } else { Ok(text) }
}
