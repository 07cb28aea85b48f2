//! Bind mounts and propagation on the real kernel.

use std::os::unix::fs::{MetadataExt, symlink};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use serde_json::{Value, json};

use super::{at, errno_of_write, mounted, with_bundle};
use crate::error::Kind;

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "source": source, "options": options})
}

#[test]
fn directories_and_files_are_bound_with_what_was_asked_for() {
    with_bundle("bind", |bundle| {
        bundle.directory("dir");
        bundle.file("one", "text");
        bundle
            .mount(json!([
                bind("dir", "/new/dir", &["bind"]),
                bind("dir", "/ro", &["bind", "ro", "nosuid", "noatime"]),
                bind("one", "/etc/one", &["rbind", "ro"]),
                {"destination": "/typed", "type": "bind", "source": "dir"}
            ]))
            .expect("mount");
        std::fs::write(bundle.root("new/dir/more"), "").expect("writable");
        assert!(bundle.path.join("dir/more").exists());
        assert_eq!(errno_of_write(bundle.root("ro/more")), Some(libc::EROFS));
        let mount = at(bundle.root("ro"));
        assert!(mount.has("ro") && mount.has("nosuid") && mount.has("noatime") && !mount.has("nodev"), "{mount:?}");
        assert_eq!(std::fs::read_to_string(bundle.root("etc/one")).expect("read"), "text");
        assert_eq!(errno_of_write(bundle.root("etc/one")), Some(libc::EROFS));
        assert_eq!(std::fs::read_to_string(bundle.root("typed/file")).expect("read"), "dir");
    });
}

#[test]
fn recursive_attributes_reach_what_is_mounted_below() {
    with_bundle("rro", |bundle| {
        let dir = bundle.directory("dir");
        std::fs::create_dir(dir.join("sub")).expect("mkdir");
        mount("sub", dir.join("sub"), "tmpfs", MountFlags::NOSUID, None).expect("tmpfs");
        bundle
            .mount(json!([
                bind("dir", "/plain", &["bind"]),
                bind("dir", "/ro", &["rbind", "ro"]),
                bind("dir", "/rro", &["rbind", "rro", "rsuid", "rnodev"]),
                bind("dir", "/mixed", &["rbind", "ro", "rnoexec", "rrw"])
            ]))
            .expect("mount");
        assert!(mounted(bundle.root("plain/sub")).is_none());
        let (top, sub) = (at(bundle.root("ro")), at(bundle.root("ro/sub")));
        assert!(top.has("ro") && sub.has("rw") && sub.has("nosuid"), "{top:?} {sub:?}");
        for path in ["rro", "rro/sub"] {
            let mount = at(bundle.root(path));
            assert!(mount.has("ro") && mount.has("nodev") && !mount.has("nosuid"), "{mount:?}");
        }
        assert!(at(bundle.root("mixed/sub")).has("noexec") && at(bundle.root("mixed")).has("rw"));
        let source = at(dir.join("sub"));
        assert!(source.has("rw") && source.has("nosuid"), "the source is left as it was: {source:?}");
    });
}

#[test]
fn one_option_resets_the_others_that_the_source_has() {
    with_bundle("reset", |bundle| {
        let dir = bundle.directory("dir");
        let strict = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("t", &dir, "tmpfs", strict, None).expect("tmpfs");
        bundle.mount(json!([bind("dir", "/all", &["bind"]), bind("dir", "/one", &["bind", "nodev"])])).expect("mount");
        let (all, one) = (at(bundle.root("all")), at(bundle.root("one")));
        assert!(all.has("nosuid") && all.has("nodev") && all.has("noexec"), "{all:?}");
        assert!(!one.has("nosuid") && one.has("nodev") && !one.has("noexec"), "{one:?}");
    });
}

#[test]
fn propagation_is_as_asked_for() {
    with_bundle("propagation", |bundle| {
        let dir = bundle.directory("dir");
        mount("t", &dir, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
        std::fs::create_dir(dir.join("sub")).expect("mkdir");
        mount("t", dir.join("sub"), "tmpfs", MountFlags::empty(), None).expect("tmpfs");
        let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
        mount_change(&dir, shared).expect("shared");
        // rootfsPropagation: shared keeps the mounts of this namespace shared, so that there is something to see.
        let mounts = json!([
            bind("dir", "/shared", &["rbind"]),
            bind("dir", "/slave", &["rbind", "slave"]),
            bind("dir", "/rslave", &["rbind", "rslave"]),
            bind("dir", "/rprivate", &["rbind", "rprivate", "ro"]),
            bind("dir", "/unbindable", &["bind", "unbindable"])
        ]);
        bundle.prepare(json!({"mounts": mounts, "linux": {"rootfsPropagation": "shared"}})).expect("prepare");
        let is = |path: &str, propagation: &str| at(bundle.root(path)).is(propagation);
        assert!(is("shared", "shared:") && is("shared/sub", "shared:"));
        assert!(is("slave", "master:") && !is("slave", "shared:") && is("slave/sub", "shared:"));
        assert!(is("rslave", "master:") && is("rslave/sub", "master:"));
        assert_eq!(at(bundle.root("rprivate")).propagation, [""; 0]);
        assert_eq!(at(bundle.root("rprivate/sub")).propagation, [""; 0]);
        assert!(is("unbindable", "unbindable"));
        // What the host mounts now arrives in a slave and not in a private one.
        std::fs::create_dir(dir.join("later")).expect("mkdir");
        mount("t", dir.join("later"), "tmpfs", MountFlags::empty(), None).expect("tmpfs");
        assert!(mounted(bundle.root("rslave/later")).is_some());
        assert!(mounted(bundle.root("rprivate/later")).is_none());
    });
}

#[test]
fn nothing_of_the_container_reaches_the_host() {
    with_bundle("leak", |bundle| {
        // As on most hosts: everything is shared, and a peer of ours sees what we mount.
        let peer = bundle.path.join("peer");
        std::fs::create_dir(&peer).expect("mkdir");
        let outer = bundle.path.join("outer");
        std::fs::create_dir(&outer).expect("mkdir");
        mount("t", &outer, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
        mount_change(&outer, MountPropagationFlags::SHARED).expect("shared");
        rustix::mount::mount_bind(&outer, &peer).expect("a peer");
        std::fs::create_dir(outer.join("rootfs")).expect("mkdir");
        for propagation in ["", "private", "rshared", "unbindable"] {
            let root = outer.join("rootfs");
            let config = json!({
                "root": {"path": root},
                "mounts": [{"destination": "/in", "type": "tmpfs"}],
                "linux": {"rootfsPropagation": propagation}
            });
            bundle.prepare(config).expect("prepare");
            assert!(mounted(outer.join("rootfs/in")).is_some());
            assert!(mounted(peer.join("rootfs")).is_none(), "{propagation}");
            assert!(mounted(peer.join("rootfs/in")).is_none(), "{propagation}");
            for path in [root.join("in"), root] {
                rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).expect("unmount");
            }
            mount_change(&outer, MountPropagationFlags::SHARED).expect("shared again");
        }
    });
}

#[test]
fn symlinks_as_sources_and_targets() {
    with_bundle("links", |bundle| {
        bundle.file("real", "real");
        symlink("real", bundle.path.join("link")).expect("symlink");
        bundle.file("rootfs/inner", "inner");
        symlink("inner", bundle.root("inlink")).expect("symlink");
        bundle
            .mount(json!([
                bind("link", "/followed", &["bind"]),
                bind("link", "/copied", &["bind", "copy-symlink"]),
                bind("real", "/plain", &["bind", "copy-symlink"]),
                bind("link", "/inlink", &["bind", "src-nofollow", "dest-nofollow"])
            ]))
            .expect("mount");
        assert_eq!(std::fs::read_to_string(bundle.root("followed")).expect("read"), "real");
        assert_eq!(std::fs::read_link(bundle.root("copied")).expect("a link").to_str(), Some("real"));
        assert_eq!(std::fs::read_to_string(bundle.root("plain")).expect("read"), "real");
        // The link itself is covered by the host's link; what it led to is untouched.
        assert_eq!(std::fs::read_link(bundle.root("inlink")).expect("a link").to_str(), Some("real"));
        assert_eq!(std::fs::read_to_string(bundle.root("inner")).expect("read"), "inner");
        bundle.mount(json!([bind("link", "/copied", &["bind", "copy-symlink"])])).expect("the same is there already");
        let again = bundle.mount(json!([bind("link", "/inner", &["bind", "copy-symlink"])])).expect_err("taken");
        assert!(again.to_string().contains("something other than the same symlink is there"), "{again}");
    });
}

#[test]
fn targets_are_followed_inside_the_root_as_runc_does() {
    with_bundle("inside", |bundle| {
        bundle.directory("dir");
        std::fs::create_dir(bundle.root("run")).expect("mkdir");
        std::fs::create_dir(bundle.root("var")).expect("mkdir");
        symlink("/run", bundle.root("var/run")).expect("symlink");
        bundle.mount(json!([bind("dir", "/var/run/secrets", &["bind"])])).expect("mount");
        assert!(at(bundle.root("run/secrets")).root.ends_with("/dir"));
        assert_eq!(bundle.root("run").metadata().expect("stat").mode() & 0o777, 0o755);
    });
}

#[test]
fn a_source_that_is_missing_or_of_the_wrong_kind_is_told() {
    with_bundle("missing", |bundle| {
        bundle.directory("dir");
        std::fs::write(bundle.root("file"), "").expect("write");
        let error = bundle.mount(json!([bind("/creel-none", "/x", &["bind"])])).expect_err("missing");
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(
            error.to_string(),
            "setting up the root filesystem: mounts[0] (/x): mounts[0].source: /creel-none: open_tree: no such file or \
             directory (a bind mount's source must exist on the host)"
        );
        assert!(!bundle.root("x").exists(), "no target is left behind");
        let error = bundle.mount(json!([bind("dir", "/file", &["bind"])])).expect_err("a directory on a file");
        assert!(error.to_string().contains("a directory goes onto a directory only"), "{error}");
        let error = bundle.mount(json!([bind("dir", "/proc", &["bind"])])).expect_err("not procfs");
        assert!(error.to_string().contains("is not procfs, and nothing else may become /proc"), "{error}");
        bundle.mount(json!([bind("/proc", "/proc", &["rbind"])])).expect("the host's procfs is procfs");
    });
}
