//! From `linux.netDevices` to checked names.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::spec::NetDevice;

/// One byte less than IFNAMSIZ: the kernel's strings end at a NUL.
const LONGEST: usize = 15;

/// Where the kernel would put a number.
pub(super) const TEMPLATE: &str = "%d";

/// A device to be moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetDevicePlan {
    /// Its name in the runtime's network namespace.
    pub host: String,
    /// Its name in the container's; with `%d`, the first free number is put in there.
    pub container: String,
}

/// Plans the moves; `own_network`: the container's network namespace is not the runtime's.
///
/// # Errors
/// Devices without a namespace to move them to, names that the kernel would refuse, one name for two devices.
pub fn plan(devices: &BTreeMap<String, NetDevice>, own_network: bool) -> Result<Vec<NetDevicePlan>> {
    if !devices.is_empty() && !own_network {
        return Err(Error::invalid(
            "linux.netDevices",
            "they cannot be moved without a network namespace of the container's",
        )
        .remedy("add {\"type\": \"network\"} to linux.namespaces"));
    }
    let mut plan: Vec<NetDevicePlan> = Vec::with_capacity(devices.len());
    for (host, device) in devices {
        let field = format!("linux.netDevices[\"{host}\"]");
        check(host, false).map_err(|why| Error::invalid(&field, why))?;
        let container = if device.name.is_empty() { host } else { &device.name };
        let refuse = |why: String| Error::invalid(format!("{field}.name"), why);
        check(container, true).map_err(refuse)?;
        if !container.contains(TEMPLATE) && plan.iter().any(|other| other.container == *container) {
            return Err(refuse(format!("\"{container}\" is the name of another device of the container's")));
        }
        plan.push(NetDevicePlan { host: host.clone(), container: container.clone() });
    }
    Ok(plan)
}

/// The kernel's own rules (`dev_valid_name`), and one `%d` at most where that is allowed.
fn check(name: &str, template: bool) -> Result<(), String> {
    let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace();
    let plain = if template { name.replacen(TEMPLATE, "", 1) } else { name.to_owned() };
    if name.is_empty()
        || name.len() > LONGEST
        || name == "."
        || name == ".."
        || plain.contains('%')
        || name.contains(bad)
    {
        return Err(format!(
            "\"{name}\" is no name for a network device: 1 to {LONGEST} bytes without /, :, % and blanks"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn planned(devices: Value, own_network: bool) -> Result<Vec<NetDevicePlan>> {
        plan(&serde_json::from_value(devices).expect("devices"), own_network)
    }

    #[test]
    fn a_device_keeps_its_name_or_gets_another() {
        let devices = json!({"eth0": {}, "eth1": {"name": "lan"}, "eth2": {"name": "x%d"}, "eth3": {"name": "x%d"}});
        let names: Vec<(String, String)> =
            planned(devices, true).expect("a plan").into_iter().map(|device| (device.host, device.container)).collect();
        let wanted = [("eth0", "eth0"), ("eth1", "lan"), ("eth2", "x%d"), ("eth3", "x%d")];
        assert_eq!(names, wanted.map(|(host, container)| (host.to_owned(), container.to_owned())));
        assert!(planned(json!({}), false).expect("nothing").is_empty());
    }

    #[test]
    fn what_cannot_be_moved_is_refused_by_field() {
        for (devices, own, text) in [
            (json!({"eth0": {}}), false, "linux.netDevices: they cannot be moved without a network namespace"),
            (json!({"a/b": {}}), true, "linux.netDevices[\"a/b\"]: \"a/b\" is no name"),
            (json!({"eth%d": {}}), true, "linux.netDevices[\"eth%d\"]: "),
            (json!({"e": {"name": "sixteen-bytes-xx"}}), true, "linux.netDevices[\"e\"].name: \"sixteen-bytes-xx\""),
            (json!({"e": {"name": "a%d%d"}}), true, "linux.netDevices[\"e\"].name: "),
            (json!({"e": {"name": "a%s"}}), true, "linux.netDevices[\"e\"].name: "),
            (json!({"e": {"name": ".."}}), true, "linux.netDevices[\"e\"].name: "),
            (json!({"a": {}, "b": {"name": "a"}}), true, "linux.netDevices[\"b\"].name: \"a\" is the name of another"),
        ] {
            let error = planned(devices, own).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
