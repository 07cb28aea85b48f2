//! Mounts of a container that lives: what they take from the host is opened there, and attached in the container's mount
//! namespace, whose processes may change what they like meanwhile; so places are found below the container's root, on
//! descriptors, and what is there already is only touched where no symlink of theirs leads.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chdir, fchdir};

use super::apply::{NoUmask, set_readonly};
use super::bind::{self, HostTree};
use super::idmap::MapNamespaces;
use super::options::Propagation;
use super::plan::RootfsPlan;
use super::plan_mounts::{Action, MountStep};
use super::target::{self, Make};
use super::{legacy, mount};
use crate::error::{During, Error, Result, SysContext};
use crate::paths::{Root, split};
use crate::sys::mount::{MountAttr, mount_setattr};

/// Filesystems that show the namespaces of who mounts them, which are the host's here.
const OF_NAMESPACES: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// What has neither source nor parameters that are paths: it can be made in the container, like the place that it covers.
const WITHOUT_PATHS: &str = "tmpfs";

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
            Action::Filesystem(filesystem) if filesystem.kind != WITHOUT_PATHS => {
                if legacy::is_needed(filesystem) {
                    let why = "a parameter of more than 255 bytes cannot be added to a container that lives";
                    return Err(Error::invalid(format!("mounts[{}].options", step.index), why));
                }
                // A device or a directory of the container's choice would be the host's to open (CVE-2021-30465's kind).
                let made = mount::make(filesystem, None);
                Ok((step, Some(made.within(|| format!("mounts[{}]", step.index))?)))
            }
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
        let mut outcome = self.steps.into_iter().try_for_each(|(step, tree)| {
            let mounted = attach_one(root, step, tree);
            let mounted = mounted.within(|| format!("mounts[{}] ({})", step.index, step.destination.display()))?;
            attached.extend(mounted.map(|mount| (step, mount)));
            Ok(())
        });
        for (step, mount) in &attached {
            if outcome.is_ok() && self.late_readonly.contains(&step.destination) {
                outcome = set_readonly(mount, &step.destination);
            }
        }
        if outcome.is_err() {
            for (step, mount) in attached.iter().rev() {
                // The first failure is what is told.
                let _ = take_back(root, &step.destination, mount);
            }
        }
        outcome
    }
}

/// Gives the mount, if it is a new one.
fn attach_one(root: &Root, step: &MountStep, tree: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
    match (&step.action, tree) {
        (Action::Bind(bind), Some(tree)) => bind::put(root, step, bind, tree).map(Some),
        (Action::Filesystem(filesystem), Some(made)) => {
            let place = target::find(root, &step.destination, || Ok(Make::Directory))?;
            mount::put(step, filesystem, made, &place).map(Some)
        }
        (Action::Filesystem(filesystem), None) => mount::mount_filesystem(root, step, filesystem),
        (Action::Remount(change), _) => {
            let mount = plainly(root.resolve_plain(&step.destination, OFlags::PATH))?;
            mount::remount(&mount, step, change).map(|()| None)
        }
        _ => Ok(None),
    }
}

/// Unmounts what was attached, wherever the container has put that since.
fn take_back(root: &Root, destination: &Path, mount: &OwnedFd) -> Result<()> {
    let stat = fstat(mount).sys("fstat", destination.display())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return unmount_in(mount, ".", UnmountFlags::DETACH).sys("umount2", destination.display());
    }
    let (parent, name) = root.parent(destination)?;
    let found = openat(&parent, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let found = found.sys("openat", destination.display())?;
    // While something is mounted on a name it can be neither moved nor removed.
    let is_ours = target::identity(&found) == target::identity(mount);
    let unmount = || unmount_in(&parent, &name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    if is_ours { unmount().sys("umount2", destination.display()) } else { Ok(()) }
}

/// umount2(2) takes a path, of which one name is left: the directory that it is in is entered by its descriptor.
fn unmount_in(directory: &OwnedFd, name: impl rustix::path::Arg, flags: UnmountFlags) -> Result<(), Errno> {
    fchdir(directory)?;
    let unmounted = unmount(name, flags);
    chdir("/")?;
    unmounted
}

/// What is there already must be at that very place: a container could else have another mount of its own changed or taken
/// away, such as those that make parts of /proc read-only.
fn plainly<T>(resolved: Result<T>) -> Result<T> {
    resolved.map_err(|error| match error.errno() {
        Some(Errno::LOOP) => error.cause("a symlink is on the way").remedy("name the place that it leads to"),
        _ => error,
    })
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
    let (parent, name) = split(destination)?;
    let parent = plainly(root.resolve_plain(parent, OFlags::PATH | OFlags::DIRECTORY))?;
    unmount_in(&parent, &name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(|errno| {
        let error = Error::system("umount2", destination.display(), errno);
        if errno == Errno::INVAL { error.cause("nothing is mounted there") } else { error }
    })
}
