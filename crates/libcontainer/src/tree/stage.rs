//! The fall-backs by mount(2). It cannot make a mount that is attached nowhere; so mounts are made on a stage: a tmpfs over
//! this process's `/`, which the process itself cannot see, as its root lies below it, and whose way is `/..`. From there
//! they are moved (MS_MOVE) to their targets. A descriptor of a mount stays one wherever the mount goes, so all else is
//! as with detached trees.
//!
//! Paths are /proc/self/fd/N, of a procfs that was opened when first needed: the kernel takes them for the open file
//! itself, nothing can be swapped on the way.

#![allow(clippy::disallowed_methods, reason = "this process's own `/` and working directory, and no way from there")]

use std::cell::RefCell;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags, fstat, fstatvfs, mkdirat, open, openat, readlinkat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, mount_move, mount_remount, move_mount, unmount,
};
use rustix::process::fchdir;

use crate::host::HostProc;
use crate::sys::mount::MountAttr;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[derive(Default)]
struct Stage {
    /// Whether it may be made: only in a mount namespace whose `/` passes nothing on.
    allowed: bool,
    top: Option<OwnedFd>,
    proc: Option<HostProc>,
    places: u32,
}

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::default();
}

/// While it lives, what the kernel cannot make detached is made on a stage. It costs nothing until then.
#[derive(Debug)]
pub struct Staging(());

impl Staging {
    /// `allowed`: the mount namespace is this process's own, and no mount on its `/` propagates to others.
    pub fn begin(allowed: bool) -> Staging {
        STAGE.with_borrow_mut(|stage| stage.allowed = allowed);
        Staging(())
    }

    /// Takes the stage away.
    ///
    /// # Errors
    /// If it stays: processes that join the mount namespace would find it as their `/`.
    pub fn end(self) -> Result<(), Errno> {
        STAGE.with_borrow_mut(Stage::close)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = STAGE.with_borrow_mut(Stage::close);
    }
}

impl Stage {
    fn close(&mut self) -> Result<(), Errno> {
        self.allowed = false;
        let Some(top) = self.top.take() else { return Ok(()) };
        in_directory(top.as_fd(), || unmount(".", UnmountFlags::DETACH))
    }

    fn top(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        if self.top.is_none() {
            if !self.allowed {
                return Err(Errno::NOSYS);
            }
            self.proc()?;
            mount("tmpfs", "/", "tmpfs", MountFlags::empty(), Some(c"mode=700"))?;
            let top = open("/..", DIRECTORY, Mode::empty())?;
            if fstat(&top)?.st_dev == fstat(open("/", DIRECTORY, Mode::empty())?)?.st_dev {
                return Err(Errno::NOSYS);
            }
            // MS_MOVE takes nothing off a shared mount.
            in_directory(top.as_fd(), || mount_change(".", MountPropagationFlags::PRIVATE))?;
            self.top = Some(top);
        }
        self.top.as_ref().map(AsFd::as_fd).ok_or(Errno::NOSYS)
    }

    fn proc(&mut self) -> Result<&HostProc, Errno> {
        if self.proc.is_none() {
            self.proc = Some(HostProc::open().map_err(|error| error.errno().unwrap_or(Errno::NOSYS))?);
        }
        self.proc.as_ref().ok_or(Errno::NOSYS)
    }

    /// Has `fill` mount something on a place of its own, and opens that.
    fn fill(
        &mut self,
        directory: bool,
        fill: impl FnOnce(&HostProc, BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> Result<OwnedFd, Errno> {
        self.places += 1;
        let name = format!(".creel-{}", self.places);
        let top = self.top()?;
        if directory {
            mkdirat(top, &name, Mode::RWXU)?;
        } else {
            openat(top, &name, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR)?;
        }
        let place = openat(top, &name, PLACE, Mode::empty())?;
        let proc = self.proc.as_ref().ok_or(Errno::NOSYS)?;
        fill(proc, place.as_fd())?;
        openat(self.top()?, &name, PLACE, Mode::empty())
    }
}

/// Calls `act` with `dir` as the working directory.
fn in_directory<T>(dir: BorrowedFd<'_>, act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let before = open(".", DIRECTORY, Mode::empty())?;
    fchdir(dir)?;
    let result = act();
    fchdir(before)?;
    result
}

/// The path of an open file, from /proc.
fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("self/fd/{}", fd.as_raw_fd())
}

/// Calls `act` with /proc as the working directory, which [`path_of`] is relative to.
fn in_proc<T>(act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    STAGE.with_borrow_mut(|stage| in_directory(stage.proc()?.as_fd(), act))
}

/// Calls `act` with a path of an open file; that of a directory needs no /proc, of which there may be none any more once
/// the root is the container's.
fn at<T>(top: BorrowedFd<'_>, act: impl FnOnce(&str) -> Result<T, Errno>) -> Result<T, Errno> {
    match FileType::from_raw_mode(fstat(top)?.st_mode) {
        FileType::Directory => in_directory(top, || act(".")),
        _ => in_proc(|| act(&path_of(top))),
    }
}

fn bind_to(source: BorrowedFd<'_>, target: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
    match recursive {
        true => mount_bind_recursive(path_of(source), path_of(target)),
        false => mount_bind(path_of(source), path_of(target)),
    }
}

pub(super) fn clone(dir: BorrowedFd<'_>, path: &Path, flags: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let opened;
    let source = if path.as_os_str().is_empty() {
        dir
    } else {
        let nofollow = flags.contains(OpenTreeFlags::AT_SYMLINK_NOFOLLOW);
        let nofollow = if nofollow { OFlags::NOFOLLOW } else { OFlags::empty() };
        opened = openat(dir, path, OFlags::PATH | OFlags::CLOEXEC | nofollow, Mode::empty())?;
        opened.as_fd()
    };
    let directory = FileType::from_raw_mode(fstat(source)?.st_mode) == FileType::Directory;
    let recursive = flags.contains(OpenTreeFlags::AT_RECURSIVE);
    STAGE.with_borrow_mut(|stage| {
        stage.fill(directory, |proc, place| in_directory(proc.as_fd(), || bind_to(source, place, recursive)))
    })
}

pub(super) fn mount_aside(kind: &str, source: &str, flags: MountFlags, data: &CStr) -> Result<OwnedFd, Errno> {
    STAGE.with_borrow_mut(|stage| {
        stage.fill(true, |proc, place| {
            in_directory(proc.as_fd(), || mount(source, path_of(place), kind, flags, Some(data)))
        })
    })
}

pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    in_proc(|| mount_move(path_of(tree), path_of(target)))
}

pub(super) fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    in_proc(|| bind_to(source, target, false))
}

pub(super) fn reconfigure(top: BorrowedFd<'_>, flags: MountFlags, data: &CStr) -> Result<(), Errno> {
    let flags = flags | flags_of(attributes_of(top)?);
    at(top, |path| mount_remount(path, flags, data))
}

/// Brings it onto the stage first: what is attached nowhere mount(2) does not change. What is on the stage already only
/// gets another place there.
pub(super) fn change_detached(tree: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let directory = FileType::from_raw_mode(fstat(tree)?.st_mode) == FileType::Directory;
    STAGE.with_borrow_mut(|stage| {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        stage.fill(directory, |proc, place| match move_mount(tree, c"", place, c"", flags) {
            Err(Errno::NOSYS) => in_directory(proc.as_fd(), || mount_move(path_of(tree), path_of(place))),
            result => result,
        })
    })?;
    change(tree, recursive, attr)
}

pub(super) fn change(top: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    if attr.propagation != 0 {
        let recursion = if recursive { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
        let flags = MountPropagationFlags::from_bits_retain(attr.propagation as u32) | recursion;
        at(top, |path| mount_change(path, flags))?;
    }
    if attr.set == 0 && attr.clear == 0 {
        return Ok(());
    }
    change_one(top, attr)?;
    if recursive {
        for path in below(top)? {
            match openat(top, &path, PLACE, Mode::empty()) {
                Err(Errno::NOENT) => (), // something is mounted over it
                opened => change_one(opened?.as_fd(), attr)?,
            }
        }
    }
    Ok(())
}

fn change_one(top: BorrowedFd<'_>, attr: &MountAttr) -> Result<(), Errno> {
    let wanted = (attributes_of(top)? & !attr.clear) | attr.set;
    let flags = flags_of(wanted) | MountFlags::BIND;
    at(top, |path| mount_remount(path, flags, c""))
}

/// The paths, from `top` on, of what is mounted below it.
fn below(top: BorrowedFd<'_>) -> Result<Vec<PathBuf>, Errno> {
    let (own, text) = STAGE.with_borrow_mut(|stage| {
        let proc = stage.proc()?;
        let own = readlinkat(proc, path_of(top), Vec::new())?.into_bytes();
        let file = openat(proc, c"self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        crate::host::read_all(&file).map(|text| (own, text))
    })?;
    let mountpoints = text.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let inside = mountpoints.map(super::unescape).filter_map(|path| {
        let own: &Path = Path::new(OsStr::from_bytes(&own));
        path.strip_prefix(own).ok().filter(|rest| !rest.as_os_str().is_empty()).map(Path::to_owned)
    });
    Ok(inside.collect())
}

/// MOUNT_ATTR_* and the flags of mount(2) and statvfs(3) that mean the same. The last three say when a file was read
/// last; MOUNT_ATTR_RELATIME is none of the others.
const SAME: [(u64, StatVfsMountFlags, MountFlags); 7] = [
    (libc::MOUNT_ATTR_RDONLY, StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
    (libc::MOUNT_ATTR_NOSUID, StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
    (libc::MOUNT_ATTR_NODEV, StatVfsMountFlags::NODEV, MountFlags::NODEV),
    (libc::MOUNT_ATTR_NOEXEC, StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    (libc::MOUNT_ATTR_NODIRATIME, StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
    (libc::MOUNT_ATTR_NOSYMFOLLOW, StatVfsMountFlags::from_bits_retain(0x2000), MountFlags::NOSYMFOLLOW),
    (libc::MOUNT_ATTR_NOATIME, StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
];

fn attributes_of(top: BorrowedFd<'_>) -> Result<u64, Errno> {
    let flags = fstatvfs(top)?.f_flag;
    let known = SAME.iter().filter(|(_, there, _)| flags.contains(*there)).fold(0, |all, (attr, ..)| all | attr);
    let strict = !flags.intersects(StatVfsMountFlags::NOATIME | StatVfsMountFlags::RELATIME);
    Ok(known | if strict { libc::MOUNT_ATTR_STRICTATIME } else { 0 })
}

fn flags_of(attributes: u64) -> MountFlags {
    let known = SAME.iter().filter(|(attr, ..)| attributes & attr != 0);
    let flags = known.fold(MountFlags::empty(), |all, (_, _, flag)| all | *flag);
    match (attributes & libc::MOUNT_ATTR_STRICTATIME != 0, attributes & libc::MOUNT_ATTR_NOATIME != 0) {
        (true, _) => flags | MountFlags::STRICTATIME,
        (false, true) => flags,
        (false, false) => flags | MountFlags::RELATIME,
    }
}
