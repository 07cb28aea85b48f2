//! Where in the layer we are: the open directories from the root to the current one.
//!
//! Every directory is opened beneath its parent's descriptor and no symlink is followed by the kernel: where a name is
//! one, it is read and walked from here, with the layer's root as the end of all `..`. So no archive, and nobody who
//! moves directories meanwhile, can make a write go anywhere else (CVE-2018-15664, CVE-2025-47290).
//!
//! A directory gets its mode and times when it is left; until then it is 0700 and changes with every member.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, chmodat, fchmod, fstat, futimens, mkdirat, openat, readlinkat, statat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::times;
use super::overlay::{self, Marks};
use super::tar::Shown;
use crate::error::{Error, Result, SysContext};

/// How deep directories may be nested; the way to the current one is open all the time.
const DEEPEST: usize = 500;
/// How many symlinks one name may go through (path_resolution(7)).
const MAX_LINKS: u32 = 40;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BUSY: Mode = Mode::RWXU;
const PERMISSIONS: u32 = 0o7777;

/// An open directory on the way.
pub struct Frame {
    name: Vec<u8>,
    fd: OwnedFd,
    /// What it gets when it is left.
    pub mode: u32,
    /// What it gets when it is left.
    pub mtime: (i64, u32),
    /// Nothing of the layers below shows here; so there is nothing to white out.
    pub covered: bool,
    /// Its mode is 0700 at present.
    opened_up: bool,
    /// Its times have changed.
    pub touched: bool,
}

/// The way from the layer's root to the current directory.
pub struct Place {
    frames: Vec<Frame>,
    root: Frame,
    marks: Marks,
    /// Whether any directory was marked as opaque; if not, none has to be asked.
    pub any_opaque: bool,
}

/// What a step down came to.
enum Step {
    Entered,
    Link(Vec<u8>),
}

impl Place {
    /// Begins in the root, which is empty.
    pub fn new(root: OwnedFd, marks: Marks) -> Result<Place> {
        fchmod(&root, BUSY).sys("fchmod", "the layer's directory")?;
        let root = Frame::made(Vec::new(), root, false);
        Ok(Place { frames: Vec::new(), root, marks, any_opaque: false })
    }

    /// The current directory.
    pub fn here(&mut self) -> &mut Frame {
        self.frames.last_mut().unwrap_or(&mut self.root)
    }

    /// How opaque directories are marked.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// The descriptor of the layer's root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.fd.as_fd()
    }

    /// Whether the current directory is the layer's root.
    pub fn at_root(&self) -> bool {
        self.frames.is_empty()
    }

    /// The path of `name` in the current directory, from the layer's root, through no symlinks.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        for frame in &self.frames {
            path.extend_from_slice(&frame.name);
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Goes to the directory with these components; what is missing is made, and told to `made` by its path.
    pub fn go(&mut self, components: &[&[u8]], mut made: impl FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        let same = self.frames.iter().zip(components).take_while(|(frame, part)| frame.name == **part).count();
        self.leave_to(same)?;
        let mut way: VecDeque<Vec<u8>> = components[same..].iter().map(|part| part.to_vec()).collect();
        let mut links = 0;
        while let Some(part) = way.pop_front() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => {
                    self.leave_to(self.frames.len().saturating_sub(1))?;
                    continue;
                }
                _ => (),
            }
            if let Step::Link(target) = self.step(&part, &mut made)? {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Error::system("openat", Shown(&part), Errno::LOOP));
                }
                if target.starts_with(b"/") {
                    self.leave_to(0)?;
                }
                for part in target.split(|byte| *byte == b'/').rev() {
                    way.push_front(part.to_vec());
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, name: &[u8], made: &mut impl FnMut(Vec<u8>) -> Result<()>) -> Result<Step> {
        match self.enter(name) {
            Ok(()) => return Ok(Step::Entered),
            Err(error) if error.errno() == Some(Errno::NOENT) => {
                self.make(name, false)?;
            }
            Err(error) if matches!(error.errno(), Some(Errno::LOOP | Errno::NOTDIR)) => {
                let stat = self.stat(name)?.ok_or(error.clone())?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => {
                        let target = readlinkat(&self.here().fd, name, Vec::new()).sys("readlinkat", Shown(name))?;
                        return Ok(Step::Link(target.into_bytes()));
                    }
                    // It begins anew; the layers below have no say in what it looks like.
                    _ if overlay::is_whiteout(&stat) => {
                        self.unlink(name)?;
                        self.make(name, true)?;
                        return Ok(Step::Entered);
                    }
                    _ => return Err(error.cause("the layer has a member beneath something that is no directory")),
                }
            }
            Err(error) => return Err(error),
        }
        let path = self.path_of(b"");
        made(path.strip_suffix(b"/").unwrap_or(&path).to_vec())?;
        Ok(Step::Entered)
    }

    /// Goes into the directory `name`, which must be there.
    pub fn enter(&mut self, name: &[u8]) -> Result<()> {
        self.check_depth(name)?;
        let here = &self.here().fd;
        let opened = match openat(here, name, DIRECTORY, Mode::empty()) {
            // A directory that its owner may not read, and the owner is no root.
            Err(Errno::ACCESS) => {
                let stat = statat(here, name, AtFlags::SYMLINK_NOFOLLOW).sys("statat", Shown(name))?;
                chmodat(here, name, BUSY, AtFlags::empty()).sys("fchmodat", Shown(name))?;
                openat(here, name, DIRECTORY, Mode::empty()).map(|fd| (fd, Some(stat)))
            }
            opened => opened.map(|fd| (fd, None)),
        };
        let (fd, before) = opened.sys("openat", Shown(name))?;
        let opened_up = before.is_some();
        let stat = match before {
            Some(stat) => stat,
            None => fstat(&fd).sys("fstat", Shown(name))?,
        };
        let covered = self.here().covered || (self.any_opaque && self.marks.is_opaque(&fd));
        let mut frame = Frame {
            name: name.to_vec(),
            fd,
            mode: stat.st_mode & PERMISSIONS,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            covered,
            opened_up,
            touched: false,
        };
        // The children must be makeable, and not inherit the group.
        if !opened_up && stat.st_mode & (0o7000 | BUSY.bits()) != BUSY.bits() {
            fchmod(&frame.fd, BUSY).sys("fchmod", Shown(name))?;
            frame.opened_up = true;
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Makes the directory `name`, which must not be there, and goes into it.
    pub fn make(&mut self, name: &[u8], opaque: bool) -> Result<()> {
        self.check_depth(name)?;
        let here = self.here();
        mkdirat(&here.fd, name, BUSY).sys("mkdirat", Shown(name))?;
        here.touched = true;
        let covered = here.covered;
        let fd = openat(&here.fd, name, DIRECTORY, Mode::empty()).sys("openat", Shown(name))?;
        self.frames.push(Frame::made(name.to_vec(), fd, covered));
        if opaque {
            self.cover()?;
        }
        Ok(())
    }

    /// Marks the current directory as opaque. Nothing is to be done where nothing shows through anyway.
    pub fn cover(&mut self) -> Result<()> {
        let marks = self.marks;
        if !self.here().covered {
            if !self.at_root() {
                marks.set_opaque(&self.here().fd)?;
                self.any_opaque = true;
            }
            self.here().covered = true;
        }
        Ok(())
    }

    /// What `name` is in the current directory.
    pub fn stat(&mut self, name: &[u8]) -> Result<Option<rustix::fs::Stat>> {
        match statat(&self.here().fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::system("statat", Shown(name), errno)),
        }
    }

    /// Removes `name`, which is no directory.
    pub fn unlink(&mut self, name: &[u8]) -> Result<()> {
        self.here().touched = true;
        unlinkat(&self.here().fd, name, AtFlags::empty()).sys("unlinkat", Shown(name))
    }

    /// Leaves all directories, the root too.
    pub fn finish(mut self) -> Result<()> {
        self.leave_to(0)?;
        self.root.leave()
    }

    /// Goes up until only `depth` directories below the root are open.
    pub fn leave_to(&mut self, depth: usize) -> Result<()> {
        while self.frames.len() > depth {
            if let Some(frame) = self.frames.pop() {
                frame.leave()?;
            }
        }
        Ok(())
    }

    fn check_depth(&self, name: &[u8]) -> Result<()> {
        if self.frames.len() < DEEPEST {
            return Ok(());
        }
        Err(Error::corrupt(Shown(name), format!("is nested more than {DEEPEST} directories deep")))
    }
}

impl AsFd for Frame {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Frame {
    /// A directory that was just made, and of which nothing is known.
    fn made(name: Vec<u8>, fd: OwnedFd, covered: bool) -> Frame {
        Frame { name, fd, mode: 0o755, mtime: (0, 0), covered, opened_up: true, touched: true }
    }

    /// Takes what an archive says of it.
    pub fn describe(&mut self, mode: u32, mtime: (i64, u32)) {
        (self.mode, self.mtime) = (mode, mtime);
        (self.opened_up, self.touched) = (true, true);
    }

    fn leave(&self) -> Result<()> {
        if self.opened_up {
            fchmod(&self.fd, Mode::from_raw_mode(self.mode)).sys("fchmod", Shown(&self.name))?;
        }
        if self.touched {
            futimens(&self.fd, &times(self.mtime)).sys("utimensat", Shown(&self.name))?;
        }
        Ok(())
    }
}
