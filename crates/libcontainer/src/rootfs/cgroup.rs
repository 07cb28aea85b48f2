//! The cgroup v1 hierarchies, together under one directory as on the host.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, mkdirat, symlinkat};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::mount::{Context, attach_error, change};
use super::options::{Attributes, Parameter};
use super::plan_cgroups::{CgroupV1, HierarchyMount, HierarchySource};
use super::plan_mounts::{Change, MountStep};
use super::target::{self, Make};
use crate::error::{During, Result, SysContext};
use crate::paths::Root;
use crate::sys::mount::MountAttr;
use crate::tree::{self, attach};

pub(super) fn mount(root: &Root, step: &MountStep, cgroup: &CgroupV1) -> Result<()> {
    let place = target::find(root, &step.destination, || Ok(Make::Directory))?;
    let mut context = Context::open("tmpfs")?;
    context.set_source("tmpfs")?;
    context.set(&Parameter { key: "mode".to_owned(), value: Some("755".to_owned()) })?;
    let tmpfs = context.create(cgroup.attributes)?;
    change(tmpfs.as_fd(), &step.changes)?;
    // Attached before it is filled: nothing can be mounted in a detached tree before Linux 6.15.
    attach(&tmpfs, &place.fd).map_err(|errno| attach_error(errno, &step.destination))?;
    for hierarchy in &cgroup.hierarchies {
        mount_hierarchy(&tmpfs, step, cgroup, hierarchy).within(|| hierarchy.name.clone())?;
    }
    for (name, target) in &cgroup.links {
        match symlinkat(target.as_str(), &tmpfs, name.as_str()) {
            Err(Errno::EXIST) => (), // a hierarchy of that name
            result => result.sys("symlinkat", name)?,
        }
    }
    if cgroup.readonly {
        let rdonly = MountAttr::setting(Attributes::RDONLY.0);
        tree::change_attached(&tmpfs, false, &rdonly).sys("mount_setattr", step.destination.display())?;
    }
    Ok(())
}

/// The tmpfs is new and nobody else's, so a name in it is as good as a descriptor.
fn mount_hierarchy(tmpfs: &OwnedFd, step: &MountStep, cgroup: &CgroupV1, hierarchy: &HierarchyMount) -> Result<()> {
    let readonly = if cgroup.readonly { Attributes::RDONLY } else { Attributes::NONE };
    let attributes = cgroup.attributes.and(readonly);
    let name = hierarchy.name.as_str();
    let mount = match &hierarchy.source {
        HierarchySource::Bind(own) => {
            let mount = tree::clone(CWD, own, OpenTreeFlags::empty()).sys("open_tree", own.display())?;
            set_exactly(&mount, attributes, &step.changes)?;
            mount
        }
        HierarchySource::Filesystem(parameters) => {
            let mut context = Context::open("cgroup")?;
            context.set_source(if name == "systemd" { name } else { "cgroup" })?;
            for parameter in parameters {
                context.set(parameter)?;
            }
            let mount = context.create(attributes)?;
            change(mount.as_fd(), &step.changes)?;
            mount
        }
    };
    mkdirat(tmpfs, name, Mode::from_raw_mode(0o755)).sys("mkdirat", name)?;
    tree::attach_at(&mount, tmpfs, Path::new(name)).sys("move_mount", name)
}

/// A bind mount starts with its source's attributes; these are to hold in their place.
fn set_exactly(mount: &OwnedFd, attributes: Attributes, changes: &[Change]) -> Result<()> {
    let all = Attributes::RDONLY.and(Attributes::NOSUID).and(Attributes::NODEV).and(Attributes::NOEXEC);
    let reset = all.without(attributes);
    change(mount, &[Change { set: attributes, clear: Attributes::ATIME, reset, ..Change::default() }])?;
    change(mount, changes)
}
