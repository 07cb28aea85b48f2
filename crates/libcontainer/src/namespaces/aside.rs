//! A mount namespace that is thrown away, for what has to be mounted while something else is made of it.

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{chdir, chroot, fchdir};

use crate::error::{During, Phase, Result, SysContext};
use crate::sys::namespace::{setns, unshare};

const NEW_MOUNTS: u64 = libc::CLONE_NEWNS as u64;

/// Runs `body` in a copy of the calling thread's mount namespace from which nothing propagates, then brings the thread
/// back, to its root as working directory. What `body` mounts is gone with the copy, or with the caller if it is killed meanwhile, but for what it gives
/// as a descriptor.
///
/// # Errors
/// Those of `body`; without CAP_SYS_ADMIN; if there is no way back, and then the thread is lost for anything else.
pub fn with_mounts_aside<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", directory, Mode::empty()).sys("open", "/")?;
    let own = "/proc/thread-self/ns/mnt";
    let home = rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).sys("open", own)?;
    unshare(NEW_MOUNTS).sys("unshare", "a mount namespace").during(Phase::Namespaces)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let made = mount_change("/", private).sys("mount", "/, private").and_then(|()| body());
    // Joining sets the root to that of the namespace, which need not be the caller's.
    let back = setns(std::os::fd::AsFd::as_fd(&home), NEW_MOUNTS)
        .and_then(|()| fchdir(&root))
        .and_then(|()| chroot("."))
        .and_then(|()| chdir("/"));
    back.sys("setns", "back from a mount namespace").during(Phase::Namespaces)?;
    made
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{Mode, OFlags};
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
            let before = own_mounts();
            let tree = with_mounts_aside(|| {
                assert_ne!(own_mounts(), before);
                mount("none", &own, "tmpfs", MountFlags::empty(), None).sys("mount", "tmpfs")?;
                std::fs::write(own.join("file"), "x").sys("write", "file")?;
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                open_tree(rustix::fs::CWD, &own, flags).sys("open_tree", "")
            });
            let tree = tree.expect("aside");
            assert!(own_mounts() == before && own.join("root").exists() && !own.join("file").exists());
            let failed = with_mounts_aside(|| Err::<(), _>(Error::unsupported("that"))).expect_err("told");
            assert!(failed.to_string().contains("that") && own_mounts() == before, "{failed}");
            move_mount(&tree, "", rustix::fs::CWD, &own, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).expect("attach");
            assert!(own.join("file").exists());
            drop(tree);
            unmount(&own, rustix::mount::UnmountFlags::empty()).expect("unmount");
            // In a root of its own.
            let root = rustix::fs::open(own.join("root"), OFlags::PATH, Mode::empty()).expect("open");
            fchdir(&root).and_then(|()| chroot(".")).expect("chroot");
            assert!(with_mounts_aside(|| Ok(())).is_err(), "there is no /proc here");
            assert!(!Path::new("/root").exists());
        });
        std::fs::remove_dir_all(&base).expect("remove");
    }
}
