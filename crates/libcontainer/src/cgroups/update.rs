//! Limits that change while the container lives: [`plan_update`] decides, [`Cgroup::update`] carries it out.
//!
//! Only what is given is written, with what depends on it: others may have changed the rest. If a write fails, those
//! before it are taken back.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::host::{CgroupFacts, Hierarchy, SystemdFacts};
use crate::spec::Resources;

use super::controllers::pass_controllers_on;
use super::devices::DeviceAccess;
use super::plan::{check_available, house, house_beside, not_mounted};
use super::writer::{Before, take_back, write_all};
use super::{Cgroup, CgroupWrite, HierarchyPlan, Instruction, UnitChange, devices_v2, dir, merge, systemd, v1, v2};

/// All that is to be done for an update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpdatePlan {
    /// What is in force afterwards: what was, and what is given.
    pub resources: Resources,
    /// What systemd is told first, if its driver made the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitChange>,
    /// One for each hierarchy in which something is to be written.
    pub hierarchies: Vec<HierarchyPlan>,
    /// v2: what the memory in use is compared with before anything is written.
    pub memory_check: Option<MemoryCheck>,
    /// v1: the lines that change the device rules.
    pub device_lines: Option<DeviceLines>,
    /// v2: the program that decided on device access before, if it is replaced.
    pub former_program: Option<Vec<Instruction>>,
}

/// `memory.checkBeforeUpdate`: an update that would make the kernel kill processes at once is refused. In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryCheck {
    /// The limit, if there is to be one.
    pub limit: Option<u64>,
    /// That of memory and swap together.
    pub swap: Option<u64>,
}

/// A change of v1's device rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceLines {
    dir: PathBuf,
    writes: Vec<CgroupWrite>,
    /// What leads back.
    back: Vec<CgroupWrite>,
    /// Whether the list is cleared first, so that for a moment too much or too little would be allowed.
    clears: bool,
}

/// Plans the change of the limits of the container whose cgroups are `cgroup`, from `in_force` by what is `given`.
///
/// Values that are not given, and zeros where runc takes them so, leave what is in force. Device rules are only touched
/// if the given ones mean something else than those in force: engines send the container's own along with every update,
/// and what others have allowed it since (a GPU) has to stay.
///
/// # Errors
/// [`Kind::Invalid`] for a value that makes no sense, also beside what is in force; [`Kind::Unsupported`] for a limit
/// whose controller this host does not have.
pub fn plan_update(
    cgroup: &Cgroup,
    in_force: &Resources,
    given: &Resources,
    facts: &CgroupFacts,
    systemd: Option<&SystemdFacts>,
) -> Result<UpdatePlan> {
    let merge::Merged { resources, mut changes } = merge::merge(in_force, given)?;
    if systemd.is_some() {
        changes.cpu.iter_mut().for_each(systemd::round_quota);
    }
    let mut plan = UpdatePlan {
        resources,
        unit: None,
        hierarchies: cgroup.dirs().iter().map(|(key, dir)| place(key, dir, facts)).collect(),
        memory_check: None,
        device_lines: None,
        former_program: None,
    };
    let new_devices = DeviceAccess::parse(&given.devices)?;
    let devices = (!given.devices.is_empty()).then_some((DeviceAccess::parse(&in_force.devices)?, new_devices));
    match plan.hierarchies.as_mut_slice() {
        [only] if only.is_v2() => {
            unified(only, &changes, facts.v2.as_ref())?;
            plan.memory_check = check_of(&changes);
            if let Some((before, after)) = &devices {
                let (before, after) = (before.program(), after.program());
                if before != after {
                    only.device_program = Some(after);
                    plan.former_program = Some(before);
                }
            }
        }
        hierarchies => {
            legacy(hierarchies, &changes, in_force, facts.v2.as_ref())?;
            if let Some((before, after)) = &devices {
                plan.device_lines = lines(before, after, cgroup)?;
            }
        }
    }
    let new_devices = plan.device_lines.is_some() || plan.former_program.is_some();
    if new_devices {
        plan.resources.devices.clone_from(&given.devices);
    }
    if let Some(systemd) = systemd {
        let limits = (in_force, &changes, &plan.resources);
        plan.unit = Some(systemd::plan_change(limits, new_devices, (facts, systemd))?);
    }
    supersede(&mut plan, given);
    plan.hierarchies.retain(|hierarchy| !hierarchy.writes.is_empty() || hierarchy.device_program.is_some());
    Ok(plan)
}

/// A hierarchy in which the container has a directory.
fn place(key: &str, dir: &Path, facts: &CgroupFacts) -> HierarchyPlan {
    let joined = |hierarchy: &Hierarchy| hierarchy.controllers.join(",") == key;
    let hierarchy = if key.is_empty() { facts.v2.as_ref() } else { facts.v1.iter().find(|one| joined(one)) };
    let found = hierarchy.and_then(|hierarchy| Some((hierarchy, dir.strip_prefix(&hierarchy.mountpoint).ok()?)));
    match found {
        Some((hierarchy, below)) => HierarchyPlan::new(key.to_owned(), hierarchy, below.to_owned()),
        // Mounted elsewhere by now; the directory is where it was.
        None => {
            let here = Hierarchy { mountpoint: dir.to_owned(), ..Hierarchy::default() };
            HierarchyPlan::new(key.to_owned(), &here, PathBuf::new())
        }
    }
}

fn unified(plan: &mut HierarchyPlan, changes: &Resources, hierarchy: Option<&Hierarchy>) -> Result<()> {
    plan.writes = v2::writes(changes)?;
    if let Some(hierarchy) = hierarchy {
        check_available(&plan.writes, hierarchy)?;
        let needed = |one: &&String| plan.writes.iter().any(|write| write.controller() == one.as_str());
        plan.controllers = hierarchy.controllers.iter().filter(needed).cloned().collect();
    }
    Ok(())
}

fn legacy(
    plans: &mut [HierarchyPlan],
    changes: &Resources,
    in_force: &Resources,
    beside: Option<&Hierarchy>,
) -> Result<()> {
    let mut writes = v1::limits(changes)?;
    let oom_killer = |resources: &Resources| resources.memory.as_ref().and_then(|memory| memory.disable_oom_killer);
    if (oom_killer(in_force), oom_killer(changes)) == (Some(true), Some(false)) {
        writes.push(CgroupWrite::new("memory.oom_control", 0, "linux.resources.memory.disableOOMKiller"));
    }
    let mut homeless = house(writes, plans);
    if let (Some(hierarchy), Some(v2)) = (beside, plans.iter_mut().find(|plan| plan.is_v2())) {
        house_beside(v2, hierarchy, changes, &mut homeless)?;
    }
    homeless.first().map_or(Ok(()), |write| Err(not_mounted(write)))
}

fn check_of(changes: &Resources) -> Option<MemoryCheck> {
    let memory = changes.memory.as_ref().filter(|memory| memory.check_before_update == Some(true))?;
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
    Some(MemoryCheck { limit: positive(memory.limit), swap: positive(memory.swap) })
}

fn lines(before: &DeviceAccess, after: &DeviceAccess, cgroup: &Cgroup) -> Result<Option<DeviceLines>> {
    let writes = before.v1_changes(after)?;
    if writes.is_empty() {
        return Ok(None);
    }
    let dir = cgroup.dir_of("devices").map(Path::to_owned).unwrap_or_default();
    let clears = before.allowed_by_default != after.allowed_by_default;
    Ok(Some(DeviceLines { dir, writes, back: after.v1_changes(before)?, clears }))
}

/// A file of v2 that is written for a field is what the field says from now on, whatever `unified` said before.
fn supersede(plan: &mut UpdatePlan, given: &Resources) {
    for write in plan.hierarchies.iter().filter(|plan| plan.is_v2()).flat_map(|plan| &plan.writes) {
        if !given.unified.contains_key(&*write.file) {
            plan.resources.unified.remove(&*write.file);
        }
    }
}

/// A carried out [`UpdatePlan`], which can still be taken back.
#[derive(Debug)]
pub struct Updated<'a> {
    cgroup: &'a Cgroup,
    plan: &'a UpdatePlan,
    unit: bool,
    done: Vec<Done>,
    devices: Option<OwnedFd>,
}

/// One directory that was written to.
#[derive(Debug)]
struct Done {
    fd: OwnedFd,
    path: PathBuf,
    log: Vec<Before>,
    program: bool,
}

impl Cgroup {
    /// Writes the new limits. On failure, those in force before are put back.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the cgroup is gone; [`Kind::WrongState`] if more memory is in use than `checkBeforeUpdate`
    /// allows; otherwise the write that failed, with its field and value, and what could not be put back.
    pub fn update<'a>(&'a self, plan: &'a UpdatePlan) -> Result<Updated<'a>> {
        let done = Vec::with_capacity(plan.hierarchies.len());
        let mut updated = Updated { cgroup: self, plan, unit: false, done, devices: None };
        match updated.carry_out() {
            Ok(()) => Ok(updated),
            Err(error) => Err(updated.take_back(error.during(Phase::Update))),
        }
    }
}

impl Updated<'_> {
    fn carry_out(&mut self) -> Result<()> {
        if let Some((check, v2)) = self.plan.memory_check.zip(self.cgroup.dirs().get("")) {
            check.against(&open(v2)?)?;
        }
        // It writes all that it knows anew, so it comes before what it does not know.
        if let Some(unit) = &self.plan.unit {
            self.unit = true;
            self.cgroup.set_unit_properties(&unit.set)?;
        }
        for hierarchy in &self.plan.hierarchies {
            let path = hierarchy.dir();
            let fd = open(&path)?;
            if hierarchy.is_v2() {
                pass_controllers_on(hierarchy, fd.as_fd(), &path)?;
            }
            let mut done = Done { fd, path, log: Vec::with_capacity(hierarchy.writes.len()), program: false };
            let written = write_all(done.fd.as_fd(), &done.path, &hierarchy.writes, Some(&mut done.log));
            self.done.push(done);
            written?;
        }
        // Last, since it cannot be refused for its value.
        for (hierarchy, done) in self.plan.hierarchies.iter().zip(&mut self.done) {
            if let Some(program) = &hierarchy.device_program {
                devices_v2::put(done.fd.as_fd(), program, false).within(|| done.path.display().to_string())?;
                done.program = true;
            }
        }
        self.plan.device_lines.as_ref().map_or(Ok(()), |lines| self.write_lines(lines))
    }

    /// The processes stand still while the list is not whole, unless there is no freezer.
    fn write_lines(&mut self, lines: &DeviceLines) -> Result<()> {
        let fd = open(&lines.dir)?;
        let stopped = lines.clears && !self.cgroup.is_frozen()? && self.cgroup.freeze().is_ok();
        let written = write_all(fd.as_fd(), &lines.dir, &lines.writes, None);
        if written.is_err() {
            let _ = write_all(fd.as_fd(), &lines.dir, &lines.back, None);
        } else {
            self.devices = Some(fd);
        }
        if stopped { written.and(self.cgroup.thaw()) } else { written }
    }

    /// Puts back what was in force before, because of `error`; gives it with what could not be put back.
    pub fn take_back(self, error: Error) -> Error {
        let mut left = Vec::new();
        if let (Some(fd), Some(lines)) = (&self.devices, &self.plan.device_lines) {
            let back = write_all(fd.as_fd(), &lines.dir, &lines.back, None);
            left.extend(back.err().map(|error| error.to_string()));
        }
        for done in self.done.iter().rev() {
            if let Some(program) = self.plan.former_program.as_ref().filter(|_| done.program) {
                let back = devices_v2::put(done.fd.as_fd(), program, false);
                left.extend(back.err().map(|error| error.to_string()));
            }
            left.extend(take_back(done.fd.as_fd(), &done.path, &done.log).err());
        }
        // Last, since systemd had written to some of the files before they were read.
        if let Some(unit) = self.plan.unit.as_ref().filter(|_| self.unit) {
            left.extend(self.cgroup.set_unit_properties(&unit.back).err().map(|error| error.to_string()));
        }
        if left.is_empty() { error } else { error.remedy(format!("besides, {}", left.join("; "))) }
    }
}

impl MemoryCheck {
    /// Without a number there is nothing to compare with, and the kernel decides.
    fn against(self, directory: &OwnedFd) -> Result<()> {
        let text = dir::read(directory.as_fd(), "memory.current").unwrap_or_default();
        let Ok(usage) = text.trim_end().parse::<u64>() else { return Ok(()) };
        for (limit, what, field) in [(self.swap, "memory+swap", "swap"), (self.limit, "memory", "limit")] {
            if let Some(limit) = limit.filter(|limit| *limit <= usage) {
                let what = format!("linux.resources.memory.{field}: rejecting {what} limit {limit} <= usage {usage}");
                return Err(Error::new(Kind::WrongState, what).cause("memory.checkBeforeUpdate is set"));
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    dir::open(path).sys("open", path.display()).map_err(|error| match error.errno() {
        Some(errno) if dir::is_gone(errno) => error.of_kind(Kind::NotFound).cause("the cgroup is gone"),
        _ => error,
    })
}
