//! Bind mounts.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, OFlags, fstat, fstatfs, readlinkat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::mount::{attach_error, change};
use super::pivot::attach;
use super::plan_mounts::{Bind, MountStep};
use super::target::{self, Make, Target};
use crate::error::{Error, Kind, Result, SysContext};
use crate::paths::{Root, split};

pub(super) fn mount(root: &Root, step: &MountStep, bind: &Bind) -> Result<()> {
    if bind.copy_symlink && copy_symlink(root, step, bind)? {
        return Ok(());
    }
    let tree = clone(step, bind)?;
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
    attach(tree, &place.fd).map_err(|errno| attach_error(errno, &step.destination))
}

fn is_procfs(tree: &OwnedFd, bind: &Bind) -> Result<bool> {
    let kind = fstatfs(tree).sys("fstatfs", bind.source.display())?.f_type;
    Ok(kind as i64 == libc::PROC_SUPER_MAGIC)
}

/// The source, on the host, as a tree that is attached nowhere.
fn clone(step: &MountStep, bind: &Bind) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if bind.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if bind.source_nofollow {
        flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    }
    open_tree(CWD, &bind.source, flags).map_err(|errno| {
        let field = format!("mounts[{}].source", step.index);
        let error = Error::system("open_tree", bind.source.display(), errno).within(field);
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
