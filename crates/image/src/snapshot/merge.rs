//! Copying layers into one tree, with whiteouts applied: for those who want plain files, and where overlayfs is not to be had.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Stat, fstat, ftruncate, linkat, mkdirat, mknodat, openat,
    readlinkat, seek, statat, symlinkat,
};
use rustix::io::Errno;

use super::{Snapshot, attributes, implied, open_dir, visible};
use crate::error::{Error, Result, SysContext};
use crate::layer::{Marks, is_whiteout, tar::Shown};
use crate::userns::Maps;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies what `layers` (lowest first) are together into the empty directory `target`. With a `shift`, files get the owners
/// that theirs are outside of a user namespace.
pub fn copy(layers: &[Snapshot], target: &Path, shift: Option<&Maps>) -> Result<()> {
    let layers = visible(layers);
    let marks = layers.last().map_or(Marks::Trusted, |layer| layer.about.privilege.marks);
    let open: Vec<OwnedFd> = layers.iter().rev().map(Snapshot::open).collect::<Result<_>>()?;
    let mut copier = Copier { root: open_dir(target)?, marks: Some(marks), shift, links: HashMap::new() };
    let root = copier.root.try_clone().sys("dup", target.display())?;
    if !open.is_empty() {
        copier.directory(&open, &root, &mut Vec::new())?;
    }
    implied::repair(layers, target, shift)
}

/// Copies one tree, in which nothing is a whiteout, into the empty directory `target`.
pub fn copy_tree(from: OwnedFd, target: &Path) -> Result<()> {
    let mut copier = Copier { root: open_dir(target)?, marks: None, shift: None, links: HashMap::new() };
    let root = copier.root.try_clone().sys("dup", target.display())?;
    copier.directory(&[from], &root, &mut Vec::new())
}

struct Copier<'a> {
    root: OwnedFd,
    /// How directories are marked as opaque; nothing if what is copied is no layer.
    marks: Option<Marks>,
    shift: Option<&'a Maps>,
    /// Where the copy of a file with several names is.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// What the layers have under one name, from the top down.
enum Found {
    /// A whiteout: nothing, whatever is below.
    Nothing,
    /// A file or the like, in this layer.
    Other(usize),
    /// Directories, to be merged.
    Directories(Vec<OwnedFd>),
}

impl Copier<'_> {
    /// Fills `to`, whose path is `path`, from directories of the same path, top first; then gives it the first one's
    /// attributes.
    fn directory(&mut self, from: &[OwnedFd], to: &OwnedFd, path: &mut Vec<u8>) -> Result<()> {
        for (name, found) in self.list(from)? {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            match found {
                Found::Nothing => (),
                Found::Other(layer) => self.other(&from[layer], to, &name, path)?,
                Found::Directories(children) => {
                    mkdirat(to, name.as_slice(), Mode::RWXU).sys("mkdirat", Shown(path))?;
                    let child = openat(to, name.as_slice(), DIRECTORY, Mode::empty()).sys("openat", Shown(path))?;
                    self.directory(&children, &child, path)?;
                }
            }
            path.truncate(length);
        }
        let stat = fstat(&from[0]).sys("fstat", Shown(path))?;
        attributes::copy(&from[0], &stat, to, self.shift)
    }

    fn list(&self, from: &[OwnedFd]) -> Result<BTreeMap<Vec<u8>, Found>> {
        let mut names: BTreeMap<Vec<u8>, (Found, bool)> = BTreeMap::new();
        for (layer, dir) in from.iter().enumerate() {
            for entry in Dir::read_from(dir).sys("getdents", "a layer")? {
                let entry = entry.sys("getdents", "a layer")?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") || names.get(name).is_some_and(|(_, closed)| *closed) {
                    continue;
                }
                self.add(names.entry(name.to_vec()).or_insert((Found::Nothing, false)), layer, dir, name)?;
            }
        }
        Ok(names.into_iter().map(|(name, (found, _))| (name, found)).collect())
    }

    /// Takes what the next lower layer has under a name; afterwards it is closed if that hides what is below.
    fn add(&self, (found, closed): &mut (Found, bool), layer: usize, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).sys("statat", Shown(name))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            *closed = true;
            // Below a directory it is hidden like the rest.
            if matches!(found, Found::Nothing) && !(self.marks.is_some() && is_whiteout(&stat)) {
                *found = Found::Other(layer);
            }
            return Ok(());
        }
        let child = openat(dir, name, DIRECTORY, Mode::empty()).sys("openat", Shown(name))?;
        *closed = self.marks.is_none_or(|marks| marks.is_opaque(&child));
        match found {
            Found::Directories(children) => children.push(child),
            found => *found = Found::Directories(vec![child]),
        }
        Ok(())
    }

    /// Copies what is no directory.
    fn other(&mut self, dir: &OwnedFd, to: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).sys("statat", Shown(path))?;
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&inode) {
            return linkat(&self.root, first.as_slice(), to, name, AtFlags::empty()).sys("linkat", Shown(path));
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::RegularFile => copy_file(dir.as_fd(), to.as_fd(), name, &stat)?,
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::new()).sys("readlinkat", Shown(path))?;
                symlinkat(target, to, name).sys("symlinkat", Shown(path))?;
            }
            kind => match mknodat(to, name, kind, Mode::RUSR, stat.st_rdev) {
                // It was made with more privilege than is left; unpacking says that it is missing.
                Err(Errno::PERM) => return Ok(()),
                made => made.sys("mknodat", Shown(path))?,
            },
        }
        let path_flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = openat(dir, name, path_flags, Mode::empty()).sys("openat", Shown(path))?;
        let made = openat(to, name, path_flags, Mode::empty()).sys("openat", Shown(path))?;
        attributes::copy(&from, &stat, &made, self.shift)?;
        if stat.st_nlink > 1 {
            self.links.insert(inode, path.to_vec());
        }
        Ok(())
    }
}

/// The data, by reflink where the file system can; holes stay holes.
fn copy_file(dir: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = openat(dir, name, flags, Mode::empty()).sys("openat", Shown(name))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = openat(to, name, flags, Mode::RUSR | Mode::WUSR).sys("openat", Shown(name))?;
    let (mut from, mut to) = (File::from(from), File::from(to));
    // st_blocks counts 512 bytes, whatever the file system's blocks are (stat(2)).
    if stat.st_blocks * 512 >= stat.st_size {
        return std::io::copy(&mut from, &mut to).sys("copy_file_range", Shown(name)).map(drop);
    }
    ftruncate(&to, stat.st_size as u64).sys("ftruncate", Shown(name))?;
    copy_pieces(&from, &to, stat.st_size as u64).map_err(|error| error.within(Shown(name)))
}

fn copy_pieces(from: &File, to: &File, size: u64) -> Result<()> {
    let mut buffer = vec![0_u8; 128 << 10];
    let mut end = 0;
    loop {
        let begin = match seek(from, SeekFrom::Data(end)) {
            // Nothing but a hole follows.
            Err(Errno::NXIO) => return Ok(()),
            begin => begin.sys("lseek", end)?,
        };
        end = seek(from, SeekFrom::Hole(begin)).sys("lseek", begin)?;
        let mut at = begin;
        while at < end.min(size) {
            let most = buffer.len().min((end - at) as usize);
            let length = from.read_at(&mut buffer[..most], at).sys("pread", at)?;
            if length == 0 {
                return Err(Error::corrupt("a layer's file", "became shorter while it was read"));
            }
            to.write_all_at(&buffer[..length], at).sys("pwrite", at)?;
            at += length as u64;
        }
    }
}
