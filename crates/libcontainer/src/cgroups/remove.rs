//! Removing a container's cgroups.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Kind, Phase, Result};

use super::kill::pids_below;
use super::{Cgroup, dir};

/// How often busy cgroups are tried again, waiting twice as long each time; about a second in all. A process that was
/// just killed is in there a moment longer.
const ATTEMPTS: u32 = 14;
const FIRST_WAIT: Duration = Duration::from_micros(64);

impl Cgroup {
    /// Removes the directories with their sub-cgroups; what is gone already is no error. Processes are neither killed
    /// nor thawed: those that are left may be another container's.
    ///
    /// # Errors
    /// [`Kind::WrongState`], naming a process, if one is still in there; [`Kind::System`] if the kernel refuses for
    /// another reason. The other directories are removed all the same.
    pub fn remove(&self) -> Result<()> {
        let mut left: Vec<(&Path, Errno)> = Vec::new();
        for path in self.dirs().values() {
            left.extend(rmdir(path).err().map(|errno| (path.as_path(), errno)));
        }
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            left = left.into_iter().filter_map(|(path, _)| Some((path, remove_tree(path).err()?))).collect();
            if !left.iter().any(|(_, errno)| *errno == Errno::BUSY) {
                break;
            }
            std::thread::sleep(wait);
            wait *= 2;
        }
        left.first().map_or(Ok(()), |(path, errno)| Err(stays(path, *errno).during(Phase::Cgroup)))
    }
}

fn rmdir(path: &Path) -> Result<(), Errno> {
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

fn remove_tree(path: &Path) -> Result<(), Errno> {
    let directory = match dir::open(path) {
        // On a read-only mount rmdir(2) refuses even what is not there.
        Err(Errno::NOENT) => return Ok(()),
        directory => directory?,
    };
    let remove = |parent: BorrowedFd<'_>, name: &CStr| {
        // One that stays keeps its parents, which will tell.
        let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
        Ok(())
    };
    dir::walk(directory.as_fd(), |_| Ok(()), remove)?;
    rmdir(path)
}

fn stays(path: &Path, errno: Errno) -> Error {
    let error = Error::system("rmdir", path.display(), errno).within("removing cgroup");
    match pids_below(path).unwrap_or_default().first() {
        Some(pid) => error
            .of_kind(Kind::WrongState)
            .cause(format!("process {pid} is still in it"))
            .remedy("kill the container's processes first"),
        None => error,
    }
}
