//! What an update changes: what is given, laid over what is in force. Purely, and in the spec's own terms.
//!
//! A value of 0 is "not given" wherever runc takes it so. Lists with a key (devices, page sizes, interfaces) are merged
//! by it.

use crate::error::{Error, Result};
use crate::spec::{BlockIo, Cpu, HugepageLimit, Memory, Network, Resources, ThrottleDevice, WeightDevice};

/// The outcome of merging.
pub(super) struct Merged {
    /// What is in force afterwards.
    pub(super) resources: Resources,
    /// What has to be written: what is given, and the fields that share a file or a condition with it. Without devices.
    pub(super) changes: Resources,
}

/// Lays `given` over `in_force`, devices excepted.
///
/// # Errors
/// For what would contradict itself then.
pub(super) fn merge(in_force: &Resources, given: &Resources) -> Result<Merged> {
    let mut resources = in_force.clone();
    let mut changes = Resources { devices: Vec::new(), ..given.clone() };
    if let Some(memory) = &given.memory {
        let merged = resources.memory.get_or_insert_default();
        changes.memory = Some(self::memory(merged, memory)?);
    }
    if let Some(cpu) = &given.cpu {
        let bandwidth = bandwidth_in_force(in_force);
        let merged = resources.cpu.get_or_insert_default();
        (merged.quota, merged.period) = bandwidth;
        changes.cpu = Some(self::cpu(merged, cpu));
    }
    if let Some(limit) = given.pids.as_ref().and_then(|pids| pids.limit) {
        resources.pids.get_or_insert_default().limit = Some(limit);
    }
    if let Some(block_io) = &given.block_io {
        self::block_io(resources.block_io.get_or_insert_default(), block_io);
    }
    for limit in &given.hugepage_limits {
        let same = |one: &HugepageLimit| one.page_size == limit.page_size;
        upsert(&mut resources.hugepage_limits, same, |one| one.clone_from(limit));
    }
    if let Some(network) = &given.network {
        self::network(resources.network.get_or_insert_default(), network);
    }
    resources.rdma.extend(given.rdma.iter().map(|(device, limits)| (device.clone(), limits.clone())));
    resources.unified.extend(given.unified.iter().map(|(file, value)| (file.clone(), value.clone())));
    Ok(Merged { resources, changes })
}

fn asked<T: Copy + Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn replace<T: Copy>(merged: &mut Option<T>, given: Option<T>) {
    *merged = given.or(*merged);
}

/// Changes the last entry of the same key, which is the one that counts, or adds one.
fn upsert<T: Default>(list: &mut Vec<T>, same: impl Fn(&T) -> bool, change: impl FnOnce(&mut T)) {
    match list.iter_mut().rev().find(|one| same(one)) {
        Some(one) => change(one),
        None => {
            let mut one = T::default();
            change(&mut one);
            list.push(one);
        }
    }
}

/// The limit and that of memory and swap together depend on each other, so they are written together.
fn memory(merged: &mut Memory, given: &Memory) -> Result<Memory> {
    let (limit, swap) = (asked(given.limit), asked(given.swap));
    replace(&mut merged.limit, limit);
    // Unlimited memory means unlimited swap, unless that is said too. 0: whatever it was, it does not count any more.
    if given.swap == Some(0) || (limit == Some(-1) && swap.is_none()) {
        merged.swap = None;
    }
    replace(&mut merged.swap, swap);
    check_swap(merged, swap.is_some())?;
    replace(&mut merged.reservation, asked(given.reservation));
    replace(&mut merged.swappiness, given.swappiness.filter(|swappiness| *swappiness != u64::MAX));
    replace(&mut merged.disable_oom_killer, given.disable_oom_killer);
    let mut changes = given.clone();
    if limit.is_some() || swap.is_some() {
        (changes.limit, changes.swap) = (merged.limit, merged.swap);
    }
    Ok(changes)
}

fn check_swap(merged: &Memory, swap_given: bool) -> Result<()> {
    let (Some(limit), Some(swap)) = (asked(merged.limit), asked(merged.swap)) else { return Ok(()) };
    if swap < 0 || limit <= swap {
        return Ok(());
    }
    Err(if swap_given {
        let why = format!("{swap} is memory and swap together, and less than the memory limit {limit}");
        Error::invalid("linux.resources.memory.swap", why)
    } else {
        let why = format!("{limit} is more than the {swap} that memory and swap together may be");
        Error::invalid("linux.resources.memory.limit", why).remedy("raise memory.swap (--memory-swap) with it")
    })
}

/// Quota and period in force: `unified`, which is written last, has the last word.
fn bandwidth_in_force(in_force: &Resources) -> (Option<i64>, Option<u64>) {
    let cpu = in_force.cpu.as_ref();
    let fields = (cpu.and_then(|cpu| cpu.quota), cpu.and_then(|cpu| cpu.period));
    let Some(text) = in_force.unified.get("cpu.max") else { return fields };
    let mut words = text.split_whitespace();
    let quota = words.next().map(|word| word.parse().unwrap_or(-1));
    (quota, words.next().and_then(|word| word.parse().ok()).or(fields.1))
}

/// Quota and period share a file on v2, so they are written together.
fn cpu(merged: &mut Cpu, given: &Cpu) -> Cpu {
    let mut changes = given.clone();
    // The kernel forgets the shares of a group that becomes idle.
    if given.idle == Some(0) && asked(merged.idle).is_some() && asked(given.shares).is_none() {
        changes.shares = merged.shares;
    }
    replace(&mut merged.shares, asked(given.shares));
    replace(&mut merged.quota, asked(given.quota));
    replace(&mut merged.period, asked(given.period));
    replace(&mut merged.burst, given.burst);
    replace(&mut merged.realtime_runtime, asked(given.realtime_runtime));
    replace(&mut merged.realtime_period, asked(given.realtime_period));
    replace(&mut merged.idle, given.idle);
    for (merged, given) in [(&mut merged.cpus, &given.cpus), (&mut merged.mems, &given.mems)] {
        if !given.is_empty() {
            merged.clone_from(given);
        }
    }
    if asked(given.quota).is_some() || asked(given.period).is_some() {
        (changes.quota, changes.period) = (merged.quota, merged.period);
    }
    changes
}

fn block_io(merged: &mut BlockIo, given: &BlockIo) {
    replace(&mut merged.weight, asked(given.weight));
    replace(&mut merged.leaf_weight, asked(given.leaf_weight));
    for device in &given.weight_device {
        let same = |one: &WeightDevice| (one.major, one.minor) == (device.major, device.minor);
        upsert(&mut merged.weight_device, same, |one| {
            (one.major, one.minor) = (device.major, device.minor);
            replace(&mut one.weight, device.weight);
            replace(&mut one.leaf_weight, device.leaf_weight);
        });
    }
    for (merged, given) in [
        (&mut merged.throttle_read_bps_device, &given.throttle_read_bps_device),
        (&mut merged.throttle_write_bps_device, &given.throttle_write_bps_device),
        (&mut merged.throttle_read_iops_device, &given.throttle_read_iops_device),
        (&mut merged.throttle_write_iops_device, &given.throttle_write_iops_device),
    ] {
        for device in given {
            let same = |one: &ThrottleDevice| (one.major, one.minor) == (device.major, device.minor);
            upsert(merged, same, |one| one.clone_from(device));
        }
    }
}

fn network(merged: &mut Network, given: &Network) {
    replace(&mut merged.class_id, asked(given.class_id));
    for interface in &given.priorities {
        match merged.priorities.iter_mut().rev().find(|one| one.name == interface.name) {
            Some(one) => one.priority = interface.priority,
            None => merged.priorities.push(interface.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resources(value: Value) -> Resources {
        serde_json::from_value(value).expect("resources")
    }

    /// What is in force afterwards and what is written, each without what is not set.
    fn merged(in_force: Value, given: Value) -> (Value, Value) {
        let merged = merge(&resources(in_force), &resources(given)).expect("merge");
        (short(&merged.resources), short(&merged.changes))
    }

    fn short(resources: &Resources) -> Value {
        fn strip(value: &mut Value) {
            match value {
                Value::Object(fields) => {
                    fields.values_mut().for_each(strip);
                    let unset = |value: &Value| matches!(value, Value::Null) || *value == json!("");
                    let empty = |value: &Value| *value == json!([]) || *value == json!({});
                    fields.retain(|_, value| !unset(value) && !empty(value));
                }
                Value::Array(list) => list.iter_mut().for_each(strip),
                _ => {}
            }
        }
        let mut value = serde_json::to_value(resources).expect("serialise");
        strip(&mut value);
        value
    }

    #[test]
    fn what_is_not_given_stays_and_is_not_written() {
        let old = json!({
            "memory": { "limit": 100, "reservation": 50 }, "cpu": { "shares": 100, "cpus": "0" }, "pids": { "limit": 20 },
        });
        let (resources, changes) = merged(old.clone(), json!({ "memory": { "limit": 0 }, "cpu": {}, "pids": {} }));
        assert_eq!((resources, &changes), (old.clone(), &json!({ "memory": { "limit": 0 } })));
        let (resources, changes) = merged(old, json!({ "pids": { "limit": -1 }, "cpu": { "cpus": "1" } }));
        assert_eq!(changes, json!({ "cpu": { "cpus": "1" }, "pids": { "limit": -1 } }));
        assert_eq!(resources["cpu"], json!({ "shares": 100, "cpus": "1" }));
        assert_eq!(resources["pids"], json!({ "limit": -1 }));
    }

    #[test]
    fn memory_and_swap_are_written_together() {
        let memory = |in_force: Value, given: Value| {
            let (resources, changes) = merged(json!({ "memory": in_force }), json!({ "memory": given }));
            (resources["memory"].clone(), changes["memory"].clone())
        };
        let both = json!({ "limit": 50, "swap": 300 });
        assert_eq!(memory(json!({ "limit": 100, "swap": 300 }), json!({ "limit": 50 })), (both.clone(), both));
        let both = json!({ "limit": 100, "swap": -1 });
        assert_eq!(memory(json!({ "limit": 100 }), json!({ "swap": -1 })), (both.clone(), both));
        let alone = json!({ "limit": -1 });
        assert_eq!(memory(json!({ "limit": 100, "swap": 300 }), json!({ "limit": -1 })), (alone.clone(), alone));
        let alone = json!({ "limit": 500 });
        assert_eq!(
            memory(json!({ "limit": 100, "swap": 300 }), json!({ "limit": 500, "swap": 0 })),
            (alone.clone(), alone)
        );
    }

    #[test]
    fn a_limit_above_memory_and_swap_together_is_refused() {
        let old = resources(json!({ "memory": { "limit": 100, "swap": 300 } }));
        let error = |given: Value| {
            merge(&old, &resources(json!({ "memory": given }))).map(|_| ()).expect_err("refused").to_string()
        };
        assert_eq!(
            error(json!({ "limit": 400 })),
            "linux.resources.memory.limit: 400 is more than the 300 that memory and swap together may be \
             (raise memory.swap (--memory-swap) with it)"
        );
        assert!(error(json!({ "swap": 60 })).starts_with("linux.resources.memory.swap: 60 is memory and swap"));
    }

    #[test]
    fn quota_and_period_are_written_together() {
        let cpu = |in_force: Value, given: Value| merged(in_force, json!({ "cpu": given })).1["cpu"].clone();
        let old = json!({ "cpu": { "quota": 5, "period": 10, "burst": 1 } });
        assert_eq!(cpu(old.clone(), json!({ "quota": -1 })), json!({ "quota": -1, "period": 10 }));
        assert_eq!(cpu(old.clone(), json!({ "period": 20 })), json!({ "quota": 5, "period": 20 }));
        assert_eq!(cpu(old.clone(), json!({ "burst": 0 })), json!({ "burst": 0 }));
        assert_eq!(cpu(json!({}), json!({ "period": 20 })), json!({ "period": 20 }));
        let unified = |value: &str| json!({ "cpu": { "quota": 5, "period": 10 }, "unified": { "cpu.max": value } });
        assert_eq!(cpu(unified("max 7"), json!({ "period": 20 })), json!({ "quota": -1, "period": 20 }));
        assert_eq!(cpu(unified("3 7"), json!({ "quota": 4 })), json!({ "quota": 4, "period": 7 }));
    }

    #[test]
    fn shares_come_back_when_a_group_is_idle_no_more() {
        let old = json!({ "cpu": { "shares": 300, "idle": 1 } });
        let changes = |in_force: &Value, idle: i64| merged(in_force.clone(), json!({ "cpu": { "idle": idle } })).1;
        assert_eq!(changes(&old, 0), json!({ "cpu": { "shares": 300, "idle": 0 } }));
        assert_eq!(changes(&old, 1), json!({ "cpu": { "idle": 1 } }));
        assert_eq!(changes(&json!({ "cpu": { "shares": 300 } }), 0), json!({ "cpu": { "idle": 0 } }));
    }

    #[test]
    fn lists_are_merged_by_their_keys() {
        let old = json!({
            "blockIO": {
                "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 1 }, { "major": 8, "minor": 0, "rate": 2 }],
                "weightDevice": [{ "major": 8, "minor": 0, "weight": 100, "leafWeight": 200 }],
            },
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 }],
            "unified": { "memory.high": "1", "pids.max": "2" },
        });
        let given = json!({
            "blockIO": {
                "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 3 }, { "major": 8, "minor": 16, "rate": 4 }],
                "weightDevice": [{ "major": 8, "minor": 0, "weight": 300 }],
            },
            "hugepageLimits": [{ "pageSize": "1GB", "limit": 5 }, { "pageSize": "2MB", "limit": 6 }],
            "unified": { "pids.max": "3" },
        });
        let (resources, changes) = merged(old, given.clone());
        assert_eq!(changes, given);
        assert_eq!(
            resources["blockIO"],
            json!({
                "throttleReadBpsDevice": [
                    { "major": 8, "minor": 0, "rate": 1 }, { "major": 8, "minor": 0, "rate": 3 },
                    { "major": 8, "minor": 16, "rate": 4 },
                ],
                "weightDevice": [{ "major": 8, "minor": 0, "weight": 300, "leafWeight": 200 }],
            })
        );
        assert_eq!(
            resources["hugepageLimits"],
            json!([{ "pageSize": "2MB", "limit": 6 }, { "pageSize": "1GB", "limit": 5 }])
        );
        assert_eq!(resources["unified"], json!({ "memory.high": "1", "pids.max": "3" }));
    }
}
