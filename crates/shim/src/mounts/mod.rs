//! The root file system that containerd hands over as a list of mounts; made before a container and undone after it.
//!
//! Nothing but mounts is made, so that a shim that is killed leaves nothing else: what is needed only while a mount is
//! made is in a mount namespace of its own, and a loop device ends with its mount.

mod mapped;
mod overlay;
pub(crate) mod plan;
#[cfg(test)]
mod tests;
mod unmount;

use std::path::Path;

use containerd_shim_protos::types::mount::Mount;
use libcontainer::error::{Error, Result, SysContext};
use libcontainer::rootfs::LoopDevice;
use rustix::mount::MountFlags;

use self::plan::Plan;

pub use self::unmount::unmount_all;

/// Mounts all of `mounts` on `target`, in order; one that names a target of its own, below it.
///
/// # Errors
/// Names the mount. Those that were made are undone.
pub fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        if let Err(error) = mount_one(mount, target) {
            let _ = unmount_all(target);
            return Err(error.within(format_args!("rootfs[{index}]")));
        }
    }
    Ok(())
}

fn mount_one(mount: &Mount, root: &Path) -> Result<()> {
    let target = root.join(mount.target.trim_start_matches('/'));
    let plan = Plan::of(mount)?;
    // Until it is mounted, that it is open keeps it.
    let device = match plan.image {
        Some(image) => Some(LoopDevice::attach(Path::new(&mount.source), plan.is_read_only(), image.direct_io)?),
        None => None,
    };
    let source = device.as_ref().map_or(Path::new(&mount.source), LoopDevice::path);
    match &plan.ids {
        Some(ids) => mapped::mount(&mount.type_, source, &target, &plan, ids)?,
        None if plan.is_bind() => bind(source, &target, &plan)?,
        None => filesystem(&mount.type_, source, &target, &plan)?,
    }
    plan.propagation.iter().try_for_each(|change| {
        rustix::mount::mount_change(&target, *change).sys("mount", format_args!("{}, propagation", target.display()))
    })
}

fn filesystem(kind: &str, source: &Path, target: &Path, plan: &Plan) -> Result<()> {
    if kind == "overlay" {
        return overlay::mount(source, target, plan);
    }
    let data = plan.data.join(",");
    if data.len() > overlay::LONGEST_DATA {
        return Err(Error::invalid("options", format!("they are longer than {} bytes", overlay::LONGEST_DATA)));
    }
    mount_with(kind, source, target, plan, data)
}

/// mount(2).
fn mount_with(kind: &str, source: &Path, target: &Path, plan: &Plan, data: String) -> Result<()> {
    let data = std::ffi::CString::new(data).map_err(|_| Error::invalid("options", "they contain NUL"))?;
    let data = Some(data.as_c_str()).filter(|data| !data.is_empty());
    rustix::mount::mount(source, target, kind, plan.flags, data)
        .sys("mount", format_args!("{kind} on {}", target.display()))
}

fn bind(source: &Path, target: &Path, plan: &Plan) -> Result<()> {
    let bound = match plan.flags.contains(MountFlags::REC) {
        true => rustix::mount::mount_bind_recursive(source, target),
        false => rustix::mount::mount_bind(source, target),
    };
    bound.sys("mount", format_args!("{} on {}", source.display(), target.display()))?;
    set_flags(target, plan)
}

/// A mount that was made of another takes its flags only when it is mounted anew.
fn set_flags(target: &Path, plan: &Plan) -> Result<()> {
    let flags = (plan.flags - MountFlags::REC) | MountFlags::BIND;
    if flags == MountFlags::BIND {
        return Ok(());
    }
    rustix::mount::mount_remount(target, flags, c"").sys("mount", format_args!("{}, its options", target.display()))
}
