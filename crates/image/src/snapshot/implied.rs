//! Directories that layers have without saying anything about them.
//!
//! A layer with `tmp/file` and no `tmp/` must not turn the /tmp of the layer below, which is 1777, into root's 0755, as the
//! topmost directory does in an overlay. Which layers are below is only known now; so now it is put right, in the
//! root filesystem that they make together.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat};
use rustix::io::Errno;

use super::{Snapshot, attributes, open_dir};
use crate::error::{Error, Result, SysContext};
use crate::layer::{Marks, tar::Shown};
use crate::userns::Maps;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Neither out of the directory nor through a symlink: what a layer calls implied was reached through none.
const PLAIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Puts them right in `root`; `layers` are lowest first.
pub fn repair(layers: &[Snapshot], root: &Path, shift: Option<&Maps>) -> Result<()> {
    let mut paths: BTreeSet<&[u8]> = layers.iter().flat_map(|layer| layer.implied.iter().map(Vec::as_slice)).collect();
    // An overlay's root is that of the writable directory, whatever the layers say.
    paths.insert(b"");
    let root = open_dir(root)?;
    let open: Vec<OwnedFd> = layers.iter().map(Snapshot::open).collect::<Result<_>>()?;
    // Parents first; what is done to a child does not change what its parent got.
    for path in paths {
        if let Some(told) = told_below(layers, &open, path)? {
            let wrong = open_beneath(&root, path)?;
            if let Some(wrong) = wrong {
                let stat = fstat(&told).sys("fstat", Shown(path))?;
                attributes::copy(&told, &stat, &wrong, shift)?;
            }
        }
    }
    Ok(())
}

/// The directory `path` of the topmost layer that describes it, if a layer that does not is above it.
fn told_below(layers: &[Snapshot], open: &[OwnedFd], path: &[u8]) -> Result<Option<OwnedFd>> {
    let mut wrong = path.is_empty();
    for (layer, root) in layers.iter().zip(open).rev() {
        let marks = layer.about.privilege.marks;
        match open_beneath(root, path)? {
            Some(_) if layer.implied.contains(path) && covers(root, path, marks)? => return Ok(None),
            Some(_) if layer.implied.contains(path) => wrong = true,
            Some(told) => return Ok(wrong.then_some(told)),
            None if covers(root, path, marks)? => return Ok(None),
            None => (),
        }
    }
    Ok(None)
}

/// Whether the layer hides what is below it at `path`, by what it has there or by an opaque directory on the way.
pub fn covers(root: &OwnedFd, path: &[u8], marks: Marks) -> Result<bool> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let part = &path[..end];
        match open_beneath(root, part)? {
            // An opaque directory hides what is in those below, and not what they are themselves. One that replaces
            // something is not among the implied.
            Some(dir) if end < path.len() && marks.is_opaque(&dir) => return Ok(true),
            Some(_) => (),
            // Something that is no directory, a whiteout for one, hides; nothing at all does not.
            None => return exists(root, part),
        }
    }
    Ok(false)
}

fn exists(root: &OwnedFd, path: &[u8]) -> Result<bool> {
    match statat(root, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) != FileType::Directory),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(Error::system("statat", Shown(path), errno)),
    }
}

/// The directory `path` of a tree, reached through no symlink, if it is one.
pub fn open_beneath(root: impl AsFd, path: &[u8]) -> Result<Option<OwnedFd>> {
    let path = if path.is_empty() { b"." } else { path };
    match openat2(root, path, DIRECTORY, Mode::empty(), PLAIN) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(Error::system("openat2", Shown(path), errno)),
    }
}
