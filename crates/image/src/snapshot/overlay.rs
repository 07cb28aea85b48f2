//! Mounting layers and a writable directory as one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount as mount_by_data, move_mount, unmount as umount,
};

use super::{Snapshot, open_dir, visible};
use crate::error::{Error, Result, SysContext};
use crate::layer::Marks;

/// Mounts `layers` (lowest first) with what is written in `upper` on `target`. All paths are absolute.
///
/// # Errors
/// Where overlayfs cannot be had: without privileges, or on a file system that cannot be its upper directory. The caller
/// copies then.
pub fn mount(layers: &[Snapshot], upper: &Path, work: &Path, target: &Path) -> Result<()> {
    let layers = visible(layers);
    let user = layers.iter().any(|layer| layer.about.privilege.marks == Marks::User);
    let marks = if user { Marks::User } else { Marks::Trusted };
    marks.can_be_set(open_dir(upper)?)?;
    match by_fsconfig(layers, upper, work, target, user) {
        // No `lowerdir+` (new in Linux 6.8), or a path beyond the 255 bytes that fsconfig takes.
        Err(error) if matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::TOOBIG)) => {
            by_data(layers, upper, work, target, user).map_err(|second| {
                if second.errno() == error.errno() { second } else { second.cause(format!("and before that: {error}")) }
            })
        }
        result => result,
    }
}

/// One option after the other: any number of layers, and no character in a path means anything.
fn by_fsconfig(layers: &[Snapshot], upper: &Path, work: &Path, target: &Path, user: bool) -> Result<()> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).sys("fsopen", "overlay")?;
    fsconfig_set_string(fs.as_fd(), "source", "creel-image").sys("fsconfig", "source")?;
    // Each one goes below those before it.
    for layer in layers.iter().rev() {
        fsconfig_set_string(fs.as_fd(), "lowerdir+", layer.fs()).sys("fsconfig", layer.fs().display())?;
    }
    fsconfig_set_string(fs.as_fd(), "upperdir", upper).sys("fsconfig", upper.display())?;
    fsconfig_set_string(fs.as_fd(), "workdir", work).sys("fsconfig", work.display())?;
    if user {
        fsconfig_set_flag(fs.as_fd(), "userxattr").sys("fsconfig", "userxattr")?;
    }
    fsconfig_create(fs.as_fd()).map_err(|errno| explained("fsconfig", target, errno, user))?;
    let mounted =
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).sys("fsmount", "overlay")?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mounted.as_fd(), "", CWD, target, flags).sys("move_mount", target.display())
}

/// The old way has a page for all options; descriptors make the paths short, and free of `:` and `,`.
fn by_data(layers: &[Snapshot], upper: &Path, work: &Path, target: &Path, user: bool) -> Result<()> {
    let lower: Vec<OwnedFd> = layers.iter().rev().map(Snapshot::open).collect::<Result<_>>()?;
    let name = |dir: &OwnedFd| format!("/proc/self/fd/{}", dir.as_raw_fd());
    let (upper, work) = (open_dir(upper)?, open_dir(work)?);
    let lower = lower.iter().map(name).collect::<Vec<_>>().join(":");
    let mut data = format!("lowerdir={lower},upperdir={},workdir={}", name(&upper), name(&work));
    if user {
        data.push_str(",userxattr");
    }
    if data.len() >= 4096 {
        let many = format!("{} layers are more than this kernel can mount", layers.len());
        return Err(Error::unsupported(many).remedy("use --copy, or Linux 6.8 or later"));
    }
    let data = std::ffi::CString::new(data).map_err(|_| Error::invalid("overlay options", "have a NUL"))?;
    mount_by_data("creel-image", target, "overlay", MountFlags::empty(), data.as_c_str())
        .map_err(|errno| explained("mount", target, errno, user))
}

fn explained(syscall: &str, target: &Path, errno: Errno, user: bool) -> Error {
    let error = Error::system(syscall, format!("overlay on {}", target.display()), errno);
    match errno {
        Errno::INVAL if user => error
            .cause(
                "the bundle's file system cannot be overlayfs's upper directory, as one that is an overlay itself cannot, \
                 or the kernel does not know the option userxattr",
            )
            .remedy("put the bundle elsewhere, or use Linux 5.11 or later, or --copy"),
        Errno::PERM | Errno::ACCESS if user => error
            .cause("the kernel (before Linux 5.11) or a security module does not let users mount overlays")
            .remedy("use --copy"),
        Errno::INVAL => error
            .cause("the bundle's file system cannot be overlayfs's upper directory, as one that is an overlay itself cannot")
            .remedy("put the bundle elsewhere, or use --copy"),
        Errno::PERM | Errno::ACCESS => error.remedy("mounting needs root; --copy needs it not"),
        _ => error,
    }
}

/// Unmounts what is on `target`, if anything is.
pub fn unmount(target: &Path) -> Result<()> {
    loop {
        match umount(target, UnmountFlags::NOFOLLOW) {
            Ok(()) => (),
            // Not a mount point, or not there.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(Errno::PERM) if !rustix::process::geteuid().is_root() => return Ok(()),
            Err(Errno::BUSY) => {
                return Err(Error::system("umount2", target.display(), Errno::BUSY)
                    .remedy("delete the container that runs there, and leave the directory"));
            }
            Err(errno) => return Err(Error::system("umount2", target.display(), errno)),
        }
    }
}
