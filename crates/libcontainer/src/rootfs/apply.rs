//! Carries a [`RootfsPlan`] out, in three parts.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::umask;

use super::bind::Sources;
use super::options::{Attributes, Propagation};
use super::plan::{Pivot, RootfsPlan};
use super::{devices, masks, mount, pivot};
use crate::error::{During, Phase, Result, SysContext};
use crate::paths::Root;
use crate::sys::mount::MountAttr;
use crate::tree::{self, Staging};

/// What an error calls the tmpfs that mounts are made on, where the kernel cannot make them detached.
const STAGE: &str = "the stage of the mounts";

/// A root filesystem that is complete and not yet `/`.
#[derive(Debug)]
pub struct Rootfs {
    root: Root,
}

impl Rootfs {
    /// Its top, for what else is to be done inside.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

/// Makes files with exactly the permissions that are asked for, until it is dropped.
pub(super) struct NoUmask(Mode);

impl NoUmask {
    pub(super) fn new() -> NoUmask {
        NoUmask(umask(Mode::empty()))
    }
}

impl Drop for NoUmask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

/// Mounts everything at its place below the root filesystem and makes the devices.
///
/// The process's mount namespace must be its own (except for [`Pivot::Chroot`]); if this fails the namespace is left
/// half made, to go with the process.
///
/// # Errors
/// With the field (`mounts[2].source`), the system call and the kernel's own words, where it has any.
pub fn prepare(plan: &RootfsPlan) -> Result<Rootfs> {
    prepare_with(plan, &Sources::default())
}

/// As [`prepare`], for id-mapped mounts and for the root of a user namespace.
///
/// # Errors
/// Those of [`prepare`], and those of fetching from outside.
pub fn prepare_with(plan: &RootfsPlan, sources: &Sources<'_>) -> Result<Rootfs> {
    let _no_umask = NoUmask::new();
    let staging = Staging::begin(plan.pivot != Pivot::Chroot && plan.propagation.host.0 != Propagation::Shared);
    let root = pivot::make_root(plan).during(Phase::Rootfs)?;
    for step in &plan.mounts {
        mount::carry_out(&root, step, sources)
            .within(|| format!("mounts[{}] ({})", step.index, step.destination.display()))
            .during(Phase::Rootfs)?;
    }
    if plan.setup_dev {
        devices::make(&root, &plan.devices, plan.bind_devices).during(Phase::Devices)?;
    }
    staging.end().sys("umount2", STAGE).during(Phase::Rootfs)?;
    Ok(Rootfs { root })
}

/// Makes the root filesystem this process's `/` and working directory.
///
/// # Errors
/// Those of pivot_root(2), which a root on a ramdisk cannot do.
pub fn enter(rootfs: Rootfs, plan: &RootfsPlan) -> Result<()> {
    pivot::enter(rootfs.root, plan).during(Phase::Rootfs)
}

/// Does what must come last, after /dev/console and the sysctls are set: read-only mounts and root, read-only paths,
/// masked paths. The process's `/` must be the container's.
///
/// # Errors
/// If a path exists and cannot be protected; one that does not exist needs no protection.
pub fn finish(plan: &RootfsPlan) -> Result<()> {
    if plan.late_readonly.is_empty() && plan.readonly_paths.is_empty() && plan.masked_paths.is_empty() {
        return readonly_root(plan);
    }
    let staging = Staging::begin(plan.pivot != Pivot::Chroot);
    let root = Root::open(Path::new("/")).during(Phase::Rootfs)?;
    for path in &plan.late_readonly {
        make_readonly(&root, path).within(|| "making a mount read-only").during(Phase::Rootfs)?;
    }
    readonly_root(plan)?;
    masks::make_readonly(&root, &plan.readonly_paths).during(Phase::Masks)?;
    masks::mask(&root, &plan.masked_paths, plan.label.as_ref()).during(Phase::Masks)?;
    staging.end().sys("umount2", STAGE).during(Phase::Masks)
}

const RDONLY: MountAttr = MountAttr::setting(Attributes::RDONLY.0);

/// Of the process's own `/`, which no mount that lies over it and no procfs can redirect (crun's CVE-2026-115521).
fn readonly_root(plan: &RootfsPlan) -> Result<()> {
    if !plan.readonly || plan.pivot == Pivot::Chroot {
        return Ok(());
    }
    patiently(|| tree::change_root(false, &RDONLY))
        .sys("mount_setattr", "/")
        .within(|| "root.readonly")
        .during(Phase::Rootfs)
}

fn make_readonly(root: &Root, path: &Path) -> Result<()> {
    set_readonly(&root.resolve(path, OFlags::PATH)?, path)
}

pub(super) fn set_readonly(mount: &OwnedFd, path: &Path) -> Result<()> {
    patiently(|| tree::change_attached(mount, false, &RDONLY)).sys("mount_setattr", path.display())
}

/// Tries again while somebody (a hook's last process) has a file open for writing there.
fn patiently(mut act: impl FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    for _ in 0..5 {
        match act() {
            Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(100)),
            result => return result,
        }
    }
    act()
}
