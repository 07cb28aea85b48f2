//! Layers on top of each other: as copies, and as overlays of the real kernel where that may be mounted.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{About, Snapshots, boot_id, copy, mount, repair, unmount};
use crate::digest::Digest;
use crate::manifest::Compression;
use crate::testing::{Builder, TempDir};

fn unpacked(snapshots: &Snapshots, tar: &[u8]) -> Digest {
    let diff_id = Digest::of(tar);
    snapshots.unpack(tar, Compression::None, &diff_id).expect("unpack");
    diff_id
}

/// What `rootfs` must have of the layers below.
fn check(rootfs: &Path) {
    let look = |name: &str| rootfs.join(name).symlink_metadata();
    for gone in ["gone", "dir/gone", "opaque/old", "remade/old", "below"] {
        assert!(look(gone).is_err(), "{gone} in {}", rootfs.display());
    }
    for there in ["dir/kept", "dir/new", "opaque/new", "remade/new", "tmp/file", "tmp/deep/file", "was-dir"] {
        assert!(look(there).expect(there).is_file(), "{there}");
    }
    // The layer with tmp/file says nothing about tmp; the one below does.
    let tmp = look("tmp").expect("tmp");
    assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 1_000_000));
    assert_eq!(look("tmp/deep").expect("deep").mode() & 0o7777, 0o700);
    assert_eq!(look(".").expect("root").mode() & 0o7777, 0o711);
    assert!(look("was-file").expect("was-file").is_dir());
    // Whiteouts that hide nothing are not to be seen: overlayfs merges nothing there by itself.
    for alone in ["alone", "alone/deep", "cut"] {
        let names = rootfs.join(alone).read_dir().expect(alone).map(|entry| entry.expect("entry").file_name());
        let names: Vec<_> = names.filter(|name| name != "deep" && name != "new").collect();
        assert!(names.is_empty(), "{alone}: {names:?}");
        assert_eq!(look(alone).expect(alone).mtime(), 1_000_000, "{alone}");
    }
}

#[test]
fn layers_together_are_what_applying_them_gives() {
    let dir = TempDir::new("snapshots");
    let snapshots = Snapshots::new(dir.path().to_owned());
    let hidden = Builder::default().file("below", b"").end();
    let lower = Builder::default()
        .file(".wh..wh..opq", b"")
        .owned("./", b'5', 0o711, (0, 0), b"")
        .file("gone", b"")
        .file("dir/gone", b"")
        .file("dir/kept", b"k")
        .file("opaque/old", b"")
        .file("remade/old", b"")
        .owned("tmp", b'5', 0o1777, (0, 0), b"")
        .owned("tmp/deep", b'5', 0o700, (0, 0), b"")
        .file("was-dir/x", b"")
        .file("was-file", b"")
        .file("cut/below", b"")
        .end();
    let upper = Builder::default()
        .file(".wh.gone", b"")
        .file("dir/.wh.gone", b"")
        .file("dir/new", b"n")
        .directory("opaque")
        .file("opaque/new", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh.remade", b"")
        .file("remade/new", b"")
        .file("tmp/file", b"")
        .file("was-dir", b"")
        .directory("was-file")
        .directory("alone")
        .file("alone/.wh.nothing", b"")
        .directory("alone/deep")
        .file("alone/deep/.wh.nothing", b"")
        .file(".wh.cut", b"")
        .end();
    let top = Builder::default()
        .file("tmp/deep/file", b"")
        .directory("cut")
        .file("cut/new", b"")
        .file("cut/.wh.below", b"")
        .end();
    let digests = [hidden, lower, upper, top].map(|tar| unpacked(&snapshots, &tar));
    let layers: Vec<_> =
        digests.iter().map(|digest| snapshots.get(digest).expect("get").expect("a snapshot")).collect();
    let target = dir.path().join("copy");
    std::fs::create_dir(&target).expect("mkdir");
    copy(&layers, &target, None).expect("copy");
    check(&target);
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let [upper, work, rootfs] = ["upper", "work", "rootfs"].map(|name| dir.path().join(name));
    for path in [&upper, &work, &rootfs] {
        std::fs::create_dir(path).expect("mkdir");
    }
    mount(&layers, &upper, &work, &rootfs).expect("mount");
    let mounted = Mounted(&rootfs);
    repair(&layers, &rootfs).expect("repair");
    check(&rootfs);
    drop(mounted);
    assert!(rootfs.read_dir().expect("list").next().is_none(), "it is unmounted");
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        unmount(self.0).expect("unmount");
    }
}

#[test]
fn a_snapshot_of_another_boot_counts_only_if_it_was_on_the_disk() {
    let dir = TempDir::new("boot");
    let snapshots = Snapshots::new(dir.path().to_owned());
    let digest = unpacked(&snapshots, &Builder::default().file("a", b"1").end());
    let snapshot = snapshots.get(&digest).expect("get").expect("this boot's");
    assert_eq!(snapshot.about.boot, boot_id());
    let path = snapshots.place(&digest);
    About { boot: None, ..snapshot.about.clone() }.write(&path).expect("write");
    assert!(snapshots.get(&digest).expect("get").is_some(), "on the disk");
    About { boot: Some("another".into()), ..snapshot.about }.write(&path).expect("write");
    assert!(snapshots.get(&digest).expect("get").is_none());
    assert!(!path.exists(), "it makes place for a new one");
}

#[test]
fn what_the_dead_left_is_swept_and_what_is_being_made_is_not() {
    let dir = TempDir::new("sweep");
    let snapshots = Snapshots::new(dir.path().to_owned());
    let alive = snapshots.begin().expect("begin");
    std::fs::create_dir_all(dir.path().join(".new-1-0/fs/some/thing")).expect("mkdir");
    assert_eq!(snapshots.sweep(), Ok(1));
    let tar = Builder::default().file("a", b"1").end();
    let unpacked = alive.unpack(&tar[..], Compression::None, &Digest::of(&tar)).expect("unpack");
    alive.commit(&unpacked).expect("commit");
    assert!(snapshots.get(&Digest::of(&tar)).expect("get").is_some());
    let wrong = snapshots.unpack(&tar[..], Compression::None, &Digest::of(b"other"));
    assert!(wrong.is_err_and(|error| error.kind() == crate::error::Kind::Corrupt));
    assert_eq!(snapshots.sweep(), Ok(0), "a failure leaves nothing");
}
