//! Carries a [`CgroupPlan`] out.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, mkdirat, unlinkat};
use rustix::io::Errno;

use crate::error::{During, Error, Kind, Phase, Result, SysContext};

use super::controllers::pass_controllers_on;
use super::membership::{Door, Later};
use super::systemd::Started;
use super::writer::{refused, write_all};
use super::{Cgroup, CgroupPlan, CgroupWrite, HierarchyPlan, Membership, delegate, devices, dir, undelegated};

/// The files of v1's cpuset without which no process can be let in.
const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// How many tasks a cgroup may have.
const LIMIT_OF_TASKS: &str = "pids.max";

impl Cgroup {
    /// Makes the directories, starting with systemd's unit if there is to be one, and sets the limits. On failure, what
    /// was made is removed.
    ///
    /// # Errors
    /// [`Kind::WrongState`] if a directory exists and is frozen or has processes in it, or the unit exists;
    /// [`Kind::Unsupported`] for a limit that this kernel does not know; otherwise the system call that failed.
    pub fn create(plan: &CgroupPlan) -> Result<(Cgroup, Membership)> {
        let started = start_unit(plan).map_err(|error| error.during(Phase::Cgroup))?;
        let mut later = Vec::new();
        let mut reused = false;
        let mut made = Made::default();
        let mut dirs = BTreeMap::new();
        let mut doors = Vec::with_capacity(plan.hierarchies.len());
        for hierarchy in &plan.hierarchies {
            let mut mine = Made::default();
            let prepared = match &started {
                None => prepare(hierarchy, &mut mine),
                Some(started) => prepare_of_unit(hierarchy, started, &mut mine, &mut later),
            };
            match prepared {
                Ok(door) => {
                    reused |= mine.0.is_empty() && started.is_none();
                    made.0.append(&mut mine.0);
                    dirs.insert(hierarchy.key.clone(), door.path.clone());
                    doors.push(door);
                }
                Err(error) if hierarchy.optional && error.kind() == Kind::System => {}
                Err(error) => return Err(error.during(Phase::Cgroup)),
            }
        }
        made.keep();
        let unit = plan.unit.as_ref().map(|plan| plan.unit.clone());
        let placeholder = started.and_then(Started::keep);
        let mut cgroup = Cgroup { dirs, unit: unit.clone(), killed_before: 0 };
        if reused {
            cgroup.killed_before = cgroup.out_of_memory()?.map_or(0, |before| before.kills);
        }
        let membership = Membership { doors, placeholder, later, unit, delegated: plan.delegated.clone() };
        Ok((cgroup, membership))
    }
}

fn start_unit(plan: &CgroupPlan) -> Result<Option<Started>> {
    let Some(unit) = &plan.unit else { return Ok(None) };
    for path in plan.hierarchies.iter().map(HierarchyPlan::dir) {
        match dir::open(&path) {
            Ok(directory) => refuse_if_used(directory.as_fd(), &path)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::system("open", path.display(), errno)),
        }
    }
    Started::start(unit).map(Some)
}

/// The directories that were made, in order; removed when dropped, unless it was emptied before.
#[derive(Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// What was made stays.
    pub(super) fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // Nothing else can be done about it, and somebody else may have put a cgroup of his own in there.
            let _ = unlinkat(CWD, path, AtFlags::REMOVEDIR);
        }
    }
}

fn prepare(plan: &HierarchyPlan, made: &mut Made) -> Result<Door> {
    let path = plan.dir();
    let new = make(plan, &path, made)?;
    let directory = dir::open(&path).sys("open", path.display())?;
    let fd = directory.as_fd();
    if !new {
        refuse_if_used(fd, &path)?;
    }
    refuse_if_stopped(plan, fd, &path)?;
    set_up(plan, fd, &path, &plan.writes)?;
    if let Some(program) = &plan.device_program {
        devices::attach(fd, program, new).within(|| path.display().to_string())?;
    }
    door(plan, directory, path)
}

/// As [`prepare`], for a directory that systemd has made, or does not care for. There is a process in it that will not
/// stay, which must not count against a limit that allows one.
fn prepare_of_unit(plan: &HierarchyPlan, started: &Started, made: &mut Made, later: &mut Vec<Later>) -> Result<Door> {
    let path = plan.dir();
    make(plan, &path, made)?;
    let directory = dir::open(&path).sys("open", path.display())?;
    let fd = directory.as_fd();
    if let Some(pid) = started.placeholder_below().filter(|_| plan.is_v2()) {
        // A cgroup that passes controllers on has no processes itself: that of the unit must not keep this one.
        dir::write(fd, dir::PROCESSES, &pid.to_string()).sys("write", path.join(dir::PROCESSES).display())?;
    }
    let (last, first): (Vec<_>, Vec<_>) = plan.writes.iter().cloned().partition(|write| write.file == LIMIT_OF_TASKS);
    set_up(plan, fd, &path, &first)?;
    for write in last {
        dir::write(fd, LIMIT_OF_TASKS, "max")
            .map_err(|errno| refused(&write, LIMIT_OF_TASKS, "max", (fd, &path), errno))?;
        later.push(Later { path: path.clone(), write });
    }
    if let Some(program) = &plan.device_program {
        // In the place of systemd's, which says the same, or nothing.
        devices::attach(fd, program, false).within(|| path.display().to_string())?;
    }
    door(plan, directory, path)
}

fn set_up(plan: &HierarchyPlan, fd: BorrowedFd<'_>, path: &Path, writes: &[CgroupWrite]) -> Result<()> {
    if plan.is_v2() {
        pass_controllers_on(plan, fd, path)?;
    } else if plan.key.split(',').any(|controller| controller == "cpuset") {
        inherit_cpuset(plan, fd, path)?;
    }
    write_all(fd, path, writes, None)
}

fn door(plan: &HierarchyPlan, directory: OwnedFd, path: PathBuf) -> Result<Door> {
    if let Some(uid) = plan.owner {
        delegate::to_user(directory.as_fd(), &path, uid)?;
    }
    let door = if plan.is_v2() {
        directory
    } else {
        // Thread-wise joining is what makes it fast; see `Membership::join_self`.
        dir::open_to_write(directory.as_fd(), "tasks").sys("open", path.join("tasks").display())?
    };
    Ok(Door { v2: plan.is_v2(), fd: door, path, optional: plan.optional })
}

/// Makes the directory, and its parents where there are none; tells whether it is new.
pub(super) fn make(plan: &HierarchyPlan, path: &Path, made: &mut Made) -> Result<bool> {
    let mut make_one = |path: &Path| match mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) => {
            made.0.push(path.to_owned());
            Ok(true)
        }
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    };
    let result = match make_one(path) {
        Err(Errno::NOENT) => {
            let mut parents: Vec<&Path> = plan.path.ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
            parents.reverse();
            parents
                .into_iter()
                .try_for_each(|parent| make_one(&plan.mountpoint.join(parent)).map(drop))
                .and_then(|()| make_one(path))
        }
        result => result,
    };
    result.sys("mkdir", path.display()).map_err(|error| match error.errno() {
        Some(Errno::AGAIN | Errno::NOSPC) => error.cause("an ancestor's limit on the number of cgroups is reached"),
        Some(Errno::ROFS) => error.cause("the cgroup file system is mounted read-only"),
        Some(Errno::ACCESS | Errno::PERM) => {
            error.cause("the cgroup above it was not delegated to this user").remedy(undelegated::REMEDY)
        }
        _ => error,
    })
}

/// Somebody else's processes would share the limits, be frozen and be killed with the container; in a frozen cgroup
/// the new process would stop for ever. A directory that is merely left over is taken.
fn refuse_if_used(fd: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let refuse = |why: String| {
        let error = Error::new(Kind::WrongState, format!("container's cgroup {why} ({})", path.display()));
        Err(error.remedy("end what runs there, or give another linux.cgroupsPath"))
    };
    let mut first = None;
    let note = |fd: BorrowedFd<'_>| {
        first = first.or(dir::processes(fd)?.first().copied());
        Ok(())
    };
    dir::walk(fd, note, |_, _| Ok(())).sys("read", path.display())?;
    if let Some(pid) = first {
        return refuse(format!("is not empty: process {pid} is in it"));
    }
    let frozen = super::freezer::is_frozen_at(fd).sys("read", path.display())?;
    if frozen { refuse("unexpectedly frozen".to_owned()) } else { Ok(()) }
}

/// Below a frozen cgroup the new process would stop at once, and the runtime wait for it.
fn refuse_if_stopped(plan: &HierarchyPlan, fd: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let stopped = match () {
        () if plan.is_v2() => dir::read(fd, "cgroup.events").map(|text| text.lines().any(|line| line == "frozen 1")),
        () if plan.key == "freezer" => dir::read(fd, "freezer.state").map(|text| text.trim_end() != "THAWED"),
        () => return Ok(()),
    };
    match stopped {
        Ok(true) => {
            let error = Error::new(Kind::WrongState, format!("a cgroup above {} is frozen", path.display()));
            Err(error.remedy("thaw it, or give another linux.cgroupsPath"))
        }
        // Kernels before Linux 5.2 have no freezer on v2.
        _ => Ok(()),
    }
}

/// v1's cpuset starts out empty, and so do directories that others have made on the way. What the config sets is not
/// inherited first, since that may clash with an exclusive sibling.
fn inherit_cpuset(plan: &HierarchyPlan, fd: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let parent = dir::open_below(fd, "..").sys("open", path.display())?;
    for file in CPUSET_FILES {
        let value = filled(parent.as_fd(), file).sys("read", path.with_file_name(file).display())?;
        if !plan.writes.iter().any(|write| write.file == file) {
            dir::write(fd, file, value.trim_end()).sys("write", path.join(file).display())?;
        }
    }
    Ok(())
}

/// The value of a directory's file, taken from the nearest ancestor that has one.
fn filled(directory: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    let value = dir::read(directory, file)?;
    if !value.trim_end().is_empty() {
        return Ok(value);
    }
    let parent = dir::open_below(directory, "..")?;
    let value = filled(parent.as_fd(), file)?;
    dir::write(directory, file, value.trim_end())?;
    Ok(value)
}

/// Writes what had to wait until the process that has held systemd's unit open is gone.
pub(super) fn write_later(later: &[Later]) -> Result<()> {
    for Later { path, write } in later {
        let directory = dir::open(path).sys("open", path.display())?;
        write_all(directory.as_fd(), path, std::slice::from_ref(write), None)?;
    }
    Ok(())
}
