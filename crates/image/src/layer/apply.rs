//! One member after the other, into the layer's directory.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, ftruncate, makedev, mknodat, openat, seek, symlinkat};
use rustix::io::{Errno, write};

use super::attributes::Setter;
use super::place::Place;
use super::tar::{Archive, Entry, Kind, Segment, Shown};
use super::{Omitted, Privilege, components, links, whiteout};
use crate::error::{Error, Result, SysContext};

/// How much memory the paths of directories without a member of their own, and of those with whiteouts, may take.
const MOST_IMPLIED: usize = 16 << 20;

/// A layer that is being unpacked.
pub struct Layer {
    pub(super) place: Place,
    setter: Setter,
    members: u64,
    /// Directories that were made only because something lies in them.
    pub(super) implied: BTreeSet<Vec<u8>>,
    implied_bytes: usize,
    /// Directories that whiteouts were made in; without any, one that becomes opaque has none to lose.
    pub(super) whited: BTreeSet<Vec<u8>>,
    pub(super) opaque_root: bool,
}

/// What [`Layer::finish`] knows.
pub struct Done {
    pub members: u64,
    pub implied: BTreeSet<Vec<u8>>,
    pub whited: BTreeSet<Vec<u8>>,
    pub opaque_root: bool,
    pub omitted: Omitted,
}

impl Layer {
    /// Begins in the empty directory `target`.
    pub fn begin(target: BorrowedFd<'_>, privilege: Privilege) -> Result<Layer> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(target, ".", flags, Mode::empty()).sys("openat", "the layer's directory")?;
        Ok(Layer {
            place: Place::new(root, privilege.marks)?,
            setter: Setter::new(privilege),
            members: 0,
            implied: BTreeSet::from([Vec::new()]),
            implied_bytes: 0,
            whited: BTreeSet::new(),
            opaque_root: false,
        })
    }

    /// Unpacks one member, with its data from `archive`.
    pub fn apply<R: BufRead>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<()> {
        self.members += 1;
        let mut parents = components(&entry.name)?;
        let Some(name) = parents.pop() else { return self.root(entry) };
        if whiteout::is_aufs_metadata(&parents, name) {
            return Ok(());
        }
        whiteout::check_parents(&parents)?;
        self.go(&parents)?;
        if let Some(hidden) = whiteout::parse(name)? {
            return whiteout::apply(self, hidden);
        }
        match entry.kind {
            Kind::Directory => self.directory(name, entry),
            Kind::File => self.file(name, entry, archive),
            Kind::Symlink => self.symlink(name, entry),
            Kind::HardLink => links::hard(self, name, &entry.link),
            Kind::Char | Kind::Block | Kind::Fifo => self.special(name, entry),
        }
    }

    /// Leaves the directories, which sets their modes and times.
    pub fn finish(self) -> Result<Done> {
        self.place.finish()?;
        let (members, implied, omitted) = (self.members, self.implied, self.setter.omitted);
        Ok(Done { members, implied, whited: self.whited, opaque_root: self.opaque_root, omitted })
    }

    /// Notes that the current directory has a whiteout.
    pub(super) fn note_whiteout(&mut self) -> Result<()> {
        let path = self.place.path_of(b"");
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        if self.whited.contains(path) {
            return Ok(());
        }
        self.implied_bytes += path.len() + 64;
        if self.implied_bytes > MOST_IMPLIED {
            return Err(Error::corrupt("layer", "has too many directories with whiteouts"));
        }
        self.whited.insert(path.to_vec());
        Ok(())
    }

    fn go(&mut self, parents: &[&[u8]]) -> Result<()> {
        let (implied, bytes) = (&mut self.implied, &mut self.implied_bytes);
        self.place.go(parents, |path| {
            *bytes += path.len() + 64;
            if *bytes > MOST_IMPLIED {
                return Err(Error::corrupt("layer", "has too many directories without a member of their own"));
            }
            implied.insert(path);
            Ok(())
        })
    }

    /// `.` or `/`: a description of the root, and nothing else (umoci's CVE-2021-29136).
    fn root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::corrupt(
                Shown(&entry.name),
                "would replace the root with something that is no directory",
            ));
        }
        self.place.leave_to(0)?;
        self.describe(entry, &[])
    }

    /// Takes the attributes of the current directory from `entry`.
    fn describe(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        self.implied.remove(path);
        let here = self.place.here();
        here.describe(entry.mode, entry.mtime);
        self.setter.directory(here, entry)
    }

    fn directory(&mut self, name: &[u8], entry: &Entry) -> Result<()> {
        let path = self.place.path_of(name);
        match self.place.make(name, false) {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                let stat = self.place.stat(name)?.ok_or(error)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    self.place.enter(name)?;
                } else {
                    // It takes the place of something (a whiteout, a link), and of what that hid in the layers below.
                    self.place.unlink(name)?;
                    self.place.make(name, true)?;
                }
            }
            made => made?,
        }
        self.describe(entry, &path)
    }

    fn file<R: BufRead>(&mut self, name: &[u8], entry: &Entry, archive: &mut Archive<R>) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.replacing(name, "openat", |here| openat(here, name, flags, Mode::RUSR | Mode::WUSR))?;
        match &entry.segments {
            None => archive.read(u64::MAX, |bytes| write_all(&file, bytes))?,
            Some(segments) => sparse(&file, segments, entry.size, archive)?,
        }
        self.setter.file(&file, entry)
    }

    fn symlink(&mut self, name: &[u8], entry: &Entry) -> Result<()> {
        self.replacing(name, "symlinkat", |here| symlinkat(entry.link.as_slice(), here, name))?;
        let link = self.open_made(name)?;
        self.setter.special(&link, entry, false)
    }

    fn special(&mut self, name: &[u8], entry: &Entry) -> Result<()> {
        let kind = match entry.kind {
            Kind::Char if entry.device == (0, 0) => {
                return Err(Error::corrupt(Shown(name), "is the device 0:0, which overlayfs takes for a whiteout"));
            }
            Kind::Char => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = makedev(entry.device.0, entry.device.1);
        let made = self.replacing(name, "mknodat", |here| mknodat(here, name, kind, Mode::RUSR | Mode::WUSR, device));
        match made {
            Err(error) if error.errno() == Some(Errno::PERM) && kind != FileType::Fifo => {
                self.setter.omitted.devices += 1;
                return Ok(());
            }
            made => made?,
        }
        let special = self.open_made(name)?;
        self.setter.special(&special, entry, true)
    }

    /// Opens what was just made, without following it.
    fn open_made(&mut self, name: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(self.place.here(), name, flags, Mode::empty()).sys("openat", Shown(name))
    }

    /// Makes something with `make`, which must not replace anything by itself; what is in its way is removed.
    pub(super) fn replacing<T>(
        &mut self,
        name: &[u8],
        syscall: &str,
        make: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T> {
        use std::os::fd::AsFd;
        self.place.here().touched = true;
        match make(self.place.here().as_fd()) {
            Err(Errno::EXIST) => {
                self.remove(name)?;
                make(self.place.here().as_fd()).sys(syscall, Shown(name))
            }
            made => made.sys(syscall, Shown(name)),
        }
    }

    /// Removes what an earlier member of this layer made.
    fn remove(&mut self, name: &[u8]) -> Result<()> {
        match self.place.unlink(name) {
            Err(error) if error.errno() == Some(Errno::ISDIR) => {
                let path = self.place.path_of(name);
                self.implied.retain(|known| *known != path && !known.starts_with(&[&path[..], b"/"].concat()));
                links::remove_tree(self.place.here(), name)
            }
            removed => removed,
        }
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(file, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => (),
            Err(errno) => return Err(Error::system("write", "its data", errno)),
        }
    }
    Ok(())
}

fn sparse<R: BufRead>(file: &OwnedFd, segments: &[Segment], size: u64, archive: &mut Archive<R>) -> Result<()> {
    ftruncate(file, size).sys("ftruncate", format!("{size} bytes"))?;
    for segment in segments {
        seek(file, SeekFrom::Start(segment.offset)).sys("lseek", segment.offset)?;
        archive.read(segment.length, |bytes| write_all(file, bytes))?;
    }
    Ok(())
}
