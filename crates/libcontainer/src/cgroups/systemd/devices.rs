//! Device rules as systemd has them: a list of what is allowed.

use crate::cgroups::devices::{DeviceAccess, DeviceKind, Devices, letters};
use crate::dbus::Value;
use crate::host::SystemdFacts;

use super::Property;

const ENTRY: &str = "(ss)";

/// Which devices the unit's processes may use, and what systemd cannot be told of it.
///
/// On v2 creel's own program decides as well, and stays when systemd attaches its one anew: so rules that systemd cannot
/// express are left to it. On v1 systemd writes its rules over creel's whenever it writes them anew, so it is told less
/// than is allowed, rather than more.
pub(super) fn properties(access: &DeviceAccess, v2: bool, systemd: &SystemdFacts) -> (Vec<Property>, Option<String>) {
    let list = |policy: &str, entries: Vec<Value>| {
        vec![
            Property::new("DevicePolicy", policy),
            Property::new("DeviceAllow", Value::Array(ENTRY.to_owned(), entries)),
        ]
    };
    let everything = access.allowed_by_default && access.rules.iter().all(|rule| rule.allow);
    if everything {
        return (list("auto", Vec::new()), None);
    }
    let exceptions = if access.allowed_by_default { None } else { access.exceptions().ok() };
    let mut missing = exceptions.is_none();
    let mut entries = Vec::new();
    for (devices, bits) in exceptions.unwrap_or_default() {
        match path(&devices, systemd) {
            Some(path) => entries.push(Value::Struct(vec![path.into(), letters(bits).into()])),
            None => missing = true,
        }
    }
    match (missing, v2) {
        (false, _) => (list("strict", entries), None),
        (true, true) => (list("auto", Vec::new()), None),
        (true, false) => {
            let warning = "linux.resources.devices: systemd cannot express these rules on cgroup v1, and will deny more \
                           after a daemon-reload";
            (list("strict", entries), Some(warning.to_owned()))
        }
    }
}

/// systemd.resource-control(5), `DeviceAllow=`.
fn path(devices: &Devices, systemd: &SystemdFacts) -> Option<String> {
    let kind = match devices.kind {
        DeviceKind::Block => "block",
        DeviceKind::Char => "char",
    };
    match (devices.major, devices.minor) {
        (None, None) => Some(format!("{kind}-*")),
        (None, Some(_)) => None,
        (Some(major), None) => {
            let group = format!("{kind}-{major}");
            if systemd.device_groups.is_empty() { Some(group) } else { systemd.device_groups.get(&group).cloned() }
        }
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
    }
}
