//! How a process gets into a container's cgroups.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::dbus::ManagerKind;
use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::host::{CgroupFacts, read_file};

use super::create::write_later;
use super::systemd::Placeholder;
use super::{Cgroup, CgroupWrite, HierarchyPlan, Unit, delegate, dir};

/// One hierarchy's way in: on v1 the file `tasks`, opened for writing; on v2 the directory.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) v2: bool,
    pub(super) fd: OwnedFd,
    /// The directory.
    pub(super) path: PathBuf,
    /// Whether staying outside is tolerated.
    pub(super) optional: bool,
}

/// A limit that is only set when the processes that were needed for the beginning are gone.
#[derive(Debug)]
pub(super) struct Later {
    /// The directory.
    pub(super) path: PathBuf,
    pub(super) write: CgroupWrite,
}

/// The ways into a container's cgroups, opened (close-on-exec) by the parent of the process that goes in.
#[derive(Debug)]
pub struct Membership {
    pub(super) doors: Vec<Door>,
    /// Holds systemd's unit open until the container's first process is in.
    pub(super) placeholder: Option<Placeholder>,
    pub(super) later: Vec<Later>,
    /// systemd's unit, if the v2 directory is its own.
    pub(super) unit: Option<Unit>,
    /// The sub-cgroup that the container's first process goes on to.
    pub(super) delegated: Option<HierarchyPlan>,
}

impl Membership {
    /// Whether a user's manager has the cgroup. With the system's help it moves his processes wherever they are.
    pub fn can_fetch(&self) -> bool {
        self.unit.as_ref().is_some_and(|unit| unit.manager == ManagerKind::User)
    }

    /// Has systemd move a process into the cgroup.
    ///
    /// # Errors
    /// If it does not.
    pub fn fetch(&self, pid: Pid) -> Result<()> {
        self.unit.as_ref().map_or(Ok(()), |unit| unit.fetch(pid.as_raw_pid().unsigned_abs())).during(Phase::Cgroup)
    }

    /// To be called when the container's first process is in and has its namespaces, before it executes anything: ends what
    /// has held systemd's unit open for it, sets the limits that had to wait for that, and moves the process on to the
    /// sub-cgroup that is the container's to divide.
    ///
    /// # Errors
    /// As [`Cgroup::create`], for those limits and that sub-cgroup.
    pub fn settle(self, pid: Pid) -> Result<()> {
        drop(self.placeholder);
        let delegate = || self.delegated.as_ref().map_or(Ok(()), |plan| delegate::enter(plan, pid));
        write_later(&self.later).and_then(|()| delegate()).during(Phase::Cgroup)
    }

    /// The v2 directory, for `CLONE_INTO_CGROUP`; the process then needs [`Membership::join_self_v1`] only.
    pub fn v2(&self) -> Option<BorrowedFd<'_>> {
        self.doors.iter().find(|door| door.v2).map(|door| door.fd.as_fd())
    }

    /// Moves the calling process into all hierarchies; before anything else that it does, and only while it has a
    /// single thread.
    ///
    /// It joins by itself because that is cheap: a thread that writes its own "0" to a v1 `tasks` file takes no
    /// cgroup_threadgroup_rwsem (since Linux 5.4, "cgroup: Optimize single thread migration"). Nine hierarchies took
    /// 0.15 ms; the parent writing a pid to their `cgroup.procs` slept 6 to 14 ms in an RCU grace period after every
    /// pause (docs/adr/0002-join-v1-cgroups-from-inside.md). On v2 this is the slow way, for want of
    /// `CLONE_INTO_CGROUP`.
    ///
    /// # Errors
    /// Names the cgroup that does not take the process.
    pub fn join_self(&self) -> Result<()> {
        self.doors.iter().try_for_each(Door::enter)
    }

    /// [`Membership::join_self`] for a process that was born in [`Membership::v2`].
    ///
    /// # Errors
    /// As for [`Membership::join_self`].
    pub fn join_self_v1(&self) -> Result<()> {
        self.doors.iter().filter(|door| !door.v2).try_for_each(Door::enter)
    }
}

impl Door {
    fn enter(&self) -> Result<()> {
        let entered = match self.v2 {
            true => dir::write(self.fd.as_fd(), dir::PROCESSES, "0"),
            false => dir::put(self.fd.as_fd(), "0"),
        };
        let Err(errno) = entered else { return Ok(()) };
        if self.optional {
            return Ok(());
        }
        let adding = format!("adding pid {} to cgroups", rustix::process::getpid().as_raw_nonzero());
        let error = Error::system("write", self.path.display(), errno).within(adding).during(Phase::Cgroup);
        Err(match errno {
            Errno::NODEV => error.cause("it was removed"),
            Errno::BUSY => error.cause("it passes controllers on to sub-cgroups, and so cannot have processes itself"),
            Errno::OPNOTSUPP => error.cause("it is below a threaded cgroup"),
            Errno::NOSPC => error.cause("its cpuset has no processor or no memory node"),
            Errno::INVAL => error.cause("it allows the process's real-time priority no CPU time"),
            _ => error,
        })
    }
}

impl Cgroup {
    /// The ways into cgroups that exist already.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if one of the directories is gone.
    pub fn membership(&self) -> Result<Membership> {
        let doors = self.dirs().iter().map(|(key, path)| {
            let v2 = key.is_empty();
            let fd = match v2 {
                true => dir::open(path).sys("open", path.display()),
                false => dir::open_to_write(CWD, path.join("tasks")).sys("open", path.join("tasks").display()),
            };
            // As at creation: what only keeps track of processes can be done without.
            let optional = key.starts_with("name=") || key == "misc" || self.beside() == Some(path);
            Ok(Door { v2, fd: fd.map_err(gone)?, path: path.clone(), optional })
        });
        let doors = doors.collect::<Result<_>>().during(Phase::Cgroup)?;
        Ok(Membership { doors, placeholder: None, later: Vec::new(), unit: self.unit.clone(), delegated: None })
    }

    /// The cgroup that a process which joins the container of init `pid` has to go into: this one, unless it passes
    /// controllers on to sub-cgroups and so may have no processes itself (kernel doc cgroup-v2.rst "No Internal Process
    /// Constraint").
    ///
    /// # Errors
    /// Those of [`CgroupFacts::gather`] and [`Cgroup::of_member`].
    pub fn for_joining(&self, pid: i32) -> Result<Cgroup> {
        let Some(v2) = self.dirs.get("").filter(|v2| self.main() == Some(v2)) else { return Ok(self.clone()) };
        match read_file(v2.join("cgroup.subtree_control")) {
            Ok(controllers) if controllers.iter().any(u8::is_ascii_alphanumeric) => {
                self.of_member(pid, &CgroupFacts::gather()?)
            }
            _ => Ok(self.clone()),
        }
    }

    /// The cgroup that process `pid` of the container is in now. On v2 that is where another process has to go if
    /// joining the container's own cgroup gives `EBUSY`: a container that runs systemd moves its processes into
    /// sub-cgroups and passes the controllers on. On v1, and if the place cannot be told, it is this one.
    ///
    /// # Errors
    /// [`Kind::System`] if /proc/PID/cgroup cannot be read.
    pub fn of_member(&self, pid: i32, facts: &CgroupFacts) -> Result<Cgroup> {
        let Some(v2) = facts.v2.as_ref().filter(|_| self.main() == self.dirs.get("").map(PathBuf::as_path)) else {
            return Ok(self.clone());
        };
        let path = format!("/proc/{pid}/cgroup");
        let text = std::fs::read_to_string(&path).sys("read", &path).during(Phase::Cgroup)?;
        let place = text.lines().find_map(|line| line.strip_prefix("0::/")).map(|place| v2.mountpoint.join(place));
        let known = place.filter(|place| dir::open(place).is_ok());
        Ok(known.map_or_else(|| self.clone(), |place| self.inner(place)))
    }

    /// This cgroup's part at `place`, on v2; of the same unit if it is below that.
    fn inner(&self, place: PathBuf) -> Cgroup {
        let unit = self.unit.clone().and_then(|mut unit| {
            let own = self.dirs.get("")?;
            let top = own.ancestors().nth(unit.subgroup.components().count())?;
            unit.subgroup = place.strip_prefix(top).ok()?.to_owned();
            Some(unit)
        });
        Cgroup { unit, ..Cgroup::new([(String::new(), place)].into()) }
    }

    /// The same cgroups with the sub-cgroup named for each controller in the place of the container's own; the empty
    /// controller means v2, and on v1 all of them. (`exec --cgroup`)
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a controller that there is none of, or a path that leads out; [`Kind::NotFound`] if there
    /// is no such sub-cgroup.
    pub fn sub(&self, places: &[(String, String)]) -> Result<Cgroup> {
        let mut inner = self.clone();
        if !places.is_empty() {
            inner.unit = None;
        }
        for (controller, place) in places {
            let below = beneath(place).during(Phase::Cgroup)?;
            let mut found = false;
            for (key, path) in &mut inner.dirs {
                if controller.is_empty() || key.split(',').any(|one| one == controller) {
                    // From the container's own directory, also if a controller is named twice.
                    *path = self.dirs.get(key).cloned().unwrap_or_default();
                    path.extend(&below);
                    let opened = dir::open(path).sys("open", path.display()).map_err(gone);
                    opened.map_err(|error| error.within("--cgroup: adding pid to cgroup")).during(Phase::Cgroup)?;
                    found = true;
                }
            }
            if !found {
                let why = format!("unknown controller {controller}: the container has no cgroup for it");
                return Err(Error::invalid("--cgroup", why).during(Phase::Cgroup));
            }
        }
        Ok(inner)
    }
}

/// A path with its `.` and `..` worked out, which must not lead above where it starts.
fn beneath(place: &str) -> Result<Vec<&std::ffi::OsStr>> {
    let mut names = Vec::new();
    for component in Path::new(place).components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir if names.pop().is_none() => {
                return Err(Error::invalid(
                    "--cgroup",
                    format!("bad sub cgroup path \"{place}\": it leads out of the container's cgroup"),
                ));
            }
            _ => {}
        }
    }
    Ok(names)
}

fn gone(error: Error) -> Error {
    match error.errno() {
        Some(Errno::NOENT) => error.of_kind(Kind::NotFound).cause("there is no such cgroup"),
        _ => error,
    }
}
