//! From `process.scheduler`, `ioPriority` and `execCPUAffinity` to what the kernel's calls take.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::spec::{CpuAffinity, IoPriority, Scheduler, list_to_bits};

/// When and where a process runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchedulingPlan {
    /// The CPUs that it is cloned on, before it is in the container's cgroup.
    pub initial_cpus: Cpus,
    /// The CPUs that it may run on in the container's cgroup.
    pub final_cpus: Cpus,
    /// Absent: the runtime's own.
    pub scheduler: Option<SchedulerPlan>,
    /// As ioprio_set(2) takes it; absent: the runtime's own.
    pub io_priority: Option<u16>,
}

/// A change of sched_setaffinity(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Cpus {
    /// What it is already.
    Unchanged,
    /// All that the cgroup allows.
    All,
    /// A bit for each CPU, the lowest first.
    Only(Vec<u8>),
}

/// `struct sched_attr` of sched_setattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the names are the kernel's
pub struct SchedulerPlan {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// The kernel's numbers; SCHED_ISO (4) is reserved, and SCHED_EXT came with Linux 6.12.
const POLICIES: [(&str, u32); 8] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
    ("SCHED_EXT", 7),
];

const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

const IO_CLASSES: [(&str, u16); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// The class's place in the number that ioprio_set(2) takes.
const IO_CLASS_SHIFT: u32 = 13;

/// Plans a scheduler, by the rules of sched_setattr(2).
pub(super) fn scheduler(scheduler: &Scheduler) -> Result<SchedulerPlan> {
    let refuse = |name: &str, why: String| Err(Error::invalid(format!("process.scheduler.{name}"), why));
    let name = scheduler.policy.as_str();
    let policy = value_of(&POLICIES, name, "process.scheduler.policy")?;
    let mut flags = 0;
    for (index, flag) in scheduler.flags.iter().enumerate() {
        flags |= value_of(&FLAGS, flag, &format!("process.scheduler.flags[{index}]"))?;
    }
    let (nice, priority) = (scheduler.nice, scheduler.priority);
    let real_time = matches!(name, "SCHED_FIFO" | "SCHED_RR");
    if matches!(name, "SCHED_OTHER" | "SCHED_BATCH") && !(-20..=19).contains(&nice) {
        return refuse("nice", format!("{nice} is not between -20 and 19"));
    }
    if real_time && !(1..=99).contains(&priority) {
        return refuse("priority", format!("{priority} is not between 1 and 99, as {name} needs it"));
    }
    if !real_time && priority != 0 {
        return refuse("priority", format!("{name} has none: it is for SCHED_FIFO and SCHED_RR"));
    }
    let Scheduler { runtime, deadline, period, .. } = *scheduler;
    let times = [("runtime", runtime), ("deadline", deadline), ("period", period)];
    if let Some((time, _)) = times.iter().find(|(_, value)| *value != 0 && name != "SCHED_DEADLINE") {
        return refuse(time, format!("{name} has none: it is for SCHED_DEADLINE"));
    }
    if name == "SCHED_DEADLINE" && (runtime == 0 || runtime > deadline || (period != 0 && deadline > period)) {
        return refuse("runtime", "SCHED_DEADLINE needs 0 < runtime <= deadline <= period".to_owned());
    }
    Ok(SchedulerPlan { policy, flags, nice, priority: priority.unsigned_abs(), runtime, deadline, period })
}

/// Plans an I/O priority: the number of ioprio_set(2).
pub(super) fn io_priority(io: &IoPriority) -> Result<u16> {
    let class = value_of(&IO_CLASSES, &io.class, "process.ioPriority.class")?;
    match u16::try_from(io.priority).ok().filter(|level| *level < 8) {
        Some(level) => Ok(class << IO_CLASS_SHIFT | level),
        None => Err(Error::invalid("process.ioPriority.priority", format!("{} is not between 0 and 7", io.priority))),
    }
}

/// The initial and the final CPUs of a process that joins. Where nothing is said, it may run wherever its cgroup does:
/// what the runtime's caller confined itself to is not for the container.
pub(super) fn affinity(affinity: Option<&CpuAffinity>) -> Result<(Cpus, Cpus)> {
    let cpus = |list: &str, name: &str| match list {
        "" => Ok(Cpus::Unchanged),
        _ => list_to_bits(list)
            .map(Cpus::Only)
            .map_err(|why| Error::invalid(format!("process.execCPUAffinity.{name}"), why)),
    };
    let Some(affinity) = affinity else { return Ok((Cpus::Unchanged, Cpus::All)) };
    match (cpus(&affinity.initial, "initial")?, cpus(&affinity.last, "final")?) {
        (Cpus::Unchanged, Cpus::Unchanged) => Ok((Cpus::Unchanged, Cpus::All)),
        both => Ok(both),
    }
}

/// The number that `name` stands for.
pub(super) fn value_of<T: Copy>(table: &[(&str, T)], name: &str, field: &str) -> Result<T> {
    let found = table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let known: Vec<&str> = table.iter().map(|(known, _)| *known).collect();
        Error::invalid(field, format!("\"{name}\" is not known")).remedy(format!("known are {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn planned(json: Value) -> Result<SchedulerPlan> {
        scheduler(&serde_json::from_value(json).expect("a scheduler"))
    }

    #[test]
    fn schedulers_are_numbered_as_the_kernel_does() {
        for (name, number) in POLICIES {
            let json = match name {
                "SCHED_FIFO" | "SCHED_RR" => json!({"policy": name, "priority": 99}),
                "SCHED_DEADLINE" => json!({"policy": name, "runtime": 1, "deadline": 2, "period": 2}),
                _ => json!({"policy": name}),
            };
            assert_eq!(planned(json).expect(name).policy, number);
        }
        let all: Vec<&str> = FLAGS.iter().map(|(name, _)| *name).collect();
        let plan = planned(json!({"policy": "SCHED_BATCH", "nice": -20, "flags": all})).expect("a plan");
        assert_eq!((plan.flags, plan.nice), (0x7f, -20));
    }

    #[test]
    fn what_contradicts_the_policy_is_refused_by_field() {
        for (json, text) in [
            (json!({}), "process.scheduler.policy: \"\" is not known (known are SCHED_OTHER, "),
            (json!({"policy": "SCHED_OTHER", "flags": ["X"]}), "process.scheduler.flags[0]: \"X\" is not known"),
            (json!({"policy": "SCHED_OTHER", "nice": 20}), "process.scheduler.nice: 20 is not between -20 and 19"),
            (json!({"policy": "SCHED_FIFO"}), "process.scheduler.priority: 0 is not between 1 and 99"),
            (json!({"policy": "SCHED_IDLE", "priority": 1}), "process.scheduler.priority: SCHED_IDLE has none"),
            (json!({"policy": "SCHED_RR", "priority": 1, "period": 1}), "process.scheduler.period: SCHED_RR has none"),
            (json!({"policy": "SCHED_DEADLINE"}), "process.scheduler.runtime: SCHED_DEADLINE needs"),
            (
                json!({"policy": "SCHED_DEADLINE", "runtime": 3, "deadline": 2}),
                "process.scheduler.runtime: SCHED_DEADLINE needs",
            ),
        ] {
            let error = planned(json).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn an_io_priority_is_a_class_and_a_level() {
        let plan = |class: &str, priority| io_priority(&IoPriority { class: class.to_owned(), priority });
        assert_eq!(plan("IOPRIO_CLASS_BE", 4).expect("valid"), 0x4004);
        assert_eq!(plan("IOPRIO_CLASS_IDLE", 7).expect("valid"), 0x6007);
        for (class, level, field) in
            [("BE", 0, "class"), ("IOPRIO_CLASS_BE", 8, "priority"), ("IOPRIO_CLASS_RT", -1, "priority")]
        {
            let error = plan(class, level).expect_err(field).to_string();
            assert!(error.contains(&format!("process.ioPriority.{field}: ")), "{error}");
        }
    }

    #[test]
    fn without_an_affinity_the_cgroup_decides() {
        let plan = |initial: &str, last: &str| {
            affinity(Some(&CpuAffinity { initial: initial.to_owned(), last: last.to_owned() }))
        };
        let only = |bits: u8| Cpus::Only(vec![bits]);
        assert_eq!(affinity(None).expect("valid"), (Cpus::Unchanged, Cpus::All));
        assert_eq!(plan("", "").expect("valid"), (Cpus::Unchanged, Cpus::All));
        assert_eq!(plan("1", "").expect("valid"), (only(2), Cpus::Unchanged));
        assert_eq!(plan("1", "0-1").expect("valid"), (only(2), only(3)));
        let error = plan("x", "").expect_err("no list").to_string();
        assert!(error.contains("process.execCPUAffinity.initial: \"x\" is no number"), "{error}");
        let error = plan("", "2-1").expect_err("backwards").to_string();
        assert!(error.contains("process.execCPUAffinity.final: \"2-1\""), "{error}");
    }
}
