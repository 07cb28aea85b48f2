//! Hard links, and the removal of trees.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, linkat, openat, openat2, statat, unlinkat};
use rustix::io::Errno;

use super::apply::Layer;
use super::tar::Shown;
use super::{components, overlay};
use crate::error::{Error, Result, SysContext};

/// Makes `name` in the current directory another name of `target`.
///
/// The link is to what `target` names itself, be it a symlink, and gets no attributes: through a link to a symlink they
/// would reach what that leads to (CVE-2021-32760).
pub fn hard(layer: &mut Layer, name: &[u8], target: &[u8]) -> Result<()> {
    let missing = || Error::corrupt(Shown(target), "the hard link's target is not in this layer");
    let mut parents = components(target)?;
    let last = parents.pop().ok_or_else(missing)?;
    let there = match open_directory(layer, &parents) {
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
            return Err(missing());
        }
        opened => opened?,
    };
    let stat = match statat(&there, last, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Err(missing()),
        stat => stat.sys("statat", Shown(target))?,
    };
    if overlay::is_whiteout(&stat) {
        return Err(missing());
    }
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Error::corrupt(Shown(target), "the hard link's target is a directory"));
    }
    // A link to itself is there already.
    if layer.place.stat(name)?.is_some_and(|it| (it.st_dev, it.st_ino) == (stat.st_dev, stat.st_ino)) {
        return Ok(());
    }
    layer.replacing(name, "linkat", |here| linkat(&there, last, here, name, AtFlags::empty()))
}

fn open_directory(layer: &Layer, parents: &[&[u8]]) -> Result<OwnedFd> {
    let path = match parents {
        [] => b".".to_vec(),
        parents => parents.join(&b'/'),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(layer.place.root(), path.as_slice(), flags, Mode::empty(), resolve).sys("openat2", Shown(&path))
}

/// Removes the directory `name` in `dir` with all that is in it, through descriptors, and following nothing.
pub fn remove_tree(dir: impl AsFd, name: &[u8]) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(&dir, name, flags, Mode::empty()).sys("openat", Shown(name))?;
    for entry in Dir::read_from(&opened).sys("getdents", Shown(name))? {
        let entry = entry.sys("getdents", Shown(name))?;
        let child = entry.file_name().to_bytes();
        if matches!(child, b"." | b"..") {
            continue;
        }
        match unlinkat(&opened, child, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_tree(&opened, child)?,
            removed => removed.sys("unlinkat", Shown(child))?,
        }
    }
    unlinkat(&dir, name, AtFlags::REMOVEDIR).sys("unlinkat", Shown(name))
}
