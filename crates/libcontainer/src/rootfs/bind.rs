//! Bind mounts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, OFlags, fstat, fstatfs, readlinkat, symlinkat};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::idmap::MapNamespaces;
use super::mount::{attach_error, change};
use super::plan_idmap::Idmap;
use super::plan_mounts::{Bind, MountStep};
use super::target::{self, Make, Target};
use crate::error::{Error, Kind, Result, SysContext};
use crate::paths::{Root, split};
use crate::tree::{self, attach};

/// A part of the host's file tree, to be mounted in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTree {
    /// Its top: a path on the host, absolute.
    pub path: PathBuf,
    /// With what is mounted below it.
    pub recursive: bool,
    /// If the path ends in a symlink, that itself.
    pub nofollow: bool,
    /// How its ids are mapped.
    pub idmap: Option<Idmap>,
}

/// Where init gets what the root of its user namespace may not have: [`HostTree::open`], carried out in its mount
/// namespace by a process that has the host's privileges.
pub type Outside<'a> = &'a dyn Fn(&HostTree) -> Result<OwnedFd>;

/// What bind mounts are made with.
#[derive(Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The maps of those that are id-mapped.
    pub maps: MapNamespaces<'a>,
    /// For the root of a user namespace.
    pub outside: Option<Outside<'a>>,
}

impl HostTree {
    /// Clones it from the mounts of this process, attached nowhere, and maps it.
    ///
    /// # Errors
    /// Those of open_tree(2), and of [`super::map_ids`].
    pub fn open(&self, maps: &MapNamespaces<'_>) -> Result<OwnedFd> {
        let tree = self.clone_tree()?;
        self.idmap.map_or(Ok(()), |idmap| maps.map(&tree, idmap)).map_err(|error| error.within(self.path.display()))?;
        Ok(tree)
    }

    fn clone_tree(&self) -> Result<OwnedFd> {
        let mut flags = OpenTreeFlags::empty();
        if self.recursive {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        if self.nofollow {
            flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        }
        tree::clone(CWD, &self.path, flags).map_err(|errno| {
            let error = Error::system("open_tree", self.path.display(), errno);
            match errno {
                Errno::NOENT => error.of_kind(Kind::NotFound).remedy("a bind mount's source must exist on the host"),
                Errno::INVAL => {
                    error.cause("it is unbindable, or has locked mounts below it, which rbind would take along")
                }
                Errno::NOSYS => error.of_kind(Kind::Unsupported).remedy("Linux 5.2 or later is needed"),
                _ => error,
            }
        })
    }
}

impl Bind {
    /// What of the host's it is.
    pub(super) fn tree(&self) -> HostTree {
        let Bind { source, recursive, source_nofollow, idmap, .. } = self;
        HostTree { path: source.clone(), recursive: *recursive, nofollow: *source_nofollow, idmap: *idmap }
    }
}

pub(super) fn mount(root: &Root, step: &MountStep, bind: &Bind, sources: &Sources<'_>) -> Result<()> {
    if bind.copy_symlink && copy_symlink(root, step, bind)? {
        return Ok(());
    }
    let tree = clone(step, bind, sources)?;
    put(root, step, bind, tree).map(drop)
}

/// Mounts the source, which is open already, and gives it back.
pub(super) fn put(root: &Root, step: &MountStep, bind: &Bind, tree: OwnedFd) -> Result<OwnedFd> {
    if bind.procfs && !is_procfs(&tree, bind)? {
        let why = format!("{} is not procfs, and nothing else may become /proc", bind.source.display());
        return Err(Error::invalid(format!("mounts[{}].source", step.index), why));
    }
    let place = match (bind.destination_nofollow, bind.procfs) {
        (true, _) => {
            let fd = root.resolve(&step.destination, OFlags::PATH | OFlags::NOFOLLOW)?;
            Target { fd, existed: true }
        }
        (false, true) => target::find_plain(root, &step.destination)?,
        (false, false) => target::find(root, &step.destination, || {
            let mode = fstat(&tree).sys("fstat", bind.source.display())?.st_mode;
            Ok(if FileType::from_raw_mode(mode) == FileType::Directory { Make::Directory } else { Make::File })
        })?,
    };
    change(tree.as_fd(), &step.changes)?;
    attach(&tree, &place.fd).map_err(|errno| attach_error(errno, &step.destination))?;
    Ok(tree)
}

fn is_procfs(tree: &OwnedFd, bind: &Bind) -> Result<bool> {
    let kind = fstatfs(tree).sys("fstatfs", bind.source.display())?.f_type;
    Ok(kind as i64 == libc::PROC_SUPER_MAGIC)
}

/// The source as a tree that is attached nowhere.
///
/// The root of a user namespace may find a directory on the way closed that the host's root would pass, and may not map
/// the ids of a file system of the host's: then it is fetched from outside.
fn clone(step: &MountStep, bind: &Bind, sources: &Sources<'_>) -> Result<OwnedFd> {
    let tree = bind.tree();
    let result = match (bind.idmap, sources.outside) {
        (Some(_), Some(outside)) => outside(&tree),
        (None, Some(outside)) => match tree.open(&sources.maps) {
            Err(error) if error.errno() == Some(Errno::ACCESS) => outside(&tree),
            result => result,
        },
        (_, None) => tree.open(&sources.maps),
    };
    result.map_err(|error| error.within(format!("mounts[{}].source", step.index)))
}

/// Makes the destination the same symlink as the source; false if the source is none.
fn copy_symlink(root: &Root, step: &MountStep, bind: &Bind) -> Result<bool> {
    let link = match readlinkat(CWD, &bind.source, Vec::new()) {
        Ok(link) => link,
        Err(Errno::INVAL) => return Ok(false),
        Err(errno) => {
            let field = format!("mounts[{}].source", step.index);
            return Err(Error::system("readlinkat", bind.source.display(), errno).within(field));
        }
    };
    let (parent, name) = split(&step.destination)?;
    let dir = root.mkdir_all(parent, 0o755)?;
    match symlinkat(&link, &dir, &name) {
        Err(Errno::EXIST) if readlinkat(&dir, &name, Vec::new()).is_ok_and(|there| there == link) => Ok(true),
        result => result.map(|()| true).map_err(|errno| {
            let error = Error::system("symlinkat", step.destination.display(), errno);
            if errno == Errno::EXIST { error.cause("something other than the same symlink is there") } else { error }
        }),
    }
}
