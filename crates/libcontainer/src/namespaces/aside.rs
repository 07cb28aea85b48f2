//! Other mount namespaces, for as long as something is made in them: one that is thrown away, or a container's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{chroot, fchdir};

use crate::error::{During, Phase, Result, SysContext};
use crate::sys::namespace::{setns, unshare};

const NEW_MOUNTS: u64 = libc::CLONE_NEWNS as u64;

/// Runs `body` in a copy of the calling thread's mount namespace from which nothing propagates, then brings the thread
/// back. What `body` mounts is gone with the copy, or with the caller if it is killed meanwhile, but for what it gives
/// as a descriptor.
///
/// # Errors
/// Those of `body`; without CAP_SYS_ADMIN; if there is no way back, and then the thread is lost for anything else.
pub fn with_mounts_aside<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = Home::open().during(Phase::Namespaces)?;
    unshare(NEW_MOUNTS).sys("unshare", "a mount namespace").during(Phase::Namespaces)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let made = mount_change("/", private).sys("mount", "/, private").and_then(|()| body());
    home.take_again()?;
    made
}

/// Runs `body` in another process's mount namespace, below that process's root, then brings the thread back.
///
/// # Errors
/// As [`with_mounts_aside`].
pub fn with_mounts_of<T>(mounts: BorrowedFd<'_>, root: BorrowedFd<'_>, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let home = Home::open().during(Phase::Namespaces)?;
    setns(mounts, NEW_MOUNTS).sys("setns", "the container's mount namespace").during(Phase::Namespaces)?;
    let inside = fchdir(root).and_then(|()| chroot(".")).sys("chroot", "the container's process's root");
    let made = inside.and_then(|()| body());
    home.take_again()?;
    made
}

/// Where a thread was, before it joined a mount namespace, which takes it to that namespace's root.
struct Home {
    mounts: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Home {
    fn open() -> Result<Home> {
        let own = "/proc/thread-self/ns/mnt";
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &str, flags| rustix::fs::open(path, flags, Mode::empty()).sys("open", path);
        Ok(Home {
            mounts: open(own, OFlags::RDONLY | OFlags::CLOEXEC)?,
            root: open("/", directory)?,
            cwd: open(".", directory)?,
        })
    }

    fn take_again(self) -> Result<()> {
        setns(self.mounts.as_fd(), NEW_MOUNTS)
            .and_then(|()| fchdir(&self.root))
            .and_then(|()| chroot("."))
            .and_then(|()| fchdir(&self.cwd))
            .sys("setns", "back from a mount namespace")
            .during(Phase::Namespaces)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree, unmount};

    use super::*;
    use crate::error::Error;
    use crate::testing::{in_private_mounts, is_root};

    fn own_mounts() -> std::path::PathBuf {
        std::fs::read_link("/proc/thread-self/ns/mnt").expect("namespace")
    }

    #[test]
    fn what_is_mounted_aside_is_gone_but_for_what_is_brought_back() {
        if !is_root("what_is_mounted_aside_is_gone_but_for_what_is_brought_back") {
            return;
        }
        let base = std::env::temp_dir().join(format!("creel-test-aside-{}", std::process::id()));
        std::fs::create_dir_all(base.join("root")).expect("mkdir");
        let own = base.clone();
        in_private_mounts(move || {
            let (before, cwd) = (own_mounts(), std::env::current_dir().expect("cwd"));
            let tree = with_mounts_aside(|| {
                assert_ne!(own_mounts(), before);
                mount("none", &own, "tmpfs", MountFlags::empty(), None).sys("mount", "tmpfs")?;
                std::fs::write(own.join("file"), "x").sys("write", "file")?;
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                open_tree(rustix::fs::CWD, &own, flags).sys("open_tree", "")
            });
            let tree = tree.expect("aside");
            assert!(own_mounts() == before && own.join("root").exists() && !own.join("file").exists());
            assert_eq!(std::env::current_dir().expect("cwd"), cwd);
            let failed = with_mounts_aside(|| Err::<(), _>(Error::unsupported("that"))).expect_err("told");
            assert!(failed.to_string().contains("that") && own_mounts() == before, "{failed}");
            move_mount(&tree, "", rustix::fs::CWD, &own, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).expect("attach");
            assert!(own.join("file").exists());
            drop(tree);
            // Another test's child may have been cloned while `tree` was open.
            unmount(&own, rustix::mount::UnmountFlags::DETACH).expect("unmount");
            // In a root of its own.
            let root = rustix::fs::open(own.join("root"), OFlags::PATH, Mode::empty()).expect("open");
            fchdir(&root).and_then(|()| chroot(".")).expect("chroot");
            assert!(with_mounts_aside(|| Ok(())).is_err(), "there is no /proc here");
            assert!(!Path::new("/root").exists());
        });
        std::fs::remove_dir_all(&base).expect("remove");
    }
}
