//! Safe resolution of paths inside a container's root.
//!
//! Whoever writes the image, or shares a volume with the container, chooses the symlinks. So every path inside a root
//! is resolved by the kernel with that root as the end of all `..` and absolute links (openat2(2); `walk` is its
//! fall-back), and the descriptor it gives is what is used: nothing can be swapped between the check and the use (CVE-2021-30465).

mod walk;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat, readlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result, SysContext};

pub use walk::open_within;

/// How often a resolution is repeated that a concurrent rename or mount made the kernel give up (`EAGAIN`).
const RETRIES: u32 = 128;

/// How many symlinks that lead nowhere are followed one after the other; the kernel's own limit (path_resolution(7)).
const MAX_LINKS: u32 = 40;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// A directory that no path leaves: a container's root, held by a descriptor.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Root {
    /// Opens the directory at `path`, which the host resolves.
    ///
    /// # Errors
    /// If it does not exist or is no directory.
    #[allow(clippy::disallowed_methods, reason = "where resolution begins")]
    pub fn open(path: &Path) -> Result<Root> {
        let flags = DIRECTORY | OFlags::CLOEXEC;
        Ok(Root::from_fd(open(path, flags, Mode::empty()).sys("open", path.display())?, path))
    }

    /// Takes a directory that is open already (`O_PATH` is enough); `path` is for messages.
    pub fn from_fd(fd: OwnedFd, path: &Path) -> Root {
        Root { fd, path: path.to_owned() }
    }

    /// Where the host has it; for messages only.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what `path` names inside this root with `flags` (`O_CLOEXEC` is added); symlinks are followed inside the
    /// root, those of procfs that lead anywhere ("magic links") are refused with `ELOOP`.
    ///
    /// # Errors
    /// The kernel's, with `path` as the subject.
    pub fn resolve(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        self.openat2(path.as_ref(), flags, ResolveFlags::empty())
    }

    /// As [`Root::resolve`], but any symlink on the way is refused with `ELOOP`.
    ///
    /// # Errors
    /// Those of [`Root::resolve`].
    pub fn resolve_plain(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        self.openat2(path.as_ref(), flags, ResolveFlags::NO_SYMLINKS)
    }

    fn openat2(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut tries = RETRIES;
        loop {
            match open_within(&self.fd, path, flags, resolve) {
                Err(Errno::AGAIN | Errno::INTR) if tries > 0 => tries -= 1,
                result => return result.sys("openat2", path.display()),
            }
        }
    }

    /// Opens (`O_PATH`) the directory `path`, and makes what is missing of it with `mode` (subject to the umask).
    ///
    /// Symlinks are followed inside the root; where one leads nowhere, what it names is made, inside the root.
    ///
    /// # Errors
    /// Those of [`Root::resolve`] and of mkdirat(2); [`crate::error::Kind::Invalid`] for `..` in what is missing.
    pub fn mkdir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        match self.resolve(path, DIRECTORY) {
            Err(error) if error.errno() == Some(Errno::NOENT) => self.mkdir_missing(path, mode, ResolveFlags::empty()),
            result => result,
        }
    }

    /// As [`Root::mkdir_all`], for a directory that was just found missing by [`Root::resolve_plain`]: no symlink is
    /// followed here either.
    ///
    /// # Errors
    /// Those of [`Root::mkdir_all`]; `ELOOP` for a symlink.
    pub(crate) fn mkdir_plain(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        self.mkdir_missing(path, mode, ResolveFlags::NO_SYMLINKS)
    }

    fn mkdir_missing(&self, path: &Path, mode: u32, resolve: ResolveFlags) -> Result<OwnedFd> {
        let (mut dir, missing) = self.missing(path, resolve)?;
        for name in missing {
            dir = make_directory(&dir, &name, mode).map_err(|error| error.within(path.display()))?;
        }
        Ok(dir)
    }

    /// Opens the deepest directory of `path` that exists, and gives the names that are missing below it.
    ///
    /// Unless `resolve` forbids symlinks, one that leads nowhere is replaced by what it leads to (inside the root), as
    /// images have them, with /etc/resolv.conf pointing into an empty /run.
    fn missing(&self, path: &Path, resolve: ResolveFlags) -> Result<(OwnedFd, Vec<OsString>)> {
        let mut way = path.to_owned();
        for _ in 0..MAX_LINKS {
            let mut names = Vec::new();
            let mut existing = way.as_path();
            let dir = loop {
                match (existing.components().next_back(), existing.parent()) {
                    (Some(Component::Normal(name)), Some(parent)) => {
                        names.push(name.to_owned());
                        existing = if parent.as_os_str().is_empty() { Path::new("/") } else { parent };
                    }
                    _ => return Err(Error::invalid(path.display(), "has `..` in a part that does not exist")),
                }
                match self.openat2(existing, DIRECTORY, resolve) {
                    Err(error) if error.errno() == Some(Errno::NOENT) => (),
                    result => break result?,
                }
            };
            names.reverse();
            let link = match names.first() {
                Some(first) if !resolve.contains(ResolveFlags::NO_SYMLINKS) => readlinkat(&dir, first, Vec::new()),
                _ => Err(Errno::NOENT),
            };
            let Ok(link) = link else { return Ok((dir, names)) };
            let mut next = existing.join(OsStr::from_bytes(link.as_bytes()));
            next.extend(names.iter().skip(1));
            way = next;
        }
        Err(Error::system("readlinkat", path.display(), Errno::LOOP))
    }

    /// Opens the file `path`, or makes it, empty, with `mode` (subject to the umask) and its directories with 0755: a
    /// target for the bind mount of a file.
    ///
    /// # Errors
    /// Those of [`Root::mkdir_all`].
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        match self.resolve(path, OFlags::PATH) {
            Err(error) if error.errno() == Some(Errno::NOENT) => (),
            result => return result,
        }
        let (mut dir, mut missing) = self.missing(path, ResolveFlags::empty())?;
        let name = missing.pop().unwrap_or_default();
        for name in missing {
            dir = make_directory(&dir, &name, 0o755).map_err(|error| error.within(path.display()))?;
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&dir, &name, flags, Mode::from_raw_mode(mode)).sys("openat", path.display())
    }

    /// Opens (`O_PATH`) the directory that `path` is in, which must exist, and gives the last name.
    ///
    /// # Errors
    /// Those of [`Root::resolve`]; [`crate::error::Kind::Invalid`] if `path` does not end in a name.
    pub fn parent(&self, path: impl AsRef<Path>) -> Result<(OwnedFd, OsString)> {
        let (parent, name) = split(path.as_ref())?;
        Ok((self.resolve(parent, DIRECTORY)?, name))
    }
}

/// Makes the directory `name` in `dir` and opens it (`O_PATH`).
fn make_directory(dir: &OwnedFd, name: &OsStr, mode: u32) -> Result<OwnedFd> {
    match mkdirat(dir, name, Mode::from_raw_mode(mode)) {
        // Another mount of this container, or another process, may just have made it; what it is the open says.
        Ok(()) | Err(Errno::EXIST) => (),
        Err(errno) => return Err(Error::system("mkdirat", name.display(), errno)),
    }
    let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).sys("openat", name.display())
}

/// A path's directory (`/` if it has none) and its last name.
pub(crate) fn split(path: &Path) -> Result<(&Path, OsString)> {
    let name = path.file_name().ok_or_else(|| Error::invalid(path.display(), "does not end in a name"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("/"));
    Ok((parent, name.to_owned()))
}

/// `path` as an absolute path without `.`, `..` and repeated slashes, taken by its letters: `a/../b` is `/b`.
///
/// Relative paths are taken from `/`, as the runtime-spec has it for mount destinations.
pub fn clean(path: impl AsRef<Path>) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.as_ref().components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => (),
        }
    }
    clean
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::fs::fstat;

    use super::*;
    use crate::error::Kind;

    /// A directory of the test's own below /tmp, removed with all that is in it when the test ends, also by a panic.
    pub(crate) struct TempDir(PathBuf);

    impl TempDir {
        pub(crate) fn new(name: &str) -> TempDir {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = PathBuf::from(format!("/tmp/creel-test-{}-{number}-{name}", std::process::id()));
            std::fs::create_dir(&path).expect("make a temporary directory");
            TempDir(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn ino(fd: &OwnedFd) -> u64 {
        fstat(fd).expect("fstat").st_ino
    }

    #[test]
    fn clean_goes_by_the_letters() {
        let cases = [
            ("/a/b", "/a/b"),
            ("a", "/a"),
            ("", "/"),
            ("/..", "/"),
            ("//a/./b/../c/", "/a/c"),
            ("../../x", "/x"),
            ("/a/../..", "/"),
        ];
        for (path, wanted) in cases {
            assert_eq!(clean(path).to_str(), Some(wanted), "{path}");
        }
    }

    #[test]
    fn every_way_out_ends_inside() {
        let (outside, inside) = (TempDir::new("out"), TempDir::new("in"));
        std::fs::write(outside.path().join("canary"), "untouched").expect("canary");
        std::fs::create_dir(inside.path().join("sub")).expect("mkdir");
        symlink(outside.path(), inside.path().join("absolute")).expect("symlink");
        symlink("../../../../../../../../../../etc", inside.path().join("sub/dots")).expect("symlink");
        let root = Root::open(inside.path()).expect("open");
        for path in ["absolute/canary", "/absolute", "sub/dots/passwd"] {
            let error = root.resolve(path, OFlags::PATH).expect_err(path);
            assert_eq!(error.errno(), Some(Errno::NOENT), "{path}: {error}");
        }
        let top = root.resolve("/../..", OFlags::PATH).expect("resolve");
        assert_eq!(ino(&top), inside.path().metadata().expect("stat").ino());
        // What is made through a link whose target is missing inside is made inside.
        let made = root.mkdir_all("/absolute/new", 0o755).expect("through a dangling link");
        let twin = inside.path().join(outside.path().strip_prefix("/").expect("absolute")).join("new");
        assert_eq!(ino(&made), twin.metadata().expect("made inside").ino());
        root.create_file("/sub/dots/file", 0o644).expect("through dots that lead nowhere");
        assert!(inside.path().join("etc/file").exists());
        let left: Vec<_> = std::fs::read_dir(outside.path()).expect("list").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["canary"]);
    }

    #[test]
    fn magic_links_are_refused() {
        let root = Root::open(Path::new("/")).expect("open /");
        let error = root.resolve("/proc/self/fd/0", OFlags::PATH).expect_err("a magic link");
        assert_eq!(error.errno(), Some(Errno::LOOP), "{error}");
    }

    #[test]
    fn missing_directories_are_made_and_links_inside_followed() {
        let dir = TempDir::new("mkdir");
        std::fs::create_dir(dir.path().join("real")).expect("mkdir");
        symlink("/real", dir.path().join("link")).expect("symlink");
        let root = Root::open(dir.path()).expect("open");
        let made = root.mkdir_all("/link/a/b", 0o700).expect("mkdir_all");
        let there = dir.path().join("real/a/b").metadata().expect("made");
        assert_eq!((ino(&made), there.permissions().mode() & 0o777), (there.ino(), 0o700));
        assert_eq!(ino(&root.mkdir_all("/link/a/b", 0o755).expect("again")), there.ino());
        let file = root.create_file("/link/c/file", 0o600).expect("create_file");
        assert_eq!(ino(&file), dir.path().join("real/c/file").metadata().expect("made").ino());
        let (parent, name) = root.parent("link/c/file").expect("parent");
        assert_eq!(
            (ino(&parent), name.to_str()),
            (dir.path().join("real/c").metadata().expect("c").ino(), Some("file"))
        );
        let error = root.mkdir_all("/real/x/../y", 0o755).expect_err("dots in what is missing");
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(!dir.path().join("real/y").exists());
        let error = root.mkdir_all("/real/c/file/d", 0o755).expect_err("a file in the way");
        assert_eq!(error.errno(), Some(Errno::NOTDIR));
    }

    #[test]
    fn links_that_lead_nowhere_are_followed_as_the_kernel_would() {
        let dir = TempDir::new("dangling");
        std::fs::create_dir_all(dir.path().join("etc/deep")).expect("mkdir");
        symlink("/jump/hosts", dir.path().join("etc/hosts")).expect("symlink");
        symlink("tmp/foo", dir.path().join("jump")).expect("symlink");
        symlink("../up", dir.path().join("etc/deep/up")).expect("symlink");
        symlink("/round", dir.path().join("round")).expect("symlink");
        symlink("gone/../away", dir.path().join("dots")).expect("symlink");
        let root = Root::open(dir.path()).expect("open");
        let file = root.create_file("/etc/hosts", 0o600).expect("create_file");
        assert_eq!(ino(&file), dir.path().join("tmp/foo/hosts").metadata().expect("made").ino());
        let made = root.mkdir_all("/etc/deep/up/x", 0o755).expect("mkdir_all");
        assert_eq!(ino(&made), dir.path().join("etc/up/x").metadata().expect("made").ino());
        assert_eq!(root.mkdir_all("/round", 0o755).expect_err("a circle").errno(), Some(Errno::LOOP));
        assert_eq!(root.create_file("/dots", 0o644).expect_err("dots").kind(), Kind::Invalid);
        assert!(dir.path().join("etc/hosts").symlink_metadata().expect("lstat").is_symlink());
        root.mkdir_plain(Path::new("/etc/deep/up/y"), 0o755).expect_err("a plain path has no links");
    }

    #[test]
    fn plain_resolution_takes_no_link_at_all() {
        let dir = TempDir::new("plain");
        std::fs::create_dir_all(dir.path().join("real/sub")).expect("mkdir");
        symlink("real", dir.path().join("link")).expect("symlink");
        let root = Root::open(dir.path()).expect("open");
        root.resolve_plain("/real/sub", OFlags::PATH).expect("no link");
        for path in ["/link", "/link/sub"] {
            assert_eq!(root.resolve_plain(path, OFlags::PATH).expect_err(path).errno(), Some(Errno::LOOP));
        }
    }

    #[test]
    fn a_missing_root_is_told() {
        let error = Root::open(Path::new("/creel-test-none")).expect_err("missing");
        assert_eq!(error.to_string(), "/creel-test-none: open: no such file or directory");
    }
}
