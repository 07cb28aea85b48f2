//! The unit of a container, and its cgroups, decided without a system call.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::cgroups::devices::DeviceAccess;
use crate::cgroups::plan::Place;
use crate::cgroups::{CgroupPlan, division, plan};
use crate::dbus::{ManagerKind, Value};
use crate::error::{Error, Phase, Result};
use crate::host::{CgroupFacts, SystemdFacts};
use crate::spec::{Linux, Resources};

use super::name::Name;
use super::properties::{round_quota, unit_properties};
use super::{Property, Unit, annotations, devices, unified};

/// The transient unit to start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnitPlan {
    /// Its name and manager.
    #[serde(flatten)]
    pub unit: Unit,
    /// Its properties in the order in which systemd is to take them, but for the process that it starts with.
    pub properties: Vec<Property>,
    /// What systemd cannot be told, for the log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Plans the unit and the cgroups of container `id` for the systemd driver.
///
/// # Errors
/// As [`plan()`](crate::cgroups::plan()), and for what systemd cannot do.
pub fn plan_unit(
    linux: &Linux,
    annotations: &BTreeMap<String, String>,
    id: &str,
    cgroups: &CgroupFacts,
    systemd: &SystemdFacts,
) -> Result<CgroupPlan> {
    plan_both(linux, annotations, id, cgroups, systemd).map_err(|error| error.during(Phase::Plan))
}

fn plan_both(
    linux: &Linux,
    annotations: &BTreeMap<String, String>,
    id: &str,
    cgroups: &CgroupFacts,
    systemd: &SystemdFacts,
) -> Result<CgroupPlan> {
    let v2 = cgroups.is_unified();
    if systemd.manager == ManagerKind::User && !v2 {
        let error = Error::unsupported("a user's systemd manager has no control over cgroup v1");
        return Err(error.remedy("use cgroup v2, run it as root, or leave out --systemd-cgroup"));
    }
    let name = Name::of(&linux.cgroups_path, id, systemd.manager)?;
    let mut resources = linux.resources.clone().unwrap_or_default();
    resources.cpu.iter_mut().for_each(round_quota);
    let (subgroup, warning) = plan_subgroup(annotations, &name, v2)?;
    let place = Place::below_root(systemd.control_group.join(&name.path).join(&subgroup));
    let mut hierarchies = plan::hierarchies(&place, &resources, cgroups)?;
    // Where systemd sees which processes are left: without them there it would end the unit.
    let mut watched = hierarchies.iter_mut().filter(|one| one.is_v2() || one.key == plan::SYSTEMD).peekable();
    if watched.peek().is_none() {
        let error = Error::unsupported("the hierarchy in which systemd keeps track of processes is not mounted");
        return Err(error.remedy("leave out --systemd-cgroup, and give linux.cgroupsPath as a path"));
    }
    watched.for_each(|one| one.optional = false);
    let mut unit = plan_properties(name, id, annotations, &resources, (cgroups, systemd))?;
    unit.unit.subgroup = subgroup;
    unit.warnings.extend(warning);
    Ok(CgroupPlan { hierarchies, unit: Some(unit), delegated: None })
}

/// The sub-cgroup of the unit's that the container is to have, and a warning if it cannot.
fn plan_subgroup(annotations: &BTreeMap<String, String>, name: &Name, v2: bool) -> Result<(PathBuf, Option<String>)> {
    let path = division::subgroup(annotations)?;
    let field = || format!("annotations[\"{}\"]", division::SUBGROUP);
    match path.as_os_str().is_empty() {
        false if !name.is_scope() => {
            let why = format!("the sub-cgroups of {} are systemd's to make", name.unit);
            Err(Error::invalid(field(), why).remedy("leave it out, or have linux.cgroupsPath name a scope"))
        }
        false if !v2 => {
            let why = "on cgroup v1 the unit's cgroup is the container's, and it has no effect";
            Ok((PathBuf::new(), Some(format!("{}: {why}", field()))))
        }
        _ => Ok((path, None)),
    }
}

fn plan_properties(
    name: Name,
    id: &str,
    annotations: &BTreeMap<String, String>,
    resources: &Resources,
    (cgroups, systemd): (&CgroupFacts, &SystemdFacts),
) -> Result<UnitPlan> {
    let v2 = cgroups.is_unified();
    let mut properties = vec![Property::new("Description", format!("creel container {id}"))];
    if name.is_scope() {
        properties.push(Property::new("Slice", name.slice.as_str()));
        properties.push(Property::new("Delegate", true));
    } else {
        properties.push(Property::new("Wants", Value::array("s", [name.slice.as_str()])));
    }
    let io = if v2 { "IOAccounting" } else { "BlockIOAccounting" };
    for accounting in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        properties.push(Property::new(accounting, true));
    }
    properties.push(Property::new("DefaultDependencies", false));
    properties.append(&mut annotations::properties(annotations)?);
    // Of a property that is given twice the last one counts: limits are not overwritten by annotations, as in runc.
    properties.extend(unified::oom_policy(&resources.unified, systemd).filter(|_| v2));
    let (mut devices, warning) = devices::properties(&DeviceAccess::parse(&resources.devices)?, v2, systemd);
    properties.append(&mut devices);
    properties.append(&mut unit_properties(resources, cgroups, systemd)?);
    let unit = Unit { name: name.unit, slice: name.slice, manager: systemd.manager, subgroup: PathBuf::new() };
    Ok(UnitPlan { unit, properties, warnings: warning.into_iter().collect() })
}
