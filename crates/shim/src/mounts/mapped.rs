//! Idmapped mounts: what a snapshotter passes for a container with a user namespace, instead of copying every file to
//! change its owner. Of an overlay the lower directories are mapped: what the container writes belongs to its own ids.

use std::os::fd::OwnedFd;
use std::path::Path;

use libcontainer::error::{Result, SysContext};
use libcontainer::namespaces::with_mounts_aside;
use libcontainer::rootfs::map_ids;
use libcontainer::userns::{self, UsernsPlan};
use rustix::fs::CWD;
use rustix::mount::{MountFlags, OpenTreeFlags, open_tree};

use super::overlay::{attach, lower_directories};
use super::plan::Plan;
use super::{filesystem, set_flags};

/// Mounts it.
pub fn mount(kind: &str, source: &Path, target: &Path, plan: &Plan, ids: &UsernsPlan) -> Result<()> {
    let namespace = userns::detached(ids)?;
    if plan.is_bind() {
        let recursive = plan.flags.contains(MountFlags::REC);
        attach(&mapped(source, recursive, &namespace)?, target)?;
        return set_flags(target, plan);
    }
    let tree = with_mounts_aside(|| {
        if kind != "overlay" {
            filesystem(kind, source, target, plan)?;
            return mapped(target, false, &namespace);
        }
        // Over the directories themselves, so that the overlay is mounted by the names that people know. It takes what
        // it finds there for its own, and the mounts on them are gone with this namespace.
        for (layer, _) in lower_directories(&plan.data) {
            let layer = Path::new(layer);
            attach(&mapped(layer, false, &namespace)?, layer)?;
        }
        filesystem(kind, source, target, plan)?;
        cloned(target, false)
    })?;
    attach(&tree, target)
}

fn mapped(path: &Path, recursive: bool, namespace: &OwnedFd) -> Result<OwnedFd> {
    let tree = cloned(path, recursive)?;
    map_ids(&tree, recursive, namespace).map_err(|error| error.within(path.display()))?;
    Ok(tree)
}

fn cloned(path: &Path, recursive: bool) -> Result<OwnedFd> {
    let below = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | below;
    open_tree(CWD, path, flags).sys("open_tree", path.display())
}
