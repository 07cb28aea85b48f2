//! A bundle's directory: made, held while it is worked on, removed.

use std::fs::{DirBuilder, File, Permissions, set_permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{ABOUT, read_about};
use crate::error::{Error, Kind, Result, SysContext};
use crate::snapshot;
use crate::store::Store;
use crate::userns::Maps;

/// The directory of a bundle, which nobody else makes, runs or removes until this is dropped, or its process dies.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Takes `path` for a new bundle: it is made if it is not there, and what a killed process left of a bundle is removed.
    ///
    /// # Errors
    /// If something is in it, or if somebody else has it.
    pub fn new(path: &Path) -> Result<Directory> {
        let path = std::path::absolute(path).sys("getcwd", path.display())?;
        loop {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).sys("mkdir", path.display());
                }
                _ => (),
            }
            let Some(directory) = Directory::hold(&path)? else { continue };
            if directory.path.join(ABOUT).exists() && !directory.path.join("config.json").exists() {
                directory.remove()?;
                continue;
            }
            let mut entries = directory.path.read_dir().sys("opendir", path.display())?;
            return match entries.next() {
                None => Ok(directory),
                Some(_) => Err(Error::invalid(path.display(), "is not empty")
                    .remedy("name another directory, or remove a bundle with: creel-image unbundle DIRECTORY")),
            };
        }
    }

    /// Takes the directory of a bundle that is there.
    pub fn open(path: &Path) -> Result<Directory> {
        let missing = || Error::new(Kind::NotFound, format!("{} is no bundle of creel-image", path.display()));
        Directory::hold(path)?.ok_or_else(missing)
    }

    /// Locks it; nothing if it has been removed meanwhile.
    fn hold(path: &Path) -> Result<Option<Directory>> {
        let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        let path = match path.canonicalize() {
            Err(error) if gone(&error) => return Ok(None),
            resolved => resolved.sys("realpath", path.display())?,
        };
        let lock = match File::open(&path) {
            Err(error) if gone(&error) => return Ok(None),
            lock => lock.sys("open", path.display())?,
        };
        if !crate::store::try_lock(&lock, &path)? {
            return Err(Error::invalid(path.display(), "another process makes, runs or removes this bundle"));
        }
        Ok(crate::store::is_named(&lock, &path)?.then_some(Directory { path, _lock: lock }))
    }

    /// Where it is: absolute, without symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the root of a user namespace through, and nobody else: it is not the root that owns the directory. Says so if a
    /// directory above keeps it out.
    pub fn let_through(&self, maps: &Maps) -> Result<Option<String>> {
        let (uid, gid) = (maps.uid(0)?, maps.gid(0)?);
        std::os::unix::fs::chown(&self.path, None, Some(gid)).sys("chown", self.path.display())?;
        set_permissions(&self.path, Permissions::from_mode(0o710)).sys("chmod", self.path.display())?;
        for above in self.path.ancestors().skip(1) {
            let meta = above.metadata().sys("stat", above.display())?;
            let needed = match (meta.uid() == uid, meta.gid() == gid) {
                (true, _) => 0o100,
                (_, true) => 0o010,
                _ => 0o001,
            };
            if meta.mode() & needed == 0 {
                let above = above.display();
                return Ok(Some(format!(
                    "the container's root, who is {uid}:{gid}, does not get through {above} (chmod o+x {above})"
                )));
            }
        }
        Ok(None)
    }

    /// Unmounts and removes the bundle, whole or half-made. That of a container which still runs stays as it is.
    pub fn remove(&self) -> Result<()> {
        let path = &self.path;
        let about = read_about(path)?;
        check_unused(path)?;
        snapshot::unmount(&path.join("rootfs"))?;
        // config.json was last, and goes first: without it nobody takes what is left for a bundle.
        for name in ["config.json", "rootfs", "upper", "work", "volumes"] {
            remove_any(&path.join(name))?;
        }
        let store = Store::open(&about.store)?;
        store.remove_root(path, &store.lock()?)?;
        remove_any(&path.join(ABOUT))?;
        match std::fs::remove_dir(path) {
            // What somebody else has put there stays.
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed.sys("rmdir", path.display()),
        }
    }
}

/// Fails if a process has the bundle's root filesystem as its root. The mount does not tell: a container has its own in its
/// mount namespace, and the one here is not busy.
///
/// A user asks before he enters a namespace of his own: from within, the processes of another one cannot be looked at.
pub fn check_unused(bundle: &Path) -> Result<()> {
    let rootfs = bundle.join("rootfs");
    let inode = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    let Some(own) = inode(&rootfs) else { return Ok(()) };
    let upper = format!(",upperdir={}", bundle.join("upper").display());
    for entry in Path::new("/proc").read_dir().sys("opendir", "/proc")? {
        let process = entry.sys("readdir", "/proc")?.path();
        // It may just have ended, be no process, or be somebody else's, whose root is none of ours.
        if inode(&process.join("root")) == Some(own) || has_overlay(&process, &upper) {
            let number = process.file_name().unwrap_or_default().display().to_string();
            return Err(Error::new(Kind::Invalid, format!("{}: process {number} runs in it", rootfs.display()))
                .remedy("delete the container first, with: creel delete --force NAME"));
        }
    }
    Ok(())
}

/// Whether the root of a process is an overlay with this upper directory: one that was mounted in another mount namespace.
fn has_overlay(process: &Path, upper: &str) -> bool {
    let mounts = std::fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    let mut roots = mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/"));
    // mountinfo escapes blanks; a bundle with one in its path is only found by its inode.
    roots
        .any(|line| line.rsplit(' ').next().is_some_and(|options| format!("{options},").contains(&format!("{upper},"))))
}

pub fn remove_any(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => snapshot::remove_tree(path),
        Ok(_) => std::fs::remove_file(path).sys("unlink", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).sys("lstat", path.display()),
    }
}
