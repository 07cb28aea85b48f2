//! Setting the attributes of the calling process.

use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Resource, Rlimit, Uid};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::thread::CapabilitySet;

use super::apply_scheduling::schedule;
use super::plan::{AttributesPlan, Limit};
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::host::HostProc;

/// Sets the resource limits, the OOM score and the scheduling of the process `pid`. Its parent does so: raising a limit needs a
/// capability that the process may have lost in its user namespace, and a limit on open files must not hit its set-up.
///
/// The score of a process that hides is out of reach for a parent who is not root (`unprivileged`): it has set it itself,
/// by [`score_own`].
pub fn limit(plan: &AttributesPlan, pid: Pid, proc: &HostProc, unprivileged: bool) -> Result<()> {
    if let Some(score) = plan.oom_score_adj.filter(|_| !unprivileged) {
        let written = proc.write_of(pid.as_raw_pid(), "oom_score_adj", &score.to_string());
        written.map_err(explain_score).during(Phase::Attributes)?;
    }
    plan.limits.iter().try_for_each(|limit| set_limit(limit, pid)).during(Phase::Attributes)?;
    schedule(&plan.scheduling, pid)
}

/// Sets the OOM score of the calling process; before it hides.
pub fn score_own(plan: &AttributesPlan, proc: &HostProc) -> Result<()> {
    let Some(score) = plan.oom_score_adj else { return Ok(()) };
    proc.write_own("oom_score_adj", &score.to_string()).map_err(explain_score).during(Phase::Attributes)
}

fn explain_score(error: Error) -> Error {
    match error.errno() {
        Some(Errno::ACCESS) => error
            .within("process.oomScoreAdj")
            .cause("making it less than the runtime's own takes CAP_SYS_RESOURCE on the host")
            .remedy("raise it, or leave it out"),
        _ => error,
    }
}

fn set_limit(limit: &Limit, pid: Pid) -> Result<()> {
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    let Some(resource) = resource(limit.resource) else {
        return Err(Error::unsupported(format!("{} is unknown to this build", limit.name)));
    };
    let wanted = Rlimit { current: finite(limit.soft), maximum: finite(limit.hard) };
    rustix::process::prlimit(Some(pid), resource, wanted).map(drop).map_err(|errno| {
        let subject = format!("{} soft={} hard={}", limit.name, limit.soft, limit.hard);
        let error = Error::system("prlimit", subject, errno);
        match errno {
            Errno::PERM => error
                .cause("the hard limit is above the runtime's own, and raising it needs CAP_SYS_RESOURCE")
                .remedy("lower the limit in process.rlimits or raise the limit of the runtime's caller"),
            _ => error,
        }
    })
}

/// rustix's names for the kernel's numbers.
fn resource(number: u32) -> Option<Resource> {
    const ALL: [Resource; 16] = [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ];
    ALL.get(number as usize).copied()
}

/// Gives stdin, stdout and stderr to `uid`, so that a payload that is not root can reopen its terminal or pipes.
///
/// Only the uid is changed, and never that of /dev/null, which every container of the host may share
/// (runc's CVE-2021-30465 follow-up; crun's 2026-88265).
pub fn own_stdio(uid: u32) -> Result<()> {
    for (fd, name) in [(stdin(), "stdin"), (stdout(), "stdout"), (stderr(), "stderr")] {
        let stat = rustix::fs::fstat(fd).sys("fstat", name)?;
        if stat.st_uid == uid || is_null_device(&stat) {
            continue;
        }
        match rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None) {
            // A read-only file system, an owner beyond the user namespace, a descriptor without an inode of its own.
            Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL | Errno::BADF) => {}
            Err(errno) => return Err(Error::system("fchown", name, errno).during(Phase::Attributes)),
        }
    }
    Ok(())
}

fn is_null_device(stat: &Stat) -> bool {
    let character = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice;
    character && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (1, 3)
}

/// Changes groups, group and user of the calling thread, in the order that keeps the right to do so.
pub fn become_user(plan: &AttributesPlan) -> Result<()> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    if let Some(groups) = &plan.groups {
        let gids: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        match set_thread_groups(&gids) {
            // Denied to everybody in this user namespace: the caller's groups stay, which nobody here knows by their numbers.
            Err(Errno::PERM) if groups.is_empty() && may_set_groups() => {}
            set => set.map_err(|errno| groups_error(groups, errno)).during(Phase::Attributes)?,
        }
    }
    let (uid, gid) = (Uid::from_raw(plan.uid), Gid::from_raw(plan.gid));
    let unmapped = |field: &str, map: &str, error: Error| match error.errno() {
        Some(Errno::INVAL) => error.within(field).cause(format!("{map} does not map it")),
        _ => error,
    };
    set_thread_res_gid(gid, gid, gid)
        .sys("setresgid", plan.gid)
        .map_err(|error| unmapped("process.user.gid", "linux.gidMappings", error))
        .during(Phase::Attributes)?;
    set_thread_res_uid(uid, uid, uid)
        .sys("setresuid", plan.uid)
        .map_err(|error| unmapped("process.user.uid", "linux.uidMappings", error))
        .during(Phase::Attributes)
}

/// Whether this thread has the capability for it. If it is refused all the same, its user namespace denies it.
fn may_set_groups() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SETGID))
}

fn groups_error(groups: &[u32], errno: Errno) -> Error {
    let error = Error::system("setgroups", format!("{groups:?}"), errno).within("process.user.additionalGids");
    match errno {
        Errno::PERM if may_set_groups() => error
            .cause("nobody may set groups in a user namespace whose group ids were mapped without newgidmap")
            .remedy("leave them out, or map a range of /etc/subgid in linux.gidMappings"),
        Errno::INVAL => error.cause("linux.gidMappings does not map one of them"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_own_thread, is_root};

    #[test]
    fn user_and_groups_are_exactly_the_planned_ones() {
        if !is_root("user_and_groups_are_exactly_the_planned_ones") {
            return;
        }
        in_own_thread(|| {
            let user = crate::spec::User { uid: 1234, gid: 2345, umask: None, additional_gids: vec![7, 8] };
            let process = crate::spec::Process { user, ..Default::default() };
            let plan = crate::attributes::plan(&process, &Default::default(), true).expect("a plan");
            become_user(&plan).expect("root may");
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("status");
            assert!(status.contains("Uid:\t1234\t1234\t1234\t1234\n"), "{status}");
            assert!(status.contains("Gid:\t2345\t2345\t2345\t2345\n"), "{status}");
            assert!(status.contains("Groups:\t7 8 \n"), "{status}");
        });
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_explained() {
        let own = rustix::process::getrlimit(Resource::Nofile);
        let Some(hard) = own.maximum else { return };
        let limit = Limit { name: "RLIMIT_NOFILE".into(), resource: 7, soft: hard + 1, hard: hard + 1 };
        if let Err(error) = set_limit(&limit, rustix::process::getpid()) {
            assert!(error.to_string().contains("CAP_SYS_RESOURCE"), "{error}");
        }
    }
}
