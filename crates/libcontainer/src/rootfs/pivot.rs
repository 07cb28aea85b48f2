//! The root filesystem as a mount, and becoming `/`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};

use super::options::Propagation;
use super::plan::{Pivot, RootfsPlan};
use crate::error::{During, Error, Kind, Result, SysContext};
use crate::paths::Root;
use crate::sys::mount::MountAttr;
use crate::tree::{self, attach, unescape};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Cuts the ways between this namespace and the host that the plan cuts, and makes the root filesystem a mount.
pub(super) fn make_root(plan: &RootfsPlan) -> Result<Root> {
    if plan.pivot == Pivot::Chroot {
        // In the host's own namespace, whose mounts stay as they are. What is mounted in the container stays until
        // somebody unmounts it: by one `umount -R`, as with runc, and with no copy elsewhere that propagation has made.
        let below = open_root(plan)?;
        if plan.mounts.is_empty() {
            return Ok(below);
        }
        let tree = clone_root(&below, plan)?;
        attach(tree.as_fd(), below.as_fd()).sys("move_mount", plan.path.display())?;
        // Only now: what is attached below a shared mount becomes shared.
        let private = MountAttr::propagating(Propagation::Private.bits());
        tree::change_attached(&tree, true, &private).sys("mount_setattr", plan.path.display())?;
        return Ok(Root::from_fd(tree, &plan.path));
    }
    let (propagation, recursive) = plan.propagation.host;
    let recursion = if recursive { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
    let flags = MountPropagationFlags::from_bits_retain(propagation.bits() as u32) | recursion;
    mount_change("/", flags).sys("mount", "/").within(|| "setting the propagation of mounts")?;
    let below = open_root(plan)?;
    if let Some(propagation) = plan.propagation.parent {
        change_parent(below.as_fd(), propagation).within(|| plan.path.display())?;
    }
    let tree = clone_root(&below, plan)?;
    attach(tree.as_fd(), below.as_fd()).sys("move_mount", plan.path.display())?;
    Ok(Root::from_fd(tree, &plan.path))
}

/// The root filesystem with what is mounted below it, attached nowhere.
fn clone_root(below: &Root, plan: &RootfsPlan) -> Result<OwnedFd> {
    tree::clone(below, Path::new(""), OpenTreeFlags::AT_RECURSIVE).sys("open_tree", plan.path.display())
}

fn open_root(plan: &RootfsPlan) -> Result<Root> {
    Root::open(&plan.path).map_err(|error| match error.errno() {
        Some(Errno::NOENT) => error.of_kind(Kind::NotFound).within("root.path").remedy("unpack an image there"),
        _ => error.within("root.path"),
    })
}

/// Changes the propagation of the mount that `dir` lies in: only at its root can that be done, so that is searched for
/// upwards.
fn change_parent(dir: impl AsFd, propagation: Propagation) -> Result<()> {
    /// Deeper than any path that the kernel takes.
    const LEVELS: usize = 4096;
    let change = MountAttr::propagating(propagation.bits());
    let mut above: Option<OwnedFd> = None;
    for _ in 0..LEVELS {
        let at = above.as_ref().map_or(dir.as_fd(), AsFd::as_fd);
        match tree::change_attached(at, false, &change) {
            Err(Errno::INVAL) => {
                let up = openat(at, c"..", DIRECTORY, Mode::empty()).sys("openat", "..")?;
                above = Some(up);
            }
            result => return result.sys("mount_setattr", "the mount that it lies in"),
        }
    }
    Err(Error::system("mount_setattr", "the mount that it lies in", Errno::INVAL))
}

/// Makes `root` this process's `/` and working directory.
pub(super) fn enter(root: Root, plan: &RootfsPlan) -> Result<()> {
    match plan.pivot {
        Pivot::PivotRoot => pivot(&root)?,
        Pivot::Move => {
            cover_host_proc_and_sys(&plan.path)?;
            fchdir(&root).sys("fchdir", plan.path.display())?;
            tree::attach_at(&root, CWD, Path::new("/")).sys("move_mount", "/")?;
            enter_working_directory()?;
        }
        Pivot::Chroot => {
            fchdir(&root).sys("fchdir", plan.path.display())?;
            enter_working_directory()?;
        }
    }
    match plan.propagation.root {
        Some((propagation, recursive)) if plan.pivot != Pivot::Chroot => {
            let change = MountAttr::propagating(propagation.bits());
            tree::change_root(recursive, &change).sys("mount_setattr", "/").within(|| "linux.rootfsPropagation")
        }
        _ => Ok(()),
    }
}

/// pivot_root(".", ".") stacks the old root upon the new one (pivot_root(2), "Notes"), so no directory is needed for it.
#[allow(clippy::disallowed_methods, reason = "the host's root, which this process is still in")]
fn pivot(root: &Root) -> Result<()> {
    let host = open("/", DIRECTORY, Mode::empty()).sys("open", "/")?;
    fchdir(root).sys("fchdir", root.path().display())?;
    pivot_root(".", ".").map_err(|errno| {
        let error = Error::system("pivot_root", root.path().display(), errno);
        match errno {
            Errno::INVAL => error.cause("the host's / may be a ramdisk").remedy("--no-pivot"),
            _ => error,
        }
    })?;
    // A hook may have shared mounts again since `prepare`; if so the host would lose what is unmounted here. Slave, not
    // private: a private copy would keep mounts busy that the host is about to unmount.
    let slave = MountAttr::propagating(Propagation::Slave.bits());
    tree::change_attached(&host, true, &slave).sys("mount_setattr", "the host's /")?;
    fchdir(&host).sys("fchdir", "the host's /")?;
    unmount(".", UnmountFlags::DETACH).sys("umount2", "the host's /")?;
    chdir("/").sys("chdir", "/")
}

fn enter_working_directory() -> Result<()> {
    chroot(".").sys("chroot", ".")?;
    chdir("/").sys("chdir", "/")
}

/// After a move the host's mounts lie below ours and still count for the kernel, which lets a container mount a whole
/// procfs or sysfs if one is there already. So those that are outside the root filesystem go first.
#[allow(clippy::disallowed_methods, reason = "the host's /proc: its root is not left yet")]
fn cover_host_proc_and_sys(rootfs: &Path) -> Result<()> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read(path).sys("read", path)?;
    for line in text.split(|byte| *byte == b'\n') {
        let Some(mountpoint) = whole_proc_or_sys(line).filter(|path| !path.starts_with(rootfs)) else { continue };
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        match mount_change(&mountpoint, slave) {
            Err(Errno::NOENT) => continue, // it went with one that was above it
            result => result.sys("mount", mountpoint.display())?,
        }
        match unmount(&mountpoint, UnmountFlags::DETACH) {
            // Locked, as it came from another user namespace: then something is put over it.
            Err(Errno::INVAL | Errno::PERM) => {
                let nothing: Option<&std::ffi::CStr> = None;
                mount("tmpfs", &mountpoint, "tmpfs", MountFlags::empty(), nothing)
                    .sys("mount", mountpoint.display())?;
            }
            result => result.sys("umount2", mountpoint.display())?,
        }
    }
    Ok(())
}

/// The mount point in a line of mountinfo (proc_pid_mountinfo(5)), if it is all of a procfs or sysfs.
fn whole_proc_or_sys(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let (root, mountpoint) = (fields.next()?, fields.next()?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    (root == b"/" && matches!(kind, b"proc" | b"sysfs")).then(|| unescape(mountpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_proc_and_sys_mounts_are_found_in_mountinfo() {
        let line =
            |root: &str, at: &str, kind: &str| format!("22 28 0:21 {root} {at} rw,nosuid shared:7 - {kind} x rw");
        let found = |root, at, kind| whole_proc_or_sys(line(root, at, kind).as_bytes());
        assert_eq!(found("/", "/proc", "proc"), Some(PathBuf::from("/proc")));
        assert_eq!(found("/", "/a\\040b\\134", "sysfs"), Some(PathBuf::from("/a b\\")));
        assert_eq!(found("/sys", "/proc/sys", "proc"), None);
        assert_eq!(found("/", "/tmp", "tmpfs"), None);
        assert_eq!(whole_proc_or_sys(b""), None);
        assert_eq!(unescape(b"a\\0"), Path::new("a\\0"));
    }
}
