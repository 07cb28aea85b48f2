//! Removing a container's cgroups.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Kind, Phase, Result, SysContext};

use super::kill::pids_below;
use super::{Cgroup, dir};

/// How often a busy cgroup is tried again, waiting twice as long each time; about two seconds in all. A process that
/// was just killed is in it a moment longer.
const ATTEMPTS: u32 = 15;
const FIRST_WAIT: Duration = Duration::from_micros(64);

impl Cgroup {
    /// Removes the directories with their sub-cgroups; what is gone already is no error. Processes are not killed, but
    /// thawed if they keep a directory busy, since a killed process cannot end while it is frozen.
    ///
    /// # Errors
    /// [`Kind::WrongState`], naming a process, if one is still in there. The other directories are removed all the
    /// same.
    pub fn remove(&self) -> Result<()> {
        let mut result = Ok(());
        for path in self.dirs().values() {
            result = result.and(self.remove_one(path));
        }
        result.map_err(|error| error.during(Phase::Cgroup))
    }

    fn remove_one(&self, path: &Path) -> Result<()> {
        let mut wait = FIRST_WAIT;
        let mut errno = match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => errno,
        };
        for attempt in 0..ATTEMPTS {
            // Also where the mount is read-only, which rmdir(2) says even of what is not there.
            let directory = match dir::open(path) {
                Err(Errno::NOENT) => return Ok(()),
                directory => directory.sys("open", path.display())?,
            };
            let remove = |parent: std::os::fd::BorrowedFd<'_>, name: &std::ffi::CStr| {
                // One that stays keeps its parents, which will tell.
                let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
                Ok(())
            };
            let _ = dir::walk(directory.as_fd(), |_| Ok(()), remove);
            errno = match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(errno) => errno,
            };
            if errno != Errno::BUSY {
                break;
            }
            if attempt == 0 {
                let _ = self.thaw();
            }
            std::thread::sleep(wait);
            wait *= 2;
        }
        let error = Error::system("rmdir", path.display(), errno).within("removing cgroup");
        Err(match pids_below(path).unwrap_or_default().first() {
            Some(pid) => error
                .of_kind(Kind::WrongState)
                .cause(format!("process {pid} is still in it"))
                .remedy("kill the container's processes first"),
            None => error,
        })
    }
}
