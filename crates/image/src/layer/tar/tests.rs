//! Archives by GNU tar and by hand, read by us and by GNU tar.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Archive, Entry, Kind};
use crate::error::Result;
use crate::testing::{Builder, TempDir};

/// Members with their data, holes filled in.
pub(super) fn list(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut archive = Archive::new(bytes);
    let mut members = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut data = Vec::new();
        archive.read(u64::MAX, |piece| {
            data.extend_from_slice(piece);
            Ok(())
        })?;
        members.push((entry, data));
    }
    Ok(members)
}

/// The names that GNU tar lists, or nothing if it complains.
fn gnu(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut command = Command::new("tar");
    command.args(["-t", "-P", "--quoting-style=literal", "--null", "-f", "-"]).env("LC_ALL", "C");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("run GNU tar");
    let mut stdin = child.stdin.take().expect("stdin");
    let owned = bytes.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&owned)));
    let output = child.wait_with_output().expect("wait");
    feeder.join().expect("feeder");
    let names =
        output.stdout.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    output.status.success().then_some(names)
}

fn tar(dir: &Path, options: &[&str]) -> Vec<u8> {
    let output =
        Command::new("tar").arg("-C").arg(dir).args(options).args(["-c", "-f", "-", "."]).output().expect("tar");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn tree() -> TempDir {
    let dir = TempDir::new("tar");
    let path = dir.path();
    let deep = path.join("d".repeat(90)).join("e".repeat(90)).join("f".repeat(200));
    std::fs::create_dir_all(&deep).expect("mkdir");
    std::fs::write(deep.join("leaf"), "leaf").expect("write");
    std::fs::write(path.join("plain"), vec![b'p'; 1000]).expect("write");
    std::fs::hard_link(path.join("plain"), path.join("twin")).expect("link");
    std::os::unix::fs::symlink("t".repeat(180), path.join("long-link")).expect("symlink");
    let sparse = std::fs::File::create(path.join("sparse")).expect("create");
    for piece in 0..40_u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[b'0' + (piece % 10) as u8; 4096], piece << 20)
            .expect("write");
    }
    sparse.set_len(64 << 20).expect("truncate");
    let old = std::time::UNIX_EPOCH - std::time::Duration::new(1000, 500_000_000);
    std::fs::File::open(path.join("plain")).expect("open").set_modified(old).expect("set the time");
    dir
}

#[test]
fn every_format_of_gnu_tar_gives_the_tree() {
    let dir = tree();
    for options in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=posix"],
        &["--format=gnu", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ] {
        let bytes = tar(dir.path(), options);
        let members = list(&bytes).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        let names: Vec<_> = members.iter().map(|(entry, _)| entry.name.clone()).collect();
        assert_eq!(Some(names), gnu(&bytes), "{options:?}");
        for (entry, data) in &members {
            same_as_on_disk(dir.path(), entry, data, options);
        }
        assert_eq!(members.len(), 9, "{options:?}");
    }
}

fn same_as_on_disk(root: &Path, entry: &Entry, data: &[u8], options: &[&str]) {
    use std::os::unix::fs::MetadataExt;
    let path = root.join(std::ffi::OsStr::from_bytes(&entry.name));
    let meta = path.symlink_metadata().expect("a member that is on the disk");
    assert_eq!((entry.mode, entry.uid, entry.gid), (meta.mode() & 0o7777, meta.uid(), meta.gid()), "{path:?}");
    assert_eq!(entry.mtime.0, meta.mtime(), "{path:?} {options:?}");
    if options.contains(&"--format=posix") {
        assert_eq!(i64::from(entry.mtime.1), meta.mtime_nsec(), "{path:?}");
    }
    match entry.kind {
        Kind::File => {
            let mut whole = vec![0; usize::try_from(entry.size).expect("a size")];
            let mut rest = data;
            let all = [super::Segment { offset: 0, length: entry.size }];
            for segment in entry.segments.as_deref().unwrap_or(&all) {
                let (now, later) = rest.split_at(segment.length as usize);
                whole[segment.offset as usize..][..now.len()].copy_from_slice(now);
                rest = later;
            }
            assert!(whole == std::fs::read(&path).expect("read"), "{path:?} {options:?}");
            let is_sparse = options.contains(&"--sparse") && path.ends_with("sparse");
            assert_eq!(entry.segments.is_some(), is_sparse, "{path:?} {options:?}");
        }
        Kind::Symlink => {
            let target = std::fs::read_link(&path).expect("readlink");
            assert_eq!(entry.link, target.as_os_str().as_bytes());
        }
        Kind::HardLink => assert!(root.join(std::ffi::OsStr::from_bytes(&entry.link)).exists()),
        kind => assert_eq!(kind, Kind::Directory),
    }
}

/// CVE-2025-62518 and its relatives: each of these hides a member from one reader or another.
#[test]
fn what_readers_disagree_about_is_refused_and_the_rest_is_as_gnu_tar_sees_it() {
    let smuggled = Builder::default().file("smuggled", b"x").bytes_without_end();
    let cases: [(&str, Vec<u8>, bool); 12] = [
        (
            "a PAX size beats the header's",
            {
                let inner = smuggled.clone();
                Builder::default().pax(&[("size", &inner.len().to_string())]).raw("outer", b'0', 0, &inner).end()
            },
            true,
        ),
        (
            "a PAX size of 0 beats the header's",
            { Builder::default().pax(&[("size", "0")]).raw("outer", b'0', 1024, b"").raw("next", b'0', 0, b"").end() },
            true,
        ),
        (
            "a PAX size before a long name is for the member",
            {
                let inner = smuggled.clone();
                Builder::default()
                    .pax(&[("size", &inner.len().to_string())])
                    .long_name("longer")
                    .raw("o", b'0', 0, &inner)
                    .end()
            },
            true,
        ),
        ("a directory with data", Builder::default().raw("d/", b'5', smuggled.len(), &smuggled).end(), false),
        ("a symlink with data", Builder::default().raw("s", b'2', smuggled.len(), &smuggled).end(), false),
        (
            "a hard link's size is not data",
            { Builder::default().file("a", b"1").link("b", "a", 4096).file("c", b"2").end() },
            true,
        ),
        (
            "a PAX size on a hard link",
            {
                Builder::default()
                    .file("a", b"1")
                    .pax(&[("size", "1024")])
                    .link("b", "a", 0)
                    .raw("", b'0', 0, &smuggled)
                    .end()
            },
            false,
        ),
        ("two PAX headers", Builder::default().pax(&[("path", "a")]).pax(&[("path", "b")]).file("c", b"").end(), false),
        ("PAX and GNU names", Builder::default().pax(&[("path", "a")]).long_name("b").file("c", b"").end(), false),
        ("a global header with a path", Builder::default().global(&[("path", "a")]).file("c", b"").end(), false),
        ("a comment for all", Builder::default().global(&[("comment", "a")]).file("c", b"").end(), true),
        (
            "a lone block of zeros",
            {
                [Builder::default().file("a", b"1").bytes_without_end(), vec![0; 512], smuggled.clone(), vec![0; 1024]]
                    .concat()
            },
            false,
        ),
    ];
    for (what, bytes, accepted) in cases {
        match list(&bytes) {
            Ok(members) => {
                assert!(accepted, "{what}: {members:?}");
                let names: Vec<_> = members.into_iter().map(|(entry, _)| entry.name).collect();
                assert_eq!(Some(names), gnu(&bytes), "{what}");
            }
            Err(error) => assert!(!accepted, "{what}: {error}"),
        }
    }
}

#[test]
fn cut_off_archives_are_never_taken_for_whole_ones() {
    let bytes = Builder::default().file("a", &[7; 700]).file("b", b"2").end();
    let whole = list(&bytes).expect("whole");
    for length in 1..bytes.len() - 1024 {
        // At the boundaries of members it is an archive without its end, which GNU tar takes too.
        let boundary = matches!(length, 1536);
        assert_eq!(list(&bytes[..length]).is_ok(), boundary, "{length}");
    }
    assert_eq!(whole.len(), 2);
}

#[test]
fn ids_never_wrap_to_root() {
    for value in ["4294967295", "4294967296", "18446744073709551616", "-1", "0x0", ""] {
        let bytes = Builder::default().pax(&[("uid", value)]).file("a", b"").end();
        let uid = list(&bytes).map(|members| members[0].0.uid);
        // An empty value takes the record back, and the header's own counts.
        assert_eq!(uid.ok(), value.is_empty().then_some(1234), "{value}");
    }
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let map = |map: &str, size: &str, data: usize| {
        let keys =
            [("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.size", size), ("GNU.sparse.map", map)];
        list(&Builder::default().pax(&keys).file("a", &vec![1; data]).end())
    };
    let good = map("0,10,100,5,200,0", "200", 15).expect("a good map");
    assert_eq!((good[0].0.size, good[0].1.len()), (200, 15));
    for (text, size, data) in [
        ("100,5,0,10", "200", 15),
        ("0,10,5,5", "200", 15),
        ("0,10,100,5", "100", 15),
        ("0,10,100,5", "200", 16),
        ("0,10,100", "200", 10),
        ("18446744073709551615,10", "200", 10),
        ("0,-1", "200", 1),
    ] {
        assert!(map(text, size, data).is_err(), "{text}");
    }
}
