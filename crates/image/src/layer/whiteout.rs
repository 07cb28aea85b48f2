//! Members that say what a layer hides (image-spec, layer.md, "Whiteouts"), in overlayfs's form.
//!
//! A whiteout hides only what is in the layers below, wherever it stands in the archive. So one that meets a directory of
//! its own layer makes that opaque, and one that meets anything else has nothing left to do.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;

use super::apply::Layer;
use super::overlay::{self, Marks};
use super::tar::Shown;
use crate::error::{Error, Result, SysContext};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// What is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden<'a> {
    /// One name.
    Name(&'a [u8]),
    /// All that the layers below have in the directory.
    All,
}

/// What a member of this name hides, if it hides anything.
pub fn parse(name: &[u8]) -> Result<Option<Hidden<'_>>> {
    match name.strip_prefix(PREFIX) {
        None => Ok(None),
        Some(_) if name == OPAQUE => Ok(Some(Hidden::All)),
        // What a `.wh...` would hide is the directory itself, or the one above it.
        Some(b"" | b"." | b"..") => Err(Error::corrupt(Shown(name), "is a whiteout that names nothing")),
        Some(hidden) => Ok(Some(Hidden::Name(hidden))),
    }
}

/// What AUFS kept its own accounts in; images of 2014 have it.
pub fn is_aufs_metadata(parents: &[&[u8]], name: &[u8]) -> bool {
    let first = parents.first().copied().unwrap_or(name);
    first.starts_with(AUFS) && first != OPAQUE
}

/// Nothing may lie in a whiteout.
pub fn check_parents(parents: &[&[u8]]) -> Result<()> {
    match parents.iter().find(|part| part.starts_with(PREFIX)) {
        Some(part) => Err(Error::corrupt(Shown(part), "is a whiteout, and is used as a directory")),
        None => Ok(()),
    }
}

/// Hides in the current directory.
pub fn apply(layer: &mut Layer, hidden: Hidden<'_>) -> Result<()> {
    if layer.place.here().covered {
        return Ok(());
    }
    match hidden {
        Hidden::All => cover(layer),
        Hidden::Name(name) => hide(layer, name),
    }
}

fn hide(layer: &mut Layer, name: &[u8]) -> Result<()> {
    let here = layer.place.here();
    match overlay::make_whiteout(here.as_fd(), name) {
        Ok(()) => {
            here.touched = true;
            layer.note_whiteout()
        }
        Err(Errno::EXIST) => {
            let stat = layer.place.stat(name)?;
            if stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
                // It begins anew; the layers below have no say in what it looks like.
                let path = layer.place.path_of(name);
                layer.implied.remove(&path);
                layer.place.enter(name)?;
                cover(layer)?;
            }
            Ok(())
        }
        Err(Errno::PERM) => Err(Error::system("mknodat", Shown(name), Errno::PERM)
            .cause("whiteouts without privileges need Linux 5.8, and a file system with device files")),
        Err(errno) => Err(Error::system("mknodat", Shown(name), errno)),
    }
}

/// Makes the current directory opaque. overlayfs would show whiteouts in it, since it has nothing to merge there: they go.
fn cover(layer: &mut Layer) -> Result<()> {
    if layer.place.here().covered {
        return Ok(());
    }
    layer.opaque_root |= layer.place.at_root();
    layer.place.cover()?;
    if !layer.whited.is_empty() {
        let marks = layer.place.marks();
        let here = layer.place.here();
        here.touched |= remove_whiteouts(&*here, marks)?;
    }
    Ok(())
}

/// Removes the whiteouts in `dir` and below; what was opaque before has none. Directories keep their times.
fn remove_whiteouts(dir: impl AsFd, marks: Marks) -> Result<bool> {
    let mut changed = false;
    for entry in Dir::read_from(&dir).sys("getdents", "an opaque directory")? {
        let entry = entry.sys("getdents", "an opaque directory")?;
        let name = entry.file_name().to_bytes();
        match entry.file_type() {
            _ if matches!(name, b"." | b"..") => (),
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = openat(&dir, name, flags, Mode::empty()).sys("openat", Shown(name))?;
                if !marks.is_opaque(&child) {
                    let stat = rustix::fs::fstat(&child).sys("fstat", Shown(name))?;
                    if remove_whiteouts(&child, marks)? {
                        let mtime = (stat.st_mtime, stat.st_mtime_nsec as u32);
                        rustix::fs::futimens(&child, &super::attributes::times(mtime)).sys("utimensat", Shown(name))?;
                    }
                }
            }
            FileType::CharacterDevice => {
                let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).sys("statat", Shown(name))?;
                if overlay::is_whiteout(&stat) {
                    unlinkat(&dir, name, AtFlags::empty()).sys("unlinkat", Shown(name))?;
                    changed = true;
                }
            }
            _ => (),
        }
    }
    Ok(changed)
}
