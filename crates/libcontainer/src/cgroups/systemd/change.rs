//! What systemd is told when the limits of a living container change.

use serde::Serialize;

use crate::cgroups::devices::DeviceAccess;
use crate::dbus::Value;
use crate::error::Result;
use crate::host::{CgroupFacts, SystemdFacts};
use crate::spec::Resources;

use super::devices;
use super::properties::{INFINITY, Property, unit_properties};

/// New properties of a unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnitChange {
    /// To be set.
    pub set: Vec<Property>,
    /// What leads back.
    pub back: Vec<Property>,
}

/// Plans the change from the limits in force `before` to those `after`. Set is what is `given`, also if it is in force
/// already, since others may have changed it, and what else differs. `devices` says whether their rules change.
pub(in crate::cgroups) fn plan_change(
    (before, given, after): (&Resources, &Resources, &Resources),
    devices: bool,
    (cgroups, systemd): (&CgroupFacts, &SystemdFacts),
) -> Result<UnitChange> {
    let properties = |resources: &Resources| -> Result<Vec<Property>> {
        let mut list = unit_properties(resources, cgroups, systemd)?;
        if devices {
            let access = DeviceAccess::parse(&resources.devices)?;
            list.extend(devices::properties(&access, cgroups.is_unified(), systemd).0);
        }
        Ok(list)
    };
    let (old, new) = (properties(before)?, properties(after)?);
    let given = unit_properties(given, cgroups, systemd)?;
    let named = |list: &[Property], name: &str| list.iter().rev().find(|one| one.name == name).cloned();
    let mut set: Vec<Property> =
        new.iter().filter(|one| named(&given, &one.name).is_some() || !old.contains(one)).cloned().collect();
    set.extend(old.iter().filter(|one| named(&new, &one.name).is_none()).map(unset));
    let back = set.iter().map(|one| named(&old, &one.name).unwrap_or_else(|| unset(one))).collect();
    Ok(UnitChange { set, back })
}

/// The property as if it had never been set (systemd.resource-control(5)).
fn unset(property: &Property) -> Property {
    let value = match (&*property.name, &property.value) {
        ("MemoryMin" | "MemoryLow", _) => Value::Uint64(0),
        ("AllowedCPUs" | "AllowedMemoryNodes", _) => Value::bytes(&[]),
        (_, Value::Uint64(_)) => Value::Uint64(INFINITY),
        (_, other) => other.clone(),
    };
    Property::new(property.name.clone(), value)
}
