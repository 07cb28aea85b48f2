//! New filesystems on the real kernel.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use serde_json::json;

use super::super::{enter, finish, prepare};
use super::{at, errno_of_write, with_bundle};
use crate::error::Kind;

#[test]
fn a_tmpfs_has_what_was_asked_for() {
    with_bundle("tmpfs", |bundle| {
        let options = json!(["nosuid", "noexec", "strictatime", "mode=750", "size=64k", "nr_inodes=9", "shared"]);
        let mounts = json!([
            {"destination": "/a/b", "type": "tmpfs", "source": "mine", "options": options},
            {"destination": "relative", "type": "tmpfs"},
            {"destination": "/slow", "type": "tmpfs", "source": "x", "options": ["noatime", "nodiratime", "sync", "dirsync", "iversion", "rnodev"]}
        ]);
        bundle.mount(mounts).expect("mount");
        let mount = at(bundle.root("a/b"));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("tmpfs", "mine"));
        assert!(mount.has("nosuid") && mount.has("noexec") && !mount.has("nodev"), "{mount:?}");
        assert!(!mount.has("relatime") && !mount.has("noatime"), "{mount:?}");
        assert!(mount.filesystem_has("size=64k") && mount.filesystem_has("nr_inodes=9"), "{mount:?}");
        assert!(mount.is("shared:"), "{mount:?}");
        assert_eq!(bundle.root("a/b").metadata().expect("stat").mode() & 0o7777, 0o750);
        assert_eq!(bundle.root("a").metadata().expect("stat").mode() & 0o7777, 0o755);
        assert!(at(bundle.root("relative")).has("relatime"));
        let mount = at(bundle.root("slow"));
        assert!(mount.has("noatime") && mount.has("nodiratime") && mount.has("nodev"), "{mount:?}");
        assert!(mount.filesystem_has("sync") && mount.filesystem_has("dirsync"), "{mount:?}");
    });
}

#[test]
fn a_tmpfs_takes_the_permissions_of_what_it_covers() {
    with_bundle("inherit", |bundle| {
        for (name, mode) in [("sticky", 0o1777), ("own", 0o711)] {
            std::fs::create_dir(bundle.root(name)).expect("mkdir");
            std::fs::set_permissions(bundle.root(name), PermissionsExt::from_mode(mode)).expect("chmod");
        }
        bundle
            .mount(json!([
                {"destination": "/sticky", "type": "tmpfs"},
                {"destination": "/own", "type": "tmpfs", "options": ["mode=0700"]},
                {"destination": "/new", "type": "tmpfs"}
            ]))
            .expect("mount");
        let mode = |name: &str| bundle.root(name).metadata().expect("stat").mode() & 0o7777;
        assert_eq!((mode("sticky"), mode("own"), mode("new")), (0o1777, 0o700, 0o1777));
    });
}

#[test]
fn an_option_that_the_filesystem_refuses_is_told_in_the_kernels_words() {
    with_bundle("refused", |bundle| {
        let mounts = json!([
            {"destination": "/fine", "type": "tmpfs"},
            {"destination": "/a", "type": "tmpfs", "options": ["size=1k", "colour=red"]}
        ]);
        let error = bundle.mount(mounts).expect_err("no such option").to_string();
        assert_eq!(
            error,
            "setting up the root filesystem: mounts[1] (/a): tmpfs: colour=red: fsconfig: invalid argument: \
             tmpfs: Unknown parameter 'colour'"
        );
        let error = bundle.mount(json!([{"destination": "/a", "type": "nofs"}])).expect_err("no such type");
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("mounts[0] (/a): nofs: fsopen"), "{error}");
        bundle.file("rootfs/file", "");
        let error = bundle.mount(json!([{"destination": "/file", "type": "tmpfs"}])).expect_err("on a file");
        assert!(error.to_string().contains("a directory goes onto a directory only"), "{error}");
    });
}

#[test]
fn long_parameters_go_by_mount2() {
    with_bundle("long", |bundle| {
        let lower = bundle.path.join("l".repeat(150)).join("m".repeat(150));
        std::fs::create_dir_all(&lower).expect("mkdir");
        std::fs::write(lower.join("below"), "from below").expect("write");
        // The upper directories are on a tmpfs, as /tmp of the machine may itself be an overlay.
        let upper = bundle.path.join("t");
        std::fs::create_dir(&upper).expect("mkdir");
        rustix::mount::mount("t", &upper, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("tmpfs");
        for name in ["upper", "work"] {
            std::fs::create_dir(upper.join(name)).expect("mkdir");
        }
        let overlay = |key: &str, path: &std::path::Path| format!("{key}={}", path.display());
        let mut options = vec![overlay("lowerdir", &lower)];
        options.extend([overlay("upperdir", &upper.join("upper")), overlay("workdir", &upper.join("work"))]);
        options.extend(["nodev", "private"].map(str::to_owned));
        bundle
            .mount(json!([{"destination": "/o", "type": "overlay", "source": "o", "options": options}]))
            .expect("mount");
        assert_eq!(std::fs::read_to_string(bundle.root("o/below")).expect("read"), "from below");
        assert!(at(bundle.root("o")).has("nodev") && at(bundle.root("o")).kind == "overlay");
    });
}

#[test]
fn tmpcopyup_copies_all_there_is() {
    with_bundle("copyup", |bundle| {
        let old = bundle.root("var");
        std::fs::create_dir_all(old.join("deep/er")).expect("mkdir");
        std::fs::write(old.join("deep/er/file"), "x".repeat(100_000)).expect("write");
        std::fs::set_permissions(old.join("deep/er/file"), PermissionsExt::from_mode(0o4751)).expect("chmod");
        std::fs::set_permissions(old.join("deep"), PermissionsExt::from_mode(0o1770)).expect("chmod");
        std::os::unix::fs::lchown(old.join("deep"), Some(7), Some(8)).expect("chown");
        symlink("/etc/passwd", old.join("link")).expect("symlink");
        std::os::unix::fs::lchown(old.join("link"), Some(3), Some(4)).expect("chown");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, old.join("fifo"), fifo, 0o620.into(), 0).expect("mkfifo");
        std::fs::set_permissions(old.join("fifo"), PermissionsExt::from_mode(0o620)).expect("chmod");
        let options = json!(["tmpcopyup", "size=1m", "nosuid"]);
        bundle.mount(json!([{"destination": "/var", "type": "tmpfs", "options": options}])).expect("mount");
        let new = bundle.root("var");
        assert_eq!(at(&new).kind, "tmpfs");
        let stat = |path: &str| new.join(path).symlink_metadata().expect(path);
        assert_eq!(std::fs::read(new.join("deep/er/file")).expect("read").len(), 100_000);
        assert_eq!(stat("deep/er/file").mode() & 0o7777, 0o4751);
        let deep = stat("deep");
        assert_eq!((deep.mode() & 0o7777, deep.uid(), deep.gid()), (0o1770, 7, 8));
        assert_eq!(std::fs::read_link(new.join("link")).expect("link").to_str(), Some("/etc/passwd"));
        assert_eq!((stat("link").uid(), stat("link").gid()), (3, 4));
        assert!(stat("fifo").file_type().is_fifo() && stat("fifo").mode() & 0o777 == 0o620);
        std::fs::write(new.join("more"), "").expect("it is writable");
        rustix::mount::unmount(&new, rustix::mount::UnmountFlags::DETACH).expect("unmount");
        assert!(old.join("deep/er/file").exists() && !old.join("more").exists(), "the original is as it was");
    });
}

#[test]
fn a_read_only_tmpfs_is_so_at_the_end_and_can_be_mounted_in_before() {
    with_bundle("late", |bundle| {
        bundle.directory("data");
        let config = json!({"mounts": [
            {"destination": "/proc", "type": "proc"},
            {"destination": "/run", "type": "tmpfs", "options": ["ro", "nosuid"]},
            {"destination": "/run/data", "source": "data", "options": ["bind"]}
        ]});
        let plan = bundle.plan(config).expect("a plan");
        let rootfs = prepare(&plan).expect("prepare");
        enter(rootfs, &plan).expect("enter");
        std::fs::write("/run/early", "").expect("not yet read-only");
        finish(&plan).expect("finish");
        assert_eq!(errno_of_write("/run/late"), Some(libc::EROFS));
        assert!(at("/run").has("ro") && at("/run").has("nosuid"));
        std::fs::write("/run/data/file", "").expect("a mount of its own");
    });
}

#[test]
fn a_remount_changes_what_is_there() {
    with_bundle("remount", |bundle| {
        bundle
            .mount(json!([
                {"destination": "/a", "type": "tmpfs", "options": ["size=64k", "nodev"]},
                {"destination": "/a", "type": "tmpfs", "options": ["remount", "size=128k", "noexec"]},
                {"destination": "/b", "type": "tmpfs"},
                {"destination": "/b", "source": "x", "options": ["bind", "remount", "ro"]}
            ]))
            .expect("mount");
        let mount = at(bundle.root("a"));
        assert!(mount.filesystem_has("size=128k") && mount.has("noexec") && !mount.has("nodev"), "{mount:?}");
        assert!(at(bundle.root("b")).has("ro"));
        let error = bundle.mount(json!([{"destination": "/c", "options": ["remount", "ro"]}])).expect_err("not there");
        assert!(error.to_string().contains("mounts[0] (/c): /c: openat2: no such file"), "{error}");
    });
}
