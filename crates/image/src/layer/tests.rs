//! Layers that tools make, unpacked; and the pipeline.

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use super::{Marks, Privilege, Unpacked, unpack};
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::Compression;
use crate::testing::{Builder, TempDir};

/// Unpacks plain bytes into `target` as this process may.
pub(super) fn unpack_to(target: &Path, bytes: &[u8], compression: Compression) -> Result<Unpacked> {
    let dir = open(target, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).expect("open the target");
    unpack(bytes, compression, std::os::fd::AsFd::as_fd(&dir), Privilege::of_this_process())
}

pub(super) fn plain(bytes: &[u8]) -> (TempDir, Result<Unpacked>) {
    let dir = TempDir::new("layer");
    let unpacked = unpack_to(dir.path(), bytes, Compression::None);
    (dir, unpacked)
}

fn is_whiteout(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let dir = std::fs::File::open(path).expect("open");
    Privilege::of_this_process().marks.is_opaque(&dir)
}

#[test]
fn every_compression_gives_the_same_tree_and_diff_id() {
    let tar = Builder::default().directory("d").file("d/f", &[b'x'; 300_000]).end();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
        let mut out = Vec::new();
        encoder.read_to_end(&mut out).expect("gzip");
        out
    };
    // Many gzip members, and empty ones, as eStargz has them.
    let (front, back) = tar.split_at(1000);
    let many = [gzip(front), gzip(b""), gzip(back), gzip(b"")].concat();
    let zstd = [zstd::encode_all(front, 1).expect("zstd"), zstd::encode_all(back, 1).expect("zstd")].concat();
    for (blob, compression) in [
        (&tar, Compression::None),
        (&gzip(&tar), Compression::Gzip),
        (&many, Compression::Gzip),
        (&zstd, Compression::Zstd),
    ] {
        let dir = TempDir::new("compression");
        let unpacked = unpack_to(dir.path(), blob, compression).expect("unpack");
        assert_eq!((unpacked.diff_id, unpacked.size), (Digest::of(&tar), tar.len() as u64));
        assert_eq!(std::fs::read(dir.path().join("d/f")).expect("read").len(), 300_000);
        if compression != Compression::None {
            let dir = TempDir::new("cut");
            let error = unpack_to(dir.path(), &blob[..blob.len() - 30], compression).expect_err("cut off");
            assert_eq!(error.kind(), crate::error::Kind::Corrupt, "{error}");
        }
    }
}

#[test]
fn directories_get_their_times_and_modes_whatever_the_order() {
    let tar = Builder::default()
        .file("a/b/late", b"1")
        .directory("c")
        .owned("a", b'5', 0o2555, (7, 8), b"")
        .file("c/x", b"2")
        .file("a/b/again", b"3")
        .owned(".", b'5', 0o1777, (0, 0), b"")
        .file("a/second", b"4")
        .end();
    let (dir, unpacked) = plain(&tar);
    let unpacked = unpacked.expect("unpack");
    assert_eq!(unpacked.implied.iter().map(|path| &path[..]).collect::<Vec<_>>(), [b"a/b"]);
    let look = |name: &str| {
        let meta = dir.path().join(name).metadata().expect(name);
        (meta.mode() & 0o7777, meta.mtime())
    };
    assert_eq!(look("."), (0o1777, 1_000_000));
    assert_eq!(look("a"), (0o2555, 1_000_000));
    assert_eq!(look("a/b"), (0o755, 0));
    assert_eq!(look("c"), (0o755, 1_000_000));
    if Privilege::of_this_process().owners {
        let meta = dir.path().join("a/second").metadata().expect("stat");
        assert_eq!((meta.uid(), meta.gid()), (1234, 5678), "the group is not the setgid directory's");
    }
}

#[test]
fn setuid_and_capabilities_survive_the_change_of_owner() {
    let tar = Builder::default().owned("su", b'0', 0o4755, (1234, 5678), b"x").device("null", b'3', 1, 3).end();
    let (dir, unpacked) = plain(&tar);
    let unpacked = unpacked.expect("unpack");
    assert_eq!(dir.path().join("su").metadata().expect("stat").mode() & 0o7777, 0o4755);
    let null = dir.path().join("null").metadata();
    assert_eq!(null.is_ok_and(|meta| meta.rdev() == rustix::fs::makedev(1, 3)), unpacked.omitted.devices == 0);
}

#[test]
fn whiteouts_in_overlay_form() {
    let tar = Builder::default()
        .file(".wh.gone", b"")
        .directory("made")
        .file(".wh.made", b"")
        .file("kept", b"k")
        .file(".wh.kept", b"")
        .file(".wh.back", b"")
        .directory("back")
        .file("deep/.wh.x", b"")
        .file("opaque/sub/.wh.y", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/sub/.wh.z", b"")
        .file("opaque/new", b"n")
        .end();
    let (dir, unpacked) = plain(&tar);
    let unpacked = unpacked.expect("unpack");
    let at = |name: &str| dir.path().join(name);
    assert!(is_whiteout(&at("gone")) && is_whiteout(&at("deep/x")));
    assert!(at("kept").is_file(), "a whiteout hides nothing of its own layer");
    assert!(is_opaque(&at("made")) && is_opaque(&at("back")) && is_opaque(&at("opaque")));
    assert!(!is_opaque(&at("deep")) && !is_opaque(&at("opaque/sub")));
    assert!(!at("opaque/sub/y").exists() && !is_whiteout(&at("opaque/sub/y")), "overlayfs would show it");
    assert!(!is_whiteout(&at("opaque/sub/z")));
    assert!(at("opaque/new").is_file() && !unpacked.opaque_root);
    let (_dir, all) = plain(&Builder::default().file(".wh..wh..opq", b"").end());
    assert!(all.expect("unpack").opaque_root);
}

#[test]
fn links_within_the_layer_are_followed_within_it() {
    let tar = Builder::default()
        .symlink("lib", "usr/lib")
        .file("lib/a", b"1")
        .symlink("abs", "/usr/lib/../lib")
        .file("abs/b", b"2")
        .symlink("up", "../../../../usr")
        .file("up/lib/c", b"3")
        .link("hard", "lib/a", 0)
        .link("hard-to-link", "abs", 0)
        .end();
    let (dir, unpacked) = plain(&tar);
    unpacked.expect("unpack");
    for name in ["a", "b", "c"] {
        assert!(dir.path().join("usr/lib").join(name).is_file(), "{name}");
    }
    assert_eq!(dir.path().join("hard").metadata().expect("stat").nlink(), 2);
    assert!(dir.path().join("hard-to-link").symlink_metadata().expect("stat").is_symlink());
    let round = Builder::default().symlink("a", "b").symlink("b", "a").file("a/x", b"").end();
    assert!(plain(&round).1.is_err());
}

#[test]
fn without_privileges_what_cannot_be_had_is_counted() {
    let tar = Builder::default().file("f", b"x").symlink("l", "f").file(".wh.w", b"").file("o/.wh..wh..opq", b"").end();
    let dir = TempDir::new("unprivileged");
    let target = open(dir.path(), OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).expect("open");
    let user = Privilege { owners: false, marks: Marks::User };
    let unpacked = unpack(&tar[..], Compression::None, std::os::fd::AsFd::as_fd(&target), user).expect("unpack");
    assert_eq!(unpacked.omitted.owners, 4 - 2);
    assert_eq!(dir.path().join("f").metadata().expect("stat").uid(), rustix::process::geteuid().as_raw());
    let marked = std::fs::File::open(dir.path().join("o")).expect("open");
    assert!(Marks::User.is_opaque(&marked) && !Marks::Trusted.is_opaque(&marked));
}
