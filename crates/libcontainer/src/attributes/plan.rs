//! From `process` to checked attributes.

use serde::Serialize;

use super::plan_memory::{self, MemoryPolicyPlan};
use super::plan_scheduling::{self, SchedulingPlan};
use crate::error::{Error, Result};
use crate::spec::{Process, Rlimit, Spec, User};

/// The attributes of one process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributesPlan {
    /// Resource limits, in the order of the spec.
    pub limits: Vec<Limit>,
    /// -1000 to 1000 (proc_pid_oom_score_adj(5)); absent: the runtime's own.
    pub oom_score_adj: Option<i32>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, all of them; absent: the runtime's own.
    pub groups: Option<Vec<u32>>,
    /// File mode creation mask.
    pub umask: u32,
    /// CPUs, scheduler, I/O priority.
    pub scheduling: SchedulingPlan,
    /// Absent: the runtime's own.
    pub memory_policy: Option<MemoryPolicyPlan>,
    /// The number of personality(2); absent: the runtime's own.
    pub personality: Option<u32>,
}

/// One resource limit; [`u64::MAX`] means unlimited.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limit {
    /// `RLIMIT_NOFILE`, …
    pub name: String,
    /// The kernel's number of it.
    pub resource: u32,
    /// The limit in force.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// The mask of a login shell, which runc uses where the spec has none.
const DEFAULT_UMASK: u32 = 0o022;

/// setresuid(2) and its kin take -1 as "leave as it is": as an id it would silently mean root (CVE-2026-30892).
const NO_ID: u32 = u32::MAX;

/// getrlimit(2), in the kernel's numbering (asm-generic/resource.h).
const RESOURCES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// crun's: the supplementary groups are left as they are, which lets an unprivileged caller's reach its volumes.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Plans the attributes of `process` in the container of `spec`; `init`: it is the container's first, to which
/// `execCPUAffinity` does not apply.
///
/// # Errors
/// Names the field of a value that the kernel would refuse or misunderstand.
pub fn plan(process: &Process, spec: &Spec, init: bool) -> Result<AttributesPlan> {
    check_user(&process.user)?;
    if let Some(score) = process.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(Error::invalid("process.oomScoreAdj", format!("{score} is not between -1000 and 1000")));
    }
    let affinity = process.exec_cpu_affinity.as_ref().filter(|_| !init);
    let (initial_cpus, final_cpus) = plan_scheduling::affinity(affinity)?;
    let scheduling = SchedulingPlan {
        initial_cpus,
        final_cpus,
        scheduler: process.scheduler.as_ref().map(plan_scheduling::scheduler).transpose()?,
        io_priority: process.io_priority.as_ref().map(plan_scheduling::io_priority).transpose()?,
    };
    let linux = spec.linux.as_ref();
    let memory_policy = linux.and_then(|linux| linux.memory_policy.as_ref());
    let personality = linux.and_then(|linux| linux.personality.as_ref());
    Ok(AttributesPlan {
        limits: limits(&process.rlimits)?,
        oom_score_adj: process.oom_score_adj,
        uid: process.user.uid,
        gid: process.user.gid,
        groups: (!spec.annotations.contains_key(KEEP_GROUPS)).then(|| process.user.additional_gids.clone()),
        umask: process.user.umask.unwrap_or(DEFAULT_UMASK),
        scheduling,
        memory_policy: memory_policy.map(plan_memory::memory_policy).transpose()?,
        personality: personality.map(plan_memory::personality).transpose()?,
    })
}

fn check_user(user: &User) -> Result<()> {
    let ids = [("process.user.uid".to_owned(), user.uid), ("process.user.gid".to_owned(), user.gid)];
    let groups = user.additional_gids.iter().enumerate();
    let groups = groups.map(|(index, gid)| (format!("process.user.additionalGids[{index}]"), *gid));
    match ids.into_iter().chain(groups).find(|(_, id)| *id == NO_ID) {
        Some((field, id)) => Err(Error::invalid(field, format!("{id} is no id, the kernel reserves it"))),
        None if user.umask.is_some_and(|mask| mask > 0o777) => {
            Err(Error::invalid("process.user.umask", "it has more than the nine permission bits"))
        }
        None => Ok(()),
    }
}

fn limits(rlimits: &[Rlimit]) -> Result<Vec<Limit>> {
    let mut limits: Vec<Limit> = Vec::with_capacity(rlimits.len());
    for (index, rlimit) in rlimits.iter().enumerate() {
        let field = format!("process.rlimits[{index}]");
        let Some(resource) = RESOURCES.iter().position(|name| *name == rlimit.kind) else {
            return Err(Error::invalid(field, format!("type \"{}\" is not in getrlimit(2)", rlimit.kind)));
        };
        if limits.iter().any(|limit| limit.name == rlimit.kind) {
            return Err(Error::invalid(field, format!("{} is listed twice", rlimit.kind)));
        }
        if rlimit.soft > rlimit.hard {
            let why = format!("soft limit {} of {} is above its hard limit {}", rlimit.soft, rlimit.kind, rlimit.hard);
            return Err(Error::invalid(field, why));
        }
        let (name, resource) = (rlimit.kind.clone(), resource as u32);
        limits.push(Limit { name, resource, soft: rlimit.soft, hard: rlimit.hard });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(process: &Process) -> String {
        plan(process, &Spec::default(), true).expect_err("must be refused").to_string()
    }

    #[test]
    fn limits_are_numbered_as_the_kernel_does() {
        let rlimit = |kind: &str, soft, hard| Rlimit { kind: kind.to_owned(), soft, hard };
        let mut process = Process { rlimits: vec![rlimit("RLIMIT_NOFILE", 10, 20)], ..Process::default() };
        assert_eq!(plan(&process, &Spec::default(), true).expect("valid").limits[0].resource, 7);
        process.rlimits.push(rlimit("RLIMIT_NOFILE", 10, 20));
        assert!(error_of(&process).contains("process.rlimits[1]: RLIMIT_NOFILE is listed twice"));
        process.rlimits = vec![rlimit("RLIMIT_RTTIME", 3, 2)];
        assert!(error_of(&process).contains("above its hard limit"));
        process.rlimits = vec![rlimit("NOFILE", 3, 2)];
        assert!(error_of(&process).contains("type \"NOFILE\""));
    }

    #[test]
    fn an_id_that_would_mean_root_is_refused() {
        let user = |uid, gid, groups: &[u32]| User { uid, gid, umask: None, additional_gids: groups.to_vec() };
        for user in [user(u32::MAX, 0, &[]), user(1, u32::MAX, &[]), user(1, 1, &[2, u32::MAX])] {
            assert!(error_of(&Process { user, ..Process::default() }).contains("the kernel reserves it"));
        }
    }

    #[test]
    fn a_score_out_of_range_is_refused() {
        let process = Process { oom_score_adj: Some(1001), ..Process::default() };
        assert!(error_of(&process).starts_with("process.oomScoreAdj: 1001"));
    }
}
