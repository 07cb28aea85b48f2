//! What a mount of type `cgroup` becomes on this host.

use std::path::PathBuf;

use serde::Serialize;

use super::options::{Attributes, Parameter};
use super::plan::RootfsInput;
use super::plan_mounts::{Action, Bind, Filesystem};
use crate::error::{Error, Result};
use crate::host::Hierarchy;
use crate::spec::Mount;

/// A tmpfs with a directory for each hierarchy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CgroupV1 {
    /// Of each mount.
    pub attributes: Attributes,
    /// Whether the tmpfs and every hierarchy are read-only.
    pub readonly: bool,
    /// In the order of the host's mounts.
    pub hierarchies: Vec<HierarchyMount>,
    /// Symlinks beside them, name and target: `cpu` to `cpu,cpuacct`.
    pub links: Vec<(String, String)>,
}

/// One v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HierarchyMount {
    /// Its directory's name, the same as on the host.
    pub name: String,
    /// What is mounted there.
    pub source: HierarchySource,
}

/// What shows a hierarchy to the container.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HierarchySource {
    /// The container's own cgroup directory, bound. In a cgroup namespace of its own this is the same view as a new
    /// mount gives (whose root is that same directory), at a third of the time, and without waiting for the kernel to
    /// drain cgroups that others have just removed.
    Bind(PathBuf),
    /// A new mount of the hierarchy with these controllers, or this `name=`.
    Filesystem(Vec<Parameter>),
}

/// v2: in a namespace of its own a new mount, whose root is the container's own directory; else all that the host has, as
/// with runc and crun, so that the path in /proc/self/cgroup leads to a directory (systemd and kubelets look there). That
/// is bound: from the first cgroup namespace, a new mount would take `nsdelegate` and `memory_recursiveprot` away from
/// the whole host (kernel/cgroup/cgroup.c, `apply_cgroup_root_flags`).
pub(super) fn v2(input: &RootfsInput, mount: &Mount, attributes: Attributes, index: usize) -> Result<Action> {
    let Some(v2) = &input.cgroups.v2 else {
        let why = "this host has no cgroup hierarchy mounted";
        return Err(Error::unsupported(format!("mounts[{index}].type: {why}")));
    };
    if !input.cgroup_namespace {
        return Ok(Action::Bind(Bind {
            source: v2.mountpoint.clone(),
            recursive: false,
            source_nofollow: false,
            destination_nofollow: false,
            copy_symlink: false,
            procfs: false,
            idmap: None,
        }));
    }
    Ok(Action::Filesystem(Filesystem {
        kind: "cgroup2".to_owned(),
        source: mount.source.clone(),
        parameters: Vec::new(),
        attributes,
        plain: false,
        inherit_mode: false,
        copy_up: false,
        root_label: None,
    }))
}

/// v1: every hierarchy that the host has.
pub(super) fn v1(input: &RootfsInput, attributes: Attributes) -> CgroupV1 {
    let all = &input.cgroups.v1;
    // A hierarchy that the host has mounted twice is shown once.
    let first =
        |(i, one): &(usize, &Hierarchy)| all.iter().take(*i).all(|before| before.controllers != one.controllers);
    let hierarchies = all.iter().enumerate().filter(first).map(|(_, hierarchy)| hierarchy);
    let mut links = Vec::new();
    let named = hierarchies.filter_map(|hierarchy| {
        let name = hierarchy.mountpoint.file_name()?.to_str()?.to_owned();
        if name.contains(',') {
            links.extend(name.split(',').map(|controller| (controller.to_owned(), name.clone())));
        }
        Some(HierarchyMount { source: hierarchy_source(input, hierarchy), name })
    });
    let hierarchies = named.collect();
    CgroupV1 {
        // Whatever was asked for: nothing in there is ever to be executed or opened as a device.
        attributes: attributes
            .without(Attributes::RDONLY)
            .and(Attributes::NOSUID)
            .and(Attributes::NODEV)
            .and(Attributes::NOEXEC),
        // Else it would be the caller's own cgroup, which may be his to write to (CVE-2023-25809).
        readonly: attributes.has(Attributes::RDONLY) || (input.rootless && !input.cgroup_namespace),
        hierarchies,
        links,
    }
}

fn hierarchy_source(input: &RootfsInput, hierarchy: &Hierarchy) -> HierarchySource {
    let key = hierarchy.controllers.join(",");
    if let Some(own) = input.cgroup_dirs.get(&key) {
        return HierarchySource::Bind(own.clone());
    }
    if input.cgroup_namespace {
        return HierarchySource::Filesystem(hierarchy.controllers.iter().map(|name| Parameter::parse(name)).collect());
    }
    // Where the container has no directory of its own it is where the runtime is.
    let below = hierarchy.own.strip_prefix("/").unwrap_or(&hierarchy.own);
    HierarchySource::Bind(hierarchy.mountpoint.join(below))
}
