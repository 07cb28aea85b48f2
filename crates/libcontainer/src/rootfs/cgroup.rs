//! The cgroup v1 hierarchies, together under one directory as on the host.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, mkdirat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::mount::{Context, attach_error, change};
use super::options::{Attributes, Parameter};
use super::pivot::attach;
use super::plan_cgroups::{CgroupV1, HierarchyMount, HierarchySource};
use super::plan_mounts::{Change, MountStep};
use super::target::{self, Make};
use crate::error::{During, Error, Result, SysContext};
use crate::paths::Root;
use crate::sys::mount::{MountAttr, mount_setattr};

pub(super) fn mount(root: &Root, step: &MountStep, cgroup: &CgroupV1) -> Result<()> {
    let place = target::find(root, &step.destination, || Ok(Make::Directory))?;
    let context = Context::open("tmpfs")?;
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
        mount_setattr(tmpfs.as_fd(), c"", false, &rdonly).sys("mount_setattr", step.destination.display())?;
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
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let mount = open_tree(CWD, own, flags).sys("open_tree", own.display())?;
            set_exactly(&mount, attributes, &step.changes)?;
            mount
        }
        HierarchySource::Filesystem(parameters) => {
            let context = Context::open("cgroup")?;
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
    let c_name = CString::new(name).map_err(|_| Error::invalid(name, "has a NUL character"))?;
    move_mount(&mount, c"", tmpfs, &c_name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).sys("move_mount", name)
}

/// A bind mount starts with its source's attributes; these are to hold in their place.
fn set_exactly(mount: &OwnedFd, attributes: Attributes, changes: &[Change]) -> Result<()> {
    let all = Attributes::RDONLY.and(Attributes::NOSUID).and(Attributes::NODEV).and(Attributes::NOEXEC);
    let reset = all.without(attributes);
    change(mount, &[Change { set: attributes, clear: Attributes::ATIME, reset, ..Change::default() }])?;
    change(mount, changes)
}
