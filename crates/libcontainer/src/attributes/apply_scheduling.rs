//! Setting when and where a process runs, and what its memory is.

use rustix::io::Errno;
use rustix::process::Pid;

use super::plan::AttributesPlan;
use super::plan_memory::MemoryPolicyPlan;
use super::plan_scheduling::{Cpus, SchedulerPlan, SchedulingPlan};
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::sys::sched;

/// More CPUs than any kernel is built for.
const ALL_CPUS: [u8; 1024] = [0xff; 1024];

/// Sets the scheduler and the I/O priority of the process `pid`. Its parent does so: both may need a capability that the
/// process has lost in its user namespace.
pub(super) fn schedule(plan: &SchedulingPlan, pid: Pid) -> Result<()> {
    if let Some(priority) = plan.io_priority {
        sched::ioprio_set(pid, priority).map_err(|errno| {
            let error = Error::system("ioprio_set", "process.ioPriority", errno).during(Phase::Attributes);
            match errno {
                Errno::PERM => error.cause("IOPRIO_CLASS_RT needs CAP_SYS_NICE or CAP_SYS_ADMIN"),
                _ => error,
            }
        })?;
    }
    plan.scheduler.as_ref().map_or(Ok(()), |scheduler| set_scheduler(scheduler, pid))
}

fn set_scheduler(plan: &SchedulerPlan, pid: Pid) -> Result<()> {
    let attributes = sched::Attributes {
        policy: plan.policy,
        flags: plan.flags,
        nice: plan.nice,
        priority: plan.priority,
        runtime: plan.runtime,
        deadline: plan.deadline,
        period: plan.period,
        ..sched::Attributes::default()
    };
    sched::sched_setattr(pid, &attributes).map_err(|errno| {
        let error = Error::system("sched_setattr", "process.scheduler", errno).during(Phase::Attributes);
        match errno {
            Errno::PERM => error
                .cause(
                    "it takes CAP_SYS_NICE; if it is SCHED_DEADLINE, a process scheduler can't be used together with \
                     AllowedCPUs (linux.resources.cpu.cpus); a real-time policy can on cgroup v1 only be had with \
                     linux.resources.cpu.realtimeRuntime",
                )
                .remedy("remove the limit, or use another policy"),
            Errno::BUSY => error.cause("the CPUs have not so much time left for SCHED_DEADLINE"),
            Errno::INVAL => error.cause("this kernel does not know the policy, a flag, or refuses such times"),
            Errno::OPNOTSUPP => error.cause("this kernel cannot clamp utilisation (CONFIG_UCLAMP_TASK)"),
            _ => error,
        }
    })
}

/// Lets the calling process run on the final CPUs of the plan; it is in its cgroup already.
pub fn run_on(cpus: &Cpus) -> Result<()> {
    match cpus {
        Cpus::Unchanged => Ok(()),
        // To widen it is a courtesy; where it cannot be had, the process runs where its parent does.
        Cpus::All => {
            let _ = sched::sched_setaffinity(&ALL_CPUS);
            Ok(())
        }
        Cpus::Only(bits) => set_affinity(bits, "process.execCPUAffinity.final"),
    }
}

/// Moves the calling process to the initial CPUs of the plan, so that what it clones is born there; gives those that it
/// was on, for [`move_back`].
pub fn move_to_initial(cpus: &Cpus) -> Result<Option<Vec<u8>>> {
    let Cpus::Only(bits) = cpus else { return Ok(None) };
    let before = sched::sched_getaffinity().sys("sched_getaffinity", "").during(Phase::Attributes)?;
    set_affinity(bits, "process.execCPUAffinity.initial")?;
    Ok(Some(before))
}

/// The reverse of [`move_to_initial`].
pub fn move_back(before: Option<&[u8]>) -> Result<()> {
    before.map_or(Ok(()), |bits| set_affinity(bits, "back after process.execCPUAffinity.initial"))
}

fn set_affinity(bits: &[u8], what: &str) -> Result<()> {
    sched::sched_setaffinity(bits).map_err(|errno| {
        let error = Error::system("sched_setaffinity", what, errno).during(Phase::Attributes);
        match errno {
            Errno::INVAL => error.cause("none of these CPUs is there, or the cgroup allows none of them"),
            _ => error,
        }
    })
}

/// Sets the memory policy and the personality of the calling process; whatever it executes keeps them.
pub fn set_execution_domain(plan: &AttributesPlan) -> Result<()> {
    if let Some(policy) = &plan.memory_policy {
        set_memory_policy(policy)?;
    }
    plan.personality.map_or(Ok(()), |domain| {
        sched::personality(domain).sys("personality", "linux.personality").during(Phase::Attributes)
    })
}

fn set_memory_policy(policy: &MemoryPolicyPlan) -> Result<()> {
    sched::set_mempolicy(policy.mode, &policy.nodes).map_err(|errno| {
        let error = Error::system("set_mempolicy", "linux.memoryPolicy", errno).during(Phase::Attributes);
        match errno {
            Errno::INVAL => {
                error.cause("a node does not exist or the cgroup has none of them, or the mode has no such flag")
            }
            Errno::NOSYS => error.cause("this kernel has no NUMA memory policies (CONFIG_NUMA)"),
            _ => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan_scheduling;
    use super::*;
    use crate::testing::{in_own_thread, is_root};

    fn status(field: &str) -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.expect("the field").trim().to_owned()
    }

    #[test]
    fn cpus_are_left_and_taken_again() {
        in_own_thread(|| {
            let all = status("Cpus_allowed_list");
            let before = move_to_initial(&Cpus::Only(vec![1])).expect("CPU 0");
            assert_eq!(status("Cpus_allowed_list"), "0");
            move_back(before.as_deref()).expect("back");
            assert_eq!(status("Cpus_allowed_list"), all);
            run_on(&Cpus::Only(vec![1])).expect("CPU 0");
            run_on(&Cpus::Unchanged).expect("nothing");
            assert_eq!(status("Cpus_allowed_list"), "0");
            run_on(&Cpus::All).expect("all");
            assert_eq!(status("Cpus_allowed_list"), all);
            let error = run_on(&Cpus::Only([vec![0; 8000], vec![1]].concat())).expect_err("no such CPU").to_string();
            assert!(error.contains("process.execCPUAffinity.final") && error.contains("none of these CPUs"), "{error}");
        });
    }

    /// A process to be scheduled, since a test must not change itself for good.
    fn sleeper(body: impl FnOnce(Pid)) {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        body(Pid::from_child(&child));
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    #[test]
    fn a_scheduler_and_an_io_priority_are_in_force() {
        if !is_root("a_scheduler_and_an_io_priority_are_in_force") {
            return;
        }
        let scheduler = serde_json::from_value(serde_json::json!(
            {"policy": "SCHED_BATCH", "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
        ));
        let io = serde_json::from_value(serde_json::json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
        let plan = SchedulingPlan {
            initial_cpus: Cpus::Unchanged,
            final_cpus: Cpus::Unchanged,
            scheduler: Some(plan_scheduling::scheduler(&scheduler.expect("valid")).expect("a plan")),
            io_priority: Some(plan_scheduling::io_priority(&io.expect("valid")).expect("a plan")),
        };
        sleeper(|pid| {
            schedule(&plan, pid).expect("schedule");
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).expect("stat");
            let fields: Vec<&str> = stat.rsplit_once(')').expect("stat").1.split_whitespace().collect();
            // proc_pid_stat(5): the 19th field is the nice value, the 41st the policy.
            assert_eq!((fields[19 - 3], fields[41 - 3]), ("7", "3"));
            assert_eq!(sched::ioprio_get(pid).expect("ioprio_get"), 0x4006);
        });
    }

    #[test]
    fn a_policy_that_the_kernel_reserves_is_explained() {
        let iso = SchedulerPlan { policy: 4, flags: 0, nice: 0, priority: 0, runtime: 0, deadline: 0, period: 0 };
        sleeper(|pid| {
            let error = set_scheduler(&iso, pid).expect_err("SCHED_ISO").to_string();
            assert!(error.contains("process.scheduler") && error.contains("does not know the policy"), "{error}");
        });
    }

    #[test]
    fn a_memory_policy_is_in_force() {
        in_own_thread(|| {
            let bind = MemoryPolicyPlan { mode: 0x8002, nodes: vec![1] };
            set_memory_policy(&bind).expect("MPOL_BIND of node 0");
            let maps = std::fs::read_to_string("/proc/thread-self/numa_maps").expect("numa_maps");
            assert!(maps.lines().next().is_some_and(|line| line.contains(" bind=static:0 ")), "{maps}");
            set_memory_policy(&MemoryPolicyPlan { mode: 0, nodes: vec![] }).expect("MPOL_DEFAULT");
            let error = set_memory_policy(&MemoryPolicyPlan { mode: 2, nodes: vec![0; 4096] }).expect_err("too long");
            assert!(error.to_string().contains("linux.memoryPolicy"), "{error}");
        });
    }

    #[test]
    fn a_personality_changes_the_machines_name() {
        in_own_thread(|| {
            sched::personality(8).expect("LINUX32");
            let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
            assert!(!machine.ends_with("64"), "{machine}");
        });
    }
}
