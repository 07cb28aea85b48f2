//! Archives that attack whoever unpacks them (security.md, rows U and R). Beside each lies a tree of canaries.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::tests::{plain, unpack_to};
use crate::manifest::Compression;
use crate::testing::{Builder, TempDir};

/// A directory with a file and a directory that nothing may touch.
struct Canary(TempDir);

impl Canary {
    fn new() -> Canary {
        let dir = TempDir::new("canary");
        std::fs::create_dir(dir.path().join("sub")).expect("mkdir");
        std::fs::write(dir.path().join("file"), "untouched").expect("write");
        Canary(dir)
    }

    fn path(&self) -> String {
        self.0.path().display().to_string()
    }

    fn look(&self) -> Vec<(String, u32, u32, i64, i64, u64)> {
        let mut seen = Vec::new();
        for path in [self.0.path().to_owned(), self.0.path().join("sub"), self.0.path().join("file")] {
            let meta = path.symlink_metadata().expect("the canary is alive");
            let children = path.read_dir().map_or(0, Iterator::count);
            let name = format!("{} {children}", path.display());
            seen.push((name, meta.mode(), meta.uid(), meta.ctime(), meta.ctime_nsec(), meta.nlink()));
        }
        assert_eq!(std::fs::read(self.0.path().join("file")).expect("read"), b"untouched");
        seen
    }
}

/// Members that must be refused, each after a decent one.
#[test]
fn what_is_refused() {
    let canary = Canary::new();
    let outside = canary.path();
    let before = canary.look();
    let start = || Builder::default().directory("d").file("d/f", b"1");
    for (what, tar) in [
        ("`.` as a symlink", start().symlink(".", &outside).end()),
        ("`/` as a symlink", start().symlink("/", &outside).end()),
        ("`./.` as a file", start().file("./.", b"x").end()),
        ("`./` as a hard link", start().link("./", "d/f", 0).end()),
        ("`.wh.`", start().file(".wh.", b"").end()),
        ("`.wh..`", start().file("d/.wh..", b"").end()),
        ("`.wh...`", start().file("d/.wh...", b"").end()),
        ("a member in a whiteout", start().file(".wh.x/y", b"").end()),
        ("`..` in a name", start().file("d/../../x", b"").end()),
        ("`..` in a link's target", start().link("l", "../../../../etc/passwd", 0).end()),
        ("a link to what is outside", start().link("l", &format!("{outside}/file"), 0).end()),
        ("a link through a symlink", start().symlink("s", &outside).link("l", "s/file", 0).end()),
        ("a link to a directory", start().link("l", "d", 0).end()),
        ("a link to a whiteout", start().file(".wh.w", b"").link("l", "w", 0).end()),
        ("a member beneath a file", start().file("d/f/g", b"").end()),
        ("a device that is a whiteout", start().device("w", b'3', 0, 0).end()),
        ("a name that is too long", start().long_name(&"n".repeat(256)).file("x", b"").end()),
        ("an unknown type", start().raw("x", b'Z', 0, b"").end()),
        ("directories without end", start().long_name(&"a/".repeat(501)).file("x", b"").end()),
    ] {
        let (dir, unpacked) = plain(&tar);
        let error = unpacked.err().unwrap_or_else(|| panic!("{what} was unpacked"));
        assert!(dir.path().join("d/f").is_file(), "{what}: {error}");
        assert_eq!(canary.look(), before, "{what}");
    }
}

/// Members that are taken, and stay inside.
#[test]
fn what_stays_inside() {
    let canary = Canary::new();
    let outside = canary.path();
    let before = canary.look();
    for (what, tar, inside) in [
        (
            "an absolute name",
            Builder::default().file(&format!("{outside}/file"), b"x").end(),
            format!("{outside}/file"),
        ),
        (
            "through an absolute symlink",
            Builder::default().symlink("s", &outside).file("s/new", b"x").end(),
            format!("{outside}/new"),
        ),
        (
            "a symlink, then a directory",
            Builder::default().symlink("s", &outside).directory("s").file("s/new", b"").end(),
            "s/new".into(),
        ),
        (
            "a symlink, then a file",
            Builder::default().symlink("s", &format!("{outside}/file")).file("s", b"x").end(),
            "s".into(),
        ),
        (
            "a hard link to a symlink, then a file",
            { Builder::default().symlink("s", &format!("{outside}/file")).link("h", "s", 0).file("h", b"x").end() },
            "h".into(),
        ),
        (
            "a directory, then a symlink, then a member",
            { Builder::default().directory("d").file("d/a", b"").symlink("d", &outside).file("d/b", b"").end() },
            format!("{outside}/b"),
        ),
        (
            "a whiteout through a symlink",
            Builder::default().symlink("s", &outside).file("s/.wh.file", b"").file("x", b"").end(),
            "x".into(),
        ),
        (
            "an opaque one through a symlink",
            Builder::default().symlink("s", &outside).file("s/.wh..wh..opq", b"").file("x", b"").end(),
            "x".into(),
        ),
        ("a link to itself", Builder::default().file("x", b"1").link("x", "./x", 0).end(), "x".into()),
    ] {
        let (dir, unpacked) = plain(&tar);
        unpacked.unwrap_or_else(|error| panic!("{what}: {error}"));
        let path = dir.path().join(inside.trim_start_matches('/'));
        assert!(path.symlink_metadata().is_ok_and(|meta| meta.is_file()), "{what}: {}", path.display());
        assert_eq!(canary.look(), before, "{what}");
    }
}

/// CVE-2026-47262: one layer, 100,000 times the same opaque directory, and 100,000 different ones.
#[test]
fn a_hundred_thousand_opaque_whiteouts_take_seconds() {
    let again = |_| "d/.wh..wh..opq".to_owned();
    let nested = |number: usize| format!("{}.wh..wh..opq", "e/".repeat(1 + number % 100));
    for (name, count) in [(&again as &dyn Fn(usize) -> String, 100_000), (&nested, 20_000)] {
        let mut tar = Builder::default().directory("d").file("d/.wh.x", b"").file("e/.wh.y", b"");
        for number in 0..count {
            tar = match name(number) {
                long if long.len() > 99 => tar.long_name(&long).file("long", b""),
                short => tar.file(&short, b""),
            };
        }
        let (tar, begin) = (tar.end(), Instant::now());
        plain(&tar).1.expect("unpack");
        // tests/images holds the release build to five seconds.
        let limit = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 5 });
        assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    }
}

/// A file of 4 GiB that is all hole takes no space and no time.
#[test]
fn a_sparse_file_stays_sparse() {
    let size = (4_u64 << 30).to_string();
    let keys = [
        ("GNU.sparse.major", "0"),
        ("GNU.sparse.minor", "1"),
        ("GNU.sparse.size", &size),
        ("GNU.sparse.map", "4096,3"),
    ];
    let begin = Instant::now();
    let (dir, unpacked) = plain(&Builder::default().pax(&keys).file("s", b"abc").end());
    unpacked.expect("unpack");
    let meta = dir.path().join("s").metadata().expect("stat");
    assert_eq!(meta.len(), 4 << 30);
    assert!(meta.blocks() <= 16 && begin.elapsed() < Duration::from_secs(1), "{} blocks", meta.blocks());
}

/// Row R: while layers are unpacked in parallel, somebody exchanges a directory of theirs for a symlink to the canary.
#[test]
fn a_directory_that_is_exchanged_for_a_symlink_meanwhile() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let canary = Canary::new();
    let before = canary.look();
    let mut tar = Builder::default().directory("d").directory("d/sub");
    for number in 0..200 {
        tar = tar.file(&format!("d/sub/{number}"), b"x").file("d/file", b"y").directory("e").file("e/z", b"");
    }
    let tar = tar.end();
    let base = TempDir::new("race");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for lane in ["a", "b"] {
            let (tar, base, stop) = (&tar, base.path(), &stop);
            let evil = base.join(format!("evil-{lane}"));
            std::os::unix::fs::symlink(canary.path(), &evil).expect("symlink");
            let target = base.join(lane);
            let victim = target.join("d");
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = renameat_with(CWD, &victim, CWD, &evil, RenameFlags::EXCHANGE);
                }
            });
            scope.spawn(move || {
                for round in 0..100 {
                    let _ = std::fs::create_dir(&target);
                    // It may fail, since what it made is taken away; it may not go anywhere else.
                    let _ = unpack_to(&target, tar, Compression::None);
                    let away = base.join(format!("{lane}-{round}"));
                    std::fs::rename(&target, away).expect("rename");
                }
            });
        }
        std::thread::sleep(Duration::from_millis(1500));
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(canary.look(), before);
    assert!(Path::new(&canary.path()).join("sub").read_dir().expect("list").next().is_none());
}
