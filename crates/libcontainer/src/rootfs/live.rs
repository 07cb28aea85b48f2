//! Mounts of a container that lives: sources are opened on the host, and attached in the container's mount namespace, whose
//! processes may change what they like meanwhile; so all is found below the container's root, on descriptors.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir};

use super::apply::{NoUmask, make_readonly};
use super::bind::{self, HostTree, Sources};
use super::idmap::MapNamespaces;
use super::mount;
use super::options::Propagation;
use super::plan::RootfsPlan;
use super::plan_mounts::{Action, MountStep};
use crate::error::{During, Error, Result, SysContext};
use crate::paths::Root;
use crate::sys::mount::{MountAttr, mount_setattr};

/// Filesystems that show the namespaces of who mounts them, which are the host's here.
const OF_NAMESPACES: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// Mounts that can be attached.
#[derive(Debug)]
pub struct LiveMounts<'a> {
    steps: Vec<(&'a MountStep, Option<OwnedFd>)>,
    late_readonly: &'a [PathBuf],
}

impl LiveMounts<'_> {
    /// Opens what the mounts of `plan` take from the host, in its mount namespace.
    ///
    /// # Errors
    /// For a source that cannot be had, and what cannot be added to a container that lives.
    pub fn open<'a>(plan: &'a RootfsPlan, maps: &MapNamespaces<'_>) -> Result<LiveMounts<'a>> {
        let open = |step: &'a MountStep| match &step.action {
            Action::Bind(bind) if bind.copy_symlink => {
                let why = "copy-symlink makes no mount: it is for containers that are being made";
                Err(Error::invalid(format!("mounts[{}].options", step.index), why))
            }
            Action::Bind(bind) => {
                let tree = open_source(bind.tree(), maps);
                Ok((step, Some(tree.within(|| format!("mounts[{}].source", step.index))?)))
            }
            Action::Filesystem(filesystem) if OF_NAMESPACES.contains(&filesystem.kind.as_str()) => {
                refuse(step, &filesystem.kind)
            }
            Action::CgroupV1(_) => refuse(step, "cgroup"),
            Action::Filesystem(_) | Action::Remount(_) => Ok((step, None)),
        };
        let steps = plan.mounts.iter().map(open).collect::<Result<_>>()?;
        Ok(LiveMounts { steps, late_readonly: &plan.late_readonly })
    }

    /// Attaches them below `root`, in the container's mount namespace; if one cannot be, those before it are taken away again.
    ///
    /// # Errors
    /// With the mount's place in the list.
    pub fn attach(self, root: &Root) -> Result<()> {
        let _no_umask = NoUmask::new();
        let mut attached = Vec::with_capacity(self.steps.len());
        let outcome = self.steps.into_iter().try_for_each(|(step, tree)| {
            let mounted = match (&step.action, tree) {
                (Action::Bind(bind), Some(tree)) => bind::put(root, step, bind, tree),
                _ => mount::carry_out(root, step, &Sources::default()),
            };
            mounted.within(|| format!("mounts[{}] ({})", step.index, step.destination.display()))?;
            attached.push(step);
            Ok(())
        });
        let outcome = outcome.and_then(|()| self.late_readonly.iter().try_for_each(|path| make_readonly(root, path)));
        if outcome.is_err() {
            for step in attached.iter().rev().filter(|step| !matches!(step.action, Action::Remount(_))) {
                // What was attached last is what is found there; the first failure is what is told.
                let _ = detach(root, &step.destination);
            }
        }
        outcome
    }
}

/// What is mounted in it later, here or there, stays where it is.
fn open_source(tree: HostTree, maps: &MapNamespaces<'_>) -> Result<OwnedFd> {
    let opened = tree.open(maps)?;
    let slave = MountAttr::propagating(Propagation::Slave.bits());
    mount_setattr(opened.as_fd(), c"", tree.recursive, &slave).sys("mount_setattr", tree.path.display())?;
    Ok(opened)
}

fn refuse<T>(step: &MountStep, kind: &str) -> Result<T> {
    let why = format!("{kind} would show the host's namespaces: it cannot be added to a container that lives");
    Err(Error::invalid(format!("mounts[{}].type", step.index), why))
}

/// Takes away what is mounted at `destination`, with all below it, in the container's mount namespace. Who uses it may go on.
///
/// # Errors
/// `EINVAL` if nothing is mounted there.
pub fn detach(root: &Root, destination: &Path) -> Result<()> {
    // umount2(2) takes a path, of which one name is left: the directory that it is in is entered by its descriptor.
    let (parent, name) = root.parent(destination)?;
    fchdir(&parent).sys("fchdir", destination.display())?;
    let unmounted = unmount(&name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    chdir("/").sys("chdir", "/")?;
    unmounted.map_err(|errno| {
        let error = Error::system("umount2", destination.display(), errno);
        if errno == Errno::INVAL { error.cause("nothing is mounted there") } else { error }
    })
}
