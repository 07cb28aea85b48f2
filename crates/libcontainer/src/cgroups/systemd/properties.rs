//! `linux.resources` as properties of a unit (systemd.resource-control(5), org.freedesktop.systemd1(5)), the same ones as
//! runc's. What systemd has no property for is left to the file-system driver, which writes everything afterwards.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::cgroups::v2;
use crate::dbus::Value;
use crate::error::{Error, Result};
use crate::host::{CgroupFacts, SystemdFacts};
use crate::spec::{Cpu, Memory, Resources, list_to_bits};

use super::unified;

/// The versions of systemd that brought a property, or a value of it.
pub(super) const CPU_QUOTA_PERIOD: u32 = 242;
pub(super) const ALLOWED_CPUS: u32 = 244;
pub(super) const CPU_IDLE: u32 = 252;
pub(super) const OOM_POLICY: u32 = 253;
pub(super) const ZSWAP_MAX: u32 = 253;

/// The kernel's default period, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
const SECOND: u64 = 1_000_000;
/// systemd keeps a quota in whole percents of a processor: 10 ms a second.
const PERCENT: u64 = SECOND / 100;
/// systemd's word for no limit.
pub(super) const INFINITY: u64 = u64::MAX;

/// A property of a unit, shown and serialised as `Name=value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name on D-Bus.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

impl Property {
    /// A property.
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Property {
        Property { name: name.into(), value: value.into() }
    }

    /// As systemd's methods take it.
    pub(super) fn to_value(&self) -> Value {
        Value::Struct(vec![Value::from(&*self.name), Value::Variant(Box::new(self.value.clone()))])
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Serialize for Property {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The properties for the limits in `resources`, devices excepted: for a new unit, or for one whose limits change. Fields
/// that are not asked for have none.
///
/// # Errors
/// For a value that systemd cannot express; the error names the field.
pub fn unit_properties(resources: &Resources, cgroups: &CgroupFacts, systemd: &SystemdFacts) -> Result<Vec<Property>> {
    let mut list = Vec::new();
    let v2 = cgroups.is_unified();
    if let Some(memory) = &resources.memory {
        if v2 { self::memory(memory, &mut list)? } else { memory_v1(memory, &mut list) }
    }
    if let Some(cpu) = &resources.cpu {
        self::cpu(cpu, v2, systemd, &mut list)?;
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|block_io| block_io.weight).filter(|weight| *weight != 0)
    {
        list.push(match v2 {
            // runc has none here, so that systemd writes its default over the limit at every daemon-reload.
            true => Property::new("IOWeight", v2::io_weight(weight)),
            false => Property::new("BlockIOWeight", u64::from(weight)),
        });
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        list.push(Property::new("TasksMax", tasks(limit)));
    }
    if v2 {
        unified::properties(&resources.unified, systemd, &mut list)?;
    }
    Ok(list)
}

/// systemd cannot say 0.
fn tasks(limit: i64) -> u64 {
    u64::try_from(limit).map_or(INFINITY, |limit| limit.max(1))
}

/// -1 is unlimited, and any other negative value too, as in runc.
fn bytes(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(INFINITY)
}

fn memory(memory: &Memory, list: &mut Vec<Property>) -> Result<()> {
    let asked = |value: Option<i64>| value.filter(|value| *value != 0);
    let limit = asked(memory.limit);
    list.extend(limit.map(|limit| Property::new("MemoryMax", bytes(limit))));
    list.extend(asked(memory.reservation).map(|reservation| Property::new("MemoryLow", bytes(reservation))));
    let swap = v2::swap_alone(limit, asked(memory.swap))?;
    list.extend(swap.map(|swap| Property::new("MemorySwapMax", bytes(swap))));
    Ok(())
}

fn memory_v1(memory: &Memory, list: &mut Vec<Property>) {
    let limit = memory.limit.filter(|limit| *limit != 0);
    list.extend(limit.map(|limit| Property::new("MemoryLimit", bytes(limit))));
}

fn cpu(cpu: &Cpu, v2: bool, systemd: &SystemdFacts, list: &mut Vec<Property>) -> Result<()> {
    let shares = cpu.shares.filter(|shares| *shares != 0);
    match shares {
        _ if v2 && cpu.idle == Some(1) && systemd.version >= CPU_IDLE => list.push(Property::new("CPUWeight", 0u64)),
        Some(shares) if v2 => list.push(Property::new("CPUWeight", v2::cpu_weight(shares))),
        Some(shares) => list.push(Property::new("CPUShares", shares)),
        None => {}
    }
    let (quota, period) = (cpu.quota.unwrap_or_default(), cpu.period.unwrap_or_default());
    cpu_quota(quota, period, systemd, list);
    for (name, value, field) in [
        ("AllowedCPUs", &cpu.cpus, "linux.resources.cpu.cpus"),
        ("AllowedMemoryNodes", &cpu.mems, "linux.resources.cpu.mems"),
    ] {
        if !value.is_empty() && systemd.version >= ALLOWED_CPUS {
            list.push(Property::new(name, bits(value).map_err(|why| Error::invalid(field, why))?));
        }
    }
    Ok(())
}

/// How much time in a period, both in microseconds and 0 if not asked for.
pub(super) fn cpu_quota(quota: i64, period: u64, systemd: &SystemdFacts, list: &mut Vec<Property>) {
    if period != 0 && systemd.version >= CPU_QUOTA_PERIOD {
        list.push(Property::new("CPUQuotaPeriodUSec", period));
    }
    if quota != 0 || period != 0 {
        let per_second = u64::try_from(quota).ok().filter(|quota| *quota != 0);
        list.push(Property::new(
            "CPUQuotaPerSecUSec",
            per_second.map_or(INFINITY, |quota| per_second_of(quota, period)),
        ));
    }
}

fn per_second_of(quota: u64, period: u64) -> u64 {
    let period = if period == 0 { DEFAULT_PERIOD } else { period };
    let exact = u128::from(quota) * u128::from(SECOND) / u128::from(period);
    u64::try_from(exact).unwrap_or(INFINITY - PERCENT).next_multiple_of(PERCENT)
}

/// The quota that systemd will write: rounded up to its percents. The file gets the same, so that it does not change
/// whenever systemd writes it.
pub(in crate::cgroups) fn round_quota(cpu: &mut Cpu) {
    let period = cpu.period.filter(|period| *period != 0).unwrap_or(DEFAULT_PERIOD);
    if let Some(quota) = cpu.quota.and_then(|quota| u64::try_from(quota).ok()).filter(|quota| *quota != 0) {
        let exact = u128::from(quota) * u128::from(SECOND) / u128::from(period);
        let rounded = per_second_of(quota, period);
        if exact != u128::from(rounded) {
            let quota = u128::from(rounded) * u128::from(period) / u128::from(SECOND);
            cpu.quota = i64::try_from(quota).ok();
        }
    }
}

/// A list such as `0-2,4` as systemd takes it.
pub(super) fn bits(list: &str) -> Result<Value, String> {
    list_to_bits(list).map(|bits| Value::bytes(&bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_rounded_up_to_percents_and_the_file_with_them() {
        for (quota, period, per_second, rounded) in [
            (50_000, 100_000, 500_000, 50_000),
            (5_000, 1_000_000, 10_000, 10_000),
            (12_345, 0, 130_000, 13_000),
            (33_333, 100_000, 340_000, 34_000),
            (1, 1_000_000, 10_000, 10_000),
            (i64::MAX, 1, INFINITY - INFINITY % PERCENT, 0),
        ] {
            let mut cpu =
                Cpu { quota: Some(quota), period: Some(period).filter(|period| *period != 0), ..Cpu::default() };
            assert_eq!(per_second_of(quota as u64, period), per_second, "{quota} {period}");
            round_quota(&mut cpu);
            if rounded != 0 {
                assert_eq!(cpu.quota, Some(rounded), "{quota} {period}");
            }
        }
        let mut unlimited = Cpu { quota: Some(-1), ..Cpu::default() };
        round_quota(&mut unlimited);
        assert_eq!(unlimited.quota, Some(-1));
    }
}
