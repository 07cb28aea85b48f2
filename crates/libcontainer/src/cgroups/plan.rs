//! Where the container's cgroups are to be and what is to be written to them, decided without a system call.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Phase, Result};
use crate::host::{CgroupFacts, Hierarchy};
use crate::spec::{Linux, Resources};

use super::devices::DeviceAccess;
use super::systemd::UnitPlan;
use super::{Cgroup, CgroupWrite, Instruction, undelegated, v1, v2};

/// The v1 controllers that a container gets a directory of its own for; those that runc knows.
const V1_CONTROLLERS: [&str; 14] = [
    "cpuset",
    "devices",
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "freezer",
    "rdma",
    "misc",
];

/// The named v1 hierarchy in which systemd keeps track of processes; engines look for containers there.
pub(super) const SYSTEMD: &str = "name=systemd";

/// Where systemd and the like mount all hierarchies.
const CUSTOMARY: &str = "/sys/fs/cgroup";

/// All that is to be done for a container's cgroups.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CgroupPlan {
    /// One for each hierarchy that the container gets a directory in.
    pub hierarchies: Vec<HierarchyPlan>,
    /// The systemd unit that is started first, if its driver is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitPlan>,
    /// v2: the sub-cgroup that is the container's to divide, and that its first process is moved to when it has its
    /// namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegated: Option<HierarchyPlan>,
}

/// What is to be done in one hierarchy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HierarchyPlan {
    /// v1: the controllers joined by commas, or `name=systemd`; v2: empty.
    pub key: String,
    /// Where the hierarchy is mounted.
    pub mountpoint: PathBuf,
    /// The container's directory, relative to the mount point.
    pub path: PathBuf,
    /// Whether the container can do without: runc ignores failures in hierarchies that only keep track of processes.
    pub optional: bool,
    /// v2: the controllers that are needed in the directory, so that its ancestors have to pass them on.
    pub controllers: Vec<String>,
    /// What to write, in order.
    pub writes: Vec<CgroupWrite>,
    /// v2: the program that decides on device access.
    pub device_program: Option<Vec<Instruction>>,
    /// v2: the user of the host who may divide it further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
}

impl HierarchyPlan {
    pub(super) fn new(key: String, hierarchy: &Hierarchy, path: PathBuf) -> HierarchyPlan {
        HierarchyPlan {
            key,
            mountpoint: hierarchy.mountpoint.clone(),
            path,
            optional: false,
            controllers: Vec::new(),
            writes: Vec::new(),
            device_program: None,
            owner: None,
        }
    }

    /// The container's directory.
    pub fn dir(&self) -> PathBuf {
        self.mountpoint.join(&self.path)
    }

    /// Whether this is the v2 hierarchy.
    pub fn is_v2(&self) -> bool {
        self.key.is_empty()
    }
}

impl CgroupPlan {
    /// The directories, as they will be stored and found again.
    pub fn location(&self) -> Cgroup {
        let dirs = self.hierarchies.iter().map(|hierarchy| (hierarchy.key.clone(), hierarchy.dir())).collect();
        Cgroup { dirs, unit: self.unit.as_ref().map(|plan| plan.unit.clone()), killed_before: 0 }
    }

    /// Delegates the cgroup, or the sub-cgroup that is for that, to a user of the host; only v2's alone, since delegation
    /// is not safe on v1 (config-linux.md "Cgroup ownership"). What is made belongs to root as it is.
    pub fn delegated_to(mut self, uid: Option<u32>) -> CgroupPlan {
        let uid = uid.filter(|uid| *uid != 0);
        match (&mut self.delegated, self.hierarchies.as_mut_slice()) {
            (Some(delegated), _) => delegated.owner = uid,
            (None, [only]) if only.is_v2() => only.owner = uid,
            _ => {}
        }
        self
    }
}

/// Plans the cgroups of container `id` for the file-system driver.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid) for a field that makes no sense,
/// [`Kind::Unsupported`](crate::error::Kind::Unsupported) for a limit whose controller this host does not have, and for a
/// host without cgroups.
pub fn plan(linux: &Linux, id: &str, facts: &CgroupFacts) -> Result<CgroupPlan> {
    let none = Resources::default();
    let resources = linux.resources.as_ref().unwrap_or(&none);
    let place = Place::of(&linux.cgroups_path, id).map_err(|error| error.during(Phase::Plan))?;
    let mut hierarchies = hierarchies(&place, resources, facts).map_err(|error| error.during(Phase::Plan))?;
    if linux.cgroups_path.is_empty() {
        hierarchies = undelegated::leave_out(hierarchies, facts).map_err(|error| error.during(Phase::Plan))?;
    }
    Ok(CgroupPlan { hierarchies, unit: None, delegated: None })
}

/// What is to be done in every hierarchy of the host.
pub(super) fn hierarchies(place: &Place, resources: &Resources, facts: &CgroupFacts) -> Result<Vec<HierarchyPlan>> {
    match &facts.v2 {
        Some(hierarchy) if facts.is_unified() => unified(facts, hierarchy, place, resources).map(|plan| vec![plan]),
        _ => legacy(facts, place, resources),
    }
}

/// `linux.cgroupsPath`, or the id in its place, made harmless.
pub(super) struct Place {
    absolute: bool,
    below: PathBuf,
}

impl Place {
    fn of(cgroups_path: &str, id: &str) -> Result<Place> {
        let path = if cgroups_path.is_empty() { id } else { cgroups_path };
        // As if the root were the highest directory, so that no `..` leads out of it.
        let mut below: Vec<&str> = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(below.pop()),
                name => below.push(name),
            }
        }
        if below.is_empty() {
            let why = format!("\"{path}\" is no cgroup of the container's own");
            return Err(Error::invalid("linux.cgroupsPath", why).remedy("name a cgroup below it"));
        }
        Ok(Place { absolute: !cgroups_path.is_empty() && path.starts_with('/'), below: below.iter().collect() })
    }

    /// A place that is known, relative to every hierarchy's root.
    pub(super) fn below_root(path: PathBuf) -> Place {
        Place { absolute: true, below: path.strip_prefix("/").map(Path::to_owned).unwrap_or(path) }
    }

    /// An absolute path is looked at from the hierarchy's root, a relative one from `start`.
    fn from(&self, start: &Path) -> PathBuf {
        if self.absolute { self.below.clone() } else { start.strip_prefix("/").unwrap_or(start).join(&self.below) }
    }
}

/// cgroup v2 alone.
fn unified(facts: &CgroupFacts, hierarchy: &Hierarchy, place: &Place, resources: &Resources) -> Result<HierarchyPlan> {
    let mut plan = HierarchyPlan::new(String::new(), hierarchy, place.from(hierarchy.place_for_siblings()));
    plan.controllers.clone_from(&hierarchy.controllers);
    plan.writes = v2::writes(resources)?;
    let program = DeviceAccess::parse(&resources.devices)?.program();
    plan.device_program = facts.decides_on_devices().then_some(program);
    check_available(&plan.writes, hierarchy)?;
    Ok(plan)
}

/// v2: a limit whose controller is not there would be lost.
pub(super) fn check_available(writes: &[CgroupWrite], hierarchy: &Hierarchy) -> Result<()> {
    let available = |write: &CgroupWrite| hierarchy.controllers.iter().any(|one| one == write.controller());
    match writes.iter().find(|write| write.must_succeed() && !write.is_verbatim() && !available(write)) {
        Some(write) => Err(unavailable(write, &hierarchy.mountpoint)),
        None => Ok(()),
    }
}

fn unavailable(write: &CgroupWrite, mountpoint: &Path) -> Error {
    let (field, controller) = (&write.field, write.controller());
    let what = format!("{field}: the {controller} controller is not available in the cgroup v2 hierarchy");
    Error::unsupported(format!("{what} at {}", mountpoint.display()))
        .remedy("take the limit out, or have the controller delegated to where the runtime runs")
}

/// cgroup v1, alone or beside v2 (hybrid).
fn legacy(facts: &CgroupFacts, place: &Place, resources: &Resources) -> Result<Vec<HierarchyPlan>> {
    let mut plans: Vec<HierarchyPlan> =
        facts.v1.iter().filter_map(|hierarchy| legacy_place(hierarchy, place)).collect();
    let mut writes = v1::writes(resources)?;
    writes.retain(|write| write.controller() != "devices" || facts.decides_on_devices());
    let mut homeless = house(writes, &mut plans);
    if let Some(v2) = &facts.v2
        && v2.mountpoint.starts_with(CUSTOMARY)
    {
        plans.push(beside(v2, place, resources, &mut homeless)?);
    }
    // Unless somebody else decides on devices, their rules are always among them: without them the container could reach
    // every one.
    let Some(write) = homeless.first() else { return Ok(plans) };
    if facts.v1.is_empty() {
        let error = Error::unsupported("no cgroup hierarchy is mounted");
        return Err(error.remedy(format!("mount -t cgroup2 cgroup2 {CUSTOMARY}")));
    }
    Err(not_mounted(write))
}

pub(super) fn not_mounted(write: &CgroupWrite) -> Error {
    let what = format!("{}: the cgroup v1 controller {} is not mounted", write.field, write.controller());
    Error::unsupported(what).remedy(format!("mount it in {CUSTOMARY}, or take the limit out"))
}

/// v1: gives each write to the hierarchy of its controller. What is left has none, and must not be lost.
pub(super) fn house(writes: Vec<CgroupWrite>, plans: &mut [HierarchyPlan]) -> Vec<CgroupWrite> {
    let mut homeless = Vec::new();
    for write in writes {
        let controller = write.controller();
        match plans.iter_mut().find(|plan| plan.key.split(',').any(|one| one == controller)) {
            Some(plan) => plan.writes.push(write),
            None if write.must_succeed() => homeless.push(write),
            None => {}
        }
    }
    homeless
}

/// As with runc, a relative path starts at the caller's own cgroup, whichever that is in each hierarchy.
fn legacy_place(hierarchy: &Hierarchy, place: &Place) -> Option<HierarchyPlan> {
    let named = hierarchy.controllers.iter().any(|one| one == SYSTEMD);
    let known = hierarchy.controllers.iter().any(|one| V1_CONTROLLERS.contains(&one.as_str()));
    let mut plan = HierarchyPlan::new(hierarchy.controllers.join(","), hierarchy, place.from(&hierarchy.own));
    plan.optional = named || plan.key == "misc";
    (named || known).then_some(plan)
}

/// The v2 hierarchy of a hybrid host. runc puts containers there too, for the sake of what finds them by their v2
/// cgroup (eBPF network policies, systemd), and does without if it cannot be done; a relative path starts at its root.
/// Limits whose controller has been given to v2 are set here, which runc cannot.
fn beside(
    hierarchy: &Hierarchy,
    place: &Place,
    resources: &Resources,
    homeless: &mut Vec<CgroupWrite>,
) -> Result<HierarchyPlan> {
    let mut plan = HierarchyPlan::new(String::new(), hierarchy, place.from(Path::new("")));
    house_beside(&mut plan, hierarchy, resources, homeless)?;
    plan.optional = plan.controllers.is_empty();
    Ok(plan)
}

/// Takes the limits that v1 has no place for and v2 has.
pub(super) fn house_beside(
    plan: &mut HierarchyPlan,
    hierarchy: &Hierarchy,
    resources: &Resources,
    homeless: &mut Vec<CgroupWrite>,
) -> Result<()> {
    let counterpart = |write: &CgroupWrite| match write.controller() {
        "blkio" => "io".to_owned(),
        same => same.to_owned(),
    };
    let here = |controller: &String| hierarchy.controllers.contains(controller);
    plan.controllers = homeless.iter().map(counterpart).filter(here).collect();
    plan.controllers.dedup();
    if !plan.controllers.is_empty() {
        let mine = |write: &CgroupWrite| plan.controllers.iter().any(|one| one == write.controller());
        plan.writes = v2::writes(resources)?.into_iter().filter(mine).collect();
        homeless.retain(|write| !plan.controllers.contains(&counterpart(write)));
    }
    Ok(())
}
