//! What becomes of a container's cgroups whose maker is not the host's root, and was given none or some of them.

use crate::error::{Error, Kind, Result};
use crate::host::CgroupFacts;

use super::HierarchyPlan;

/// How a user comes by a cgroup.
pub(super) const REMEDY: &str = "use --systemd-cgroup in a login session on cgroup v2, have a cgroup delegated and name it \
                                 in linux.cgroupsPath, or run it as root";

/// Leaves out the hierarchies in which the caller may not make a cgroup, as runc does where no `cgroupsPath` was asked for.
///
/// # Errors
/// [`Kind::Unsupported`] for a limit in one of them: it would be lost.
pub(super) fn leave_out(plans: Vec<HierarchyPlan>, facts: &CgroupFacts) -> Result<Vec<HierarchyPlan>> {
    let Some(delegation) = facts.delegation.as_ref().filter(|delegation| delegation.tolerant) else { return Ok(plans) };
    let (given, others): (Vec<_>, Vec<_>) =
        plans.into_iter().partition(|plan| delegation.mountpoints.contains(&plan.mountpoint));
    let lost = |plan: &HierarchyPlan| {
        let limit = |write: &&super::CgroupWrite| write.must_succeed() && write.controller() != "devices";
        plan.writes.iter().find(limit).map(|write| (write.field.clone(), plan.dir()))
    };
    match others.iter().find_map(lost) {
        None => Ok(given),
        Some((field, dir)) => {
            let what =
                format!("{field}: this user may not make the cgroup that would have the limit ({})", dir.display());
            Err(Error::new(Kind::Unsupported, what).remedy(format!("{REMEDY}; or take the limit out")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::plan;
    use crate::host::{Delegation, Hierarchy};
    use crate::spec::{Linux, Pids, Resources};

    fn facts(delegated: &[&str]) -> CgroupFacts {
        let one = |name: &str| Hierarchy {
            controllers: vec![name.to_owned()],
            mountpoint: format!("/sys/fs/cgroup/{name}").into(),
            own: "/user".into(),
        };
        let mountpoints = delegated.iter().map(|name| format!("/sys/fs/cgroup/{name}").into()).collect();
        let delegation = Some(Delegation { tolerant: true, devices: false, mountpoints });
        CgroupFacts { v1: ["devices", "pids", "memory"].map(one).into(), v2: None, delegation }
    }

    fn limited() -> Linux {
        let pids = Some(Pids { limit: Some(7) });
        Linux { resources: Some(Resources { pids, ..Resources::default() }), ..Linux::default() }
    }

    #[test]
    fn without_delegation_there_is_no_cgroup_and_no_limit() {
        let none = plan(&Linux::default(), "c1", &facts(&[])).expect("goes on");
        assert!(none.hierarchies.is_empty());
        let error = plan(&limited(), "c1", &facts(&[])).expect_err("a limit is lost").to_string();
        assert!(error.contains("linux.resources.pids.limit: this user may not make the cgroup"), "{error}");
        assert!(error.contains("/sys/fs/cgroup/pids/user/c1"), "{error}");
    }

    #[test]
    fn what_was_delegated_is_used() {
        let one = plan(&limited(), "c1", &facts(&["pids"])).expect("delegated");
        assert_eq!(one.hierarchies.iter().map(|plan| plan.key.as_str()).collect::<Vec<_>>(), ["pids"]);
        // What was asked for by its path is not left out in silence.
        let linux = Linux { cgroups_path: "/mine".to_owned(), ..limited() };
        let all = plan(&linux, "c1", &facts(&[])).expect("asked for");
        assert_eq!(all.hierarchies.len(), 3);
        assert!(all.hierarchies.iter().all(|plan| plan.writes.iter().all(|write| write.controller() != "devices")));
    }
}
