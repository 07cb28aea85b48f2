//! Read-only and masked paths. They run in the container's `/`, whose paths its image and its volumes decide.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::devices::open_null;
use super::mount::{Context, attach_error};
use super::options::{Attributes, Parameter};
use crate::error::{During, Result, SysContext};
use crate::paths::Root;
use crate::sys::mount::MountAttr;
use crate::tree::{self, attach};

/// Binds each path to itself, read-only with all that is mounted below.
pub(super) fn make_readonly(root: &Root, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        if let Some(place) = find(root, path)? {
            protect(place, path).within(|| "linux.readonlyPaths")?;
        }
    }
    Ok(())
}

fn protect(place: OwnedFd, path: &Path) -> Result<()> {
    let tree = clone(place.as_fd(), OpenTreeFlags::AT_RECURSIVE).sys("open_tree", path.display())?;
    let rdonly = MountAttr::setting(Attributes::RDONLY.0);
    tree::change(&tree, true, &rdonly).sys("mount_setattr", path.display())?;
    attach(tree, place).map_err(|errno| attach_error(errno, path))
}

/// Puts nothing over each path: over a directory an empty one, over anything else the null device.
pub(super) fn mask(root: &Root, paths: &[PathBuf], label: Option<&Parameter>) -> Result<()> {
    let mut masks = Masks { root, label, null: None, empty: None };
    for path in paths {
        if let Some(place) = find(root, path)? {
            masks.put_over(place, path).within(|| "linux.maskedPaths")?;
        }
    }
    Ok(())
}

/// What lies over masked paths, each made when it is first needed.
struct Masks<'a> {
    root: &'a Root,
    label: Option<&'a Parameter>,
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Masks<'_> {
    fn put_over(&mut self, place: OwnedFd, path: &Path) -> Result<()> {
        let mode = fstat(&place).sys("fstat", path.display())?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::Directory {
            let mask = match &mut self.null {
                Some(null) => clone(null.as_fd(), OpenTreeFlags::empty()),
                none => clone(none.insert(open_null(self.root, OFlags::PATH)?).as_fd(), OpenTreeFlags::empty()),
            };
            return attach(mask.sys("open_tree", "/dev/null")?, place).map_err(|errno| attach_error(errno, path));
        }
        if let Some(empty) = &self.empty {
            let mask = clone(empty.as_fd(), OpenTreeFlags::empty()).sys("open_tree", "an empty directory")?;
            return attach(mask, place).map_err(|errno| attach_error(errno, path));
        }
        let empty = self.empty.insert(empty_directory(self.label)?);
        attach(empty, place).map_err(|errno| attach_error(errno, path))
    }
}

/// A filesystem without anything in it, into which nobody can write, as all mounts of it are read-only and it itself.
fn empty_directory(label: Option<&Parameter>) -> Result<OwnedFd> {
    let mut context = Context::open("tmpfs")?;
    context.set_source("tmpfs")?;
    context.set(&Parameter::flag("ro"))?;
    label.map_or(Ok(()), |label| context.set(label))?;
    context.create(Attributes::RDONLY)
}

fn clone(place: BorrowedFd<'_>, more: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    tree::clone(place, Path::new(""), more)
}

/// The path in the container, unless there is nothing; any other failure is one, or what is hidden could be laid bare.
fn find(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.resolve(path, OFlags::PATH) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
        result => result.map(Some),
    }
}
