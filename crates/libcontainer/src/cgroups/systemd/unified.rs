//! `linux.resources.unified`: those of v2's files that systemd writes as well have a property; systemd leaves the others
//! alone.

use std::collections::BTreeMap;

use crate::dbus::Value;
use crate::error::{Error, Result};
use crate::host::SystemdFacts;

use super::Property;
use super::properties::{ALLOWED_CPUS, CPU_IDLE, INFINITY, OOM_POLICY, ZSWAP_MAX, bits, cpu_quota};

/// The kernel's default period, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// Adds the properties of those files. Writing the files themselves is what checks their names.
pub(super) fn properties(
    files: &BTreeMap<String, String>,
    systemd: &SystemdFacts,
    list: &mut Vec<Property>,
) -> Result<()> {
    let idle = files.get("cpu.idle").is_some_and(|value| value.trim() == "1") && systemd.version >= CPU_IDLE;
    for (file, value) in files {
        // The kernel ignores blanks around a value too.
        let value = value.trim();
        let added = match file.as_str() {
            "cpu.idle" if idle => Ok(Some(Property::new("CPUWeight", 0u64))),
            "cpu.weight" if !idle => number(value).map(|weight| Some(Property::new("CPUWeight", weight))),
            "cpu.max" => cpu_max(value, systemd, list).map(|()| None),
            "cpuset.cpus" => cpuset("AllowedCPUs", value, systemd),
            "cpuset.mems" => cpuset("AllowedMemoryNodes", value, systemd),
            "io.weight" => io_weight(value),
            "memory.min" => limit("MemoryMin", value),
            "memory.low" => limit("MemoryLow", value),
            "memory.high" => limit("MemoryHigh", value),
            "memory.max" => limit("MemoryMax", value),
            "memory.swap.max" => limit("MemorySwapMax", value),
            "memory.zswap.max" if systemd.version >= ZSWAP_MAX => limit("MemoryZSwapMax", value),
            "pids.max" => number_or_max(value).map(|limit| Some(Property::new("TasksMax", limit.max(1)))),
            _ => Ok(None),
        };
        list.extend(added.map_err(|why| Error::invalid(format!("linux.resources.unified[\"{file}\"]"), why))?);
    }
    Ok(())
}

/// What a unit does when the kernel kills one of its processes for want of memory; systemd takes it for new units only.
pub(super) fn oom_policy(files: &BTreeMap<String, String>, systemd: &SystemdFacts) -> Option<Property> {
    let value = files.get("memory.oom.group").filter(|_| systemd.version >= OOM_POLICY)?;
    match value.trim() {
        "0" => Some(Property::new("OOMPolicy", "continue")),
        "1" => Some(Property::new("OOMPolicy", "kill")),
        _ => None,
    }
}

type Added = Result<Option<Property>, String>;

fn limit(name: &'static str, value: &str) -> Added {
    number_or_max(value).map(|limit| Some(Property::new(name, limit)))
}

fn number(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("\"{value}\" is not a number"))
}

fn number_or_max(value: &str) -> Result<u64, String> {
    if value == "max" { Ok(INFINITY) } else { number(value).map_err(|why| format!("{why}, nor \"max\"")) }
}

fn cpuset(name: &'static str, value: &str, systemd: &SystemdFacts) -> Added {
    if systemd.version < ALLOWED_CPUS || value.is_empty() {
        return Ok(None);
    }
    bits(value).map(|bits: Value| Some(Property::new(name, bits)))
}

/// `QUOTA [PERIOD]`, in microseconds.
fn cpu_max(value: &str, systemd: &SystemdFacts, list: &mut Vec<Property>) -> Result<(), String> {
    let mut words = value.split_ascii_whitespace();
    let (Some(quota), period, None) = (words.next(), words.next(), words.next()) else {
        return Err(format!("\"{value}\" is not QUOTA or QUOTA PERIOD"));
    };
    let quota = if quota == "max" { 0 } else { number(quota)?.try_into().unwrap_or(i64::MAX) };
    cpu_quota(quota, period.map_or(Ok(DEFAULT_PERIOD), number)?, systemd, list);
    Ok(())
}

/// The default only: weights of single devices are for the file.
fn io_weight(value: &str) -> Added {
    let default = value.lines().find_map(|line| match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
        ["default", weight] => Some(number(weight)),
        [weight] => Some(number(weight)),
        _ => None,
    });
    default.map(|weight| weight.map(|weight| Property::new("IOWeight", weight))).transpose()
}
