//! Filesystems by mount(2), for the one thing that fsconfig(2) cannot do: parameters of more than 255 bytes, such as
//! the `lowerdir` of an overlay with many layers.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::mount::{MountFlags, mount as mount2};
use rustix::process::{chdir, fchdir};

use super::options::{Attributes, Parameter};
use super::plan_mounts::{Filesystem, MountStep};
use crate::error::{During, Error, Result, SysContext};
use crate::paths::Root;

/// `fsconfig` copies at most 256 bytes of a string, with its NUL.
const LONGEST: usize = 255;

pub(super) fn is_needed(filesystem: &Filesystem) -> bool {
    let long = |text: &str| text.len() > LONGEST;
    long(&filesystem.source) || filesystem.parameters.iter().any(|one| one.value.as_deref().is_some_and(long))
}

/// Mounts on the working directory, which is the target's descriptor: so no path is walked here either.
pub(super) fn mount(root: &Root, step: &MountStep, filesystem: &Filesystem, target: &OwnedFd) -> Result<()> {
    let (flags, data) = arguments(filesystem.attributes, &filesystem.parameters)
        .within(|| format!("mounts[{}].options", step.index))?;
    fchdir(target).sys("fchdir", step.destination.display())?;
    let source = filesystem.source.as_str();
    let mounted = mount2(source, ".", filesystem.kind.as_str(), flags, data.as_c_str());
    chdir("/").sys("chdir", "/")?;
    mounted.sys("mount", filesystem.kind.as_str())?;
    if step.changes.is_empty() {
        return Ok(());
    }
    let top = root.resolve(&step.destination, OFlags::PATH)?;
    super::mount::change_attached(&top, &step.changes)
}

/// Attributes and parameters as mount(2) takes them: flags and a text.
pub(super) fn arguments(attributes: Attributes, parameters: &[Parameter]) -> Result<(MountFlags, CString)> {
    let mut flags = flags(attributes);
    let mut data = Vec::new();
    for parameter in parameters {
        match generic(&parameter.key) {
            Some(flag) => flags |= flag,
            None => data.push(parameter.to_string()),
        }
    }
    let data = CString::new(data.join(",")).map_err(|_| Error::invalid(data.join(","), "has a NUL character"))?;
    Ok((flags, data))
}

/// The parameters that mount(2) takes as flags.
fn generic(key: &str) -> Option<MountFlags> {
    match key {
        "ro" => Some(MountFlags::RDONLY),
        "sync" => Some(MountFlags::SYNCHRONOUS),
        "dirsync" => Some(MountFlags::DIRSYNC),
        "lazytime" => Some(MountFlags::LAZYTIME),
        "mand" => Some(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        "iversion" => Some(MountFlags::from_bits_retain(libc::MS_I_VERSION as u32)),
        "async" | "nolazytime" | "nomand" | "noiversion" => Some(MountFlags::empty()),
        _ => None,
    }
}

fn flags(attributes: Attributes) -> MountFlags {
    [
        (Attributes::RDONLY, MountFlags::RDONLY),
        (Attributes::NOSUID, MountFlags::NOSUID),
        (Attributes::NODEV, MountFlags::NODEV),
        (Attributes::NOEXEC, MountFlags::NOEXEC),
        (Attributes::NOATIME, MountFlags::NOATIME),
        (Attributes::STRICTATIME, MountFlags::STRICTATIME),
        (Attributes::NODIRATIME, MountFlags::NODIRATIME),
        (Attributes::NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
    ]
    .into_iter()
    .filter(|(attribute, _)| attributes.has(*attribute))
    .fold(MountFlags::empty(), |flags, (_, flag)| flags | flag)
}
