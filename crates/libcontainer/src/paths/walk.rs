//! openat2(2), since Linux 5.6, and the same by a walk where it is missing.
//!
//! The walk opens one name after the other (`O_PATH | O_NOFOLLOW`) and reads symlinks itself, so the kernel never follows
//! one for it. `..` goes back to the descriptor that the walk came from: whatever is renamed meanwhile, the walk was there
//! before, so it cannot be led above its root.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, fstatfs, openat, openat2, readlinkat, statx,
};
use rustix::io::Errno;

use super::MAX_LINKS;

/// The inode of procfs's root, whose symlinks (`self`, `mounts`) are ordinary ones; all others in it are magic.
const PROC_ROOT_INO: u64 = 1;

/// Opens `path` below `dir` with `flags` (`O_CLOEXEC` is added) as openat2(2) does with `resolve`, of which these are
/// known: `IN_ROOT` or `BENEATH`, `NO_MAGICLINKS` (which the walk always keeps to), `NO_SYMLINKS`, `NO_XDEV`.
///
/// # Errors
/// Those of openat2(2).
pub fn open_within(dir: impl AsFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    match openat2(&dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Err(Errno::NOSYS) => walk(dir.as_fd(), path, flags | OFlags::CLOEXEC, resolve),
        result => result,
    }
}

const STEP: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn walk(top: BorrowedFd<'_>, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    if path.as_os_str().is_empty() {
        return Err(Errno::NOENT);
    }
    let mut walk = Walk { resolve, way: Vec::new(), mount: None };
    let mut links = 0;
    if resolve.contains(ResolveFlags::NO_XDEV) {
        walk.mount = Some(mount_of(top)?);
    }
    let mut left = Vec::new();
    walk.add(&mut left, path)?;
    while let Some(name) = left.pop() {
        let here = walk.way.last().map_or(top, AsFd::as_fd);
        if name == ".." {
            walk.up()?;
            continue;
        }
        let found = openat(here, &name, STEP, Mode::empty())?;
        if walk.mount.is_some_and(|mount| mount_of(found.as_fd()) != Ok(mount)) {
            return Err(Errno::XDEV);
        }
        let stat = fstat(&found)?;
        let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if link && !(left.is_empty() && flags.contains(OFlags::NOFOLLOW)) {
            links += 1;
            if resolve.contains(ResolveFlags::NO_SYMLINKS) || links > MAX_LINKS || is_magic(here)? {
                return Err(Errno::LOOP);
            }
            let target = read_link(here, &name)?;
            walk.add(&mut left, Path::new(&target))?;
            continue;
        }
        if !left.is_empty() {
            walk.way.push(found);
            continue;
        }
        return open_last(here, &name, &found, flags, link);
    }
    openat(walk.way.last().map_or(top, AsFd::as_fd), c".", flags, Mode::empty())
}

struct Walk {
    resolve: ResolveFlags,
    /// The directories from the top to where the walk is.
    way: Vec<OwnedFd>,
    /// The mount that must not be left.
    mount: Option<(u64, u32, u32)>,
}

impl Walk {
    /// Puts the names of `path` before those that are `left`, which are in reverse.
    fn add(&mut self, left: &mut Vec<OsString>, path: &Path) -> Result<(), Errno> {
        let at = left.len();
        for component in path.components() {
            match component {
                Component::RootDir if self.resolve.contains(ResolveFlags::BENEATH) => return Err(Errno::XDEV),
                Component::RootDir => self.way.clear(),
                Component::ParentDir => left.insert(at, OsString::from("..")),
                Component::Normal(name) => left.insert(at, name.to_owned()),
                Component::CurDir | Component::Prefix(_) => (),
            }
        }
        Ok(())
    }

    /// One up, which at the top stays there.
    fn up(&mut self) -> Result<(), Errno> {
        match self.way.pop() {
            None if self.resolve.contains(ResolveFlags::BENEATH) => Err(Errno::XDEV),
            _ => Ok(()),
        }
    }
}

/// Where the symlink `name` in `here` leads.
fn read_link(here: BorrowedFd<'_>, name: &OsStr) -> Result<OsString, Errno> {
    let target = readlinkat(here, name, Vec::new())?.into_bytes();
    if target.is_empty() { Err(Errno::NOENT) } else { Ok(OsString::from_vec(target)) }
}

/// Whether the symlinks in a directory are the kernel's own, which lead wherever an open file is.
fn is_magic(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fstatfs(dir)?.f_type as i64 == libc::PROC_SUPER_MAGIC && fstat(dir)?.st_ino != PROC_ROOT_INO)
}

/// Opens what was found, with the flags that are wanted; what is there by then must be the same.
fn open_last(here: BorrowedFd<'_>, name: &OsStr, found: &OwnedFd, flags: OFlags, link: bool) -> Result<OwnedFd, Errno> {
    if link && !flags.contains(OFlags::PATH) {
        return Err(Errno::LOOP);
    }
    let opened = openat(here, OsStr::from_bytes(name.as_bytes()), flags | OFlags::NOFOLLOW, Mode::empty())?;
    let (stat, wanted) = (fstat(&opened)?, fstat(found)?);
    if (stat.st_dev, stat.st_ino) == (wanted.st_dev, wanted.st_ino) { Ok(opened) } else { Err(Errno::AGAIN) }
}

/// What tells mounts apart: their id, since Linux 5.8; before, the file system alone.
fn mount_of(fd: BorrowedFd<'_>) -> Result<(u64, u32, u32), Errno> {
    let stat = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    let has_id = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Ok((if has_id { stat.stx_mnt_id } else { 0 }, stat.stx_dev_major, stat.stx_dev_minor))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, open};

    use super::super::tests::TempDir;
    use super::*;

    const ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

    fn tree() -> TempDir {
        let dir = TempDir::new("walk");
        std::fs::create_dir_all(dir.path().join("a/b/c")).expect("mkdir");
        std::fs::write(dir.path().join("a/file"), "x").expect("write");
        for (target, name) in [
            ("/a/b", "absolute"),
            ("a/b/../file", "relative"),
            ("../../../../..", "a/up"),
            ("../../../../../../../etc/passwd", "a/b/out"),
            ("round", "round"),
            ("nowhere/x", "dangling"),
            ("absolute/c", "chain"),
        ] {
            symlink(target, dir.path().join(name)).expect("symlink");
        }
        dir
    }

    /// Where each leads, by both, is the same place or the same error.
    #[test]
    fn the_walk_finds_what_the_kernel_finds() {
        let dir = tree();
        let top = open(dir.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("open");
        let paths = [
            "/",
            ".",
            "..",
            "a",
            "/a/b",
            "a/b/c/../..",
            "a/./file",
            "absolute",
            "absolute/c",
            "relative",
            "a/up",
            "a/up/a/file",
            "a/b/out",
            "round",
            "dangling",
            "chain",
            "chain/..",
            "a/file/x",
            "none",
            "a/none",
            "",
            "../../a",
            "absolute/../file",
        ];
        let directory = OFlags::DIRECTORY.union(OFlags::PATH);
        let flags = [OFlags::PATH, OFlags::RDONLY, directory, OFlags::PATH.union(OFlags::NOFOLLOW), OFlags::NOFOLLOW];
        let beneath = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
        for resolve in [ROOT, ROOT | ResolveFlags::NO_SYMLINKS, beneath, beneath | ResolveFlags::NO_XDEV] {
            for path in paths {
                for flags in flags {
                    let place = |fd: OwnedFd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
                    let path = Path::new(path);
                    let kernel = openat2(&top, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).and_then(place);
                    let walked = walk(top.as_fd(), path, flags | OFlags::CLOEXEC, resolve).and_then(place);
                    assert_eq!(walked, kernel, "{} {flags:?} {resolve:?}", path.display());
                }
            }
        }
    }

    #[test]
    fn procfs_is_walked_without_its_magic_links() {
        let root = open("/", OFlags::PATH, Mode::empty()).expect("open");
        let walked = |path: &str| walk(root.as_fd(), Path::new(path), OFlags::PATH, ROOT).map(drop);
        assert_eq!(walked("/proc/self/status"), Ok(()));
        for path in ["/proc/self/fd/0", "/proc/self/root/etc", "/proc/thread-self/cwd", "/proc/self/ns/mnt"] {
            assert_eq!(walked(path), Err(Errno::LOOP), "{path}");
        }
        let proc = open("/proc", OFlags::PATH, Mode::empty()).expect("open");
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        walk(proc.as_fd(), Path::new("thread-self/attr"), OFlags::PATH, inside).expect("the same mount");
        assert_eq!(walk(CWD, Path::new("/proc"), OFlags::PATH, inside).map(drop), Err(Errno::XDEV));
    }
}
