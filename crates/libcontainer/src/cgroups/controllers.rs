//! v2: getting the controllers that limits need down to a container's directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{Error, Result, SysContext};

use super::{HierarchyPlan, dir};

/// Controllers that cannot work in a threaded subtree of v2 (cpu can, but runc counts it among them).
const DOMAIN_CONTROLLERS: [&str; 4] = ["memory", "io", "cpu", "hugetlb"];

/// v2: has every ancestor pass the controllers on, if the new directory lacks one. What cannot be had shows when a
/// limit is written.
pub(super) fn pass_controllers_on(plan: &HierarchyPlan, fd: BorrowedFd<'_>, path: &Path) -> Result<()> {
    if plan.controllers.is_empty() {
        return Ok(());
    }
    let there = dir::read(fd, "cgroup.controllers").sys("read", path.join("cgroup.controllers").display())?;
    let lacking = plan.controllers.iter().filter(|one| !there.split_whitespace().any(|other| other == *one));
    let lacking: Vec<String> = lacking.map(|controller| format!("+{controller}")).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let mut current: OwnedFd = dir::open(&plan.mountpoint).sys("open", plan.mountpoint.display())?;
    for name in &plan.path {
        if dir::write(current.as_fd(), "cgroup.subtree_control", &lacking.join(" ")).is_err() {
            // One that is refused must not keep the others away.
            for controller in &lacking {
                let _ = dir::write(current.as_fd(), "cgroup.subtree_control", controller);
            }
        }
        current = dir::open_below(current.as_fd(), name).sys("open", path.display())?;
        become_usable(current.as_fd(), plan, path)?;
    }
    Ok(())
}

/// v2: below a threaded cgroup, or one with processes of its own, a new one is of no use until it is threaded too; and
/// then most controllers are not to be had (cgroup-v2.rst "Threads").
fn become_usable(fd: BorrowedFd<'_>, plan: &HierarchyPlan, path: &Path) -> Result<()> {
    let kind = dir::read(fd, "cgroup.type").unwrap_or_default();
    let kind = kind.trim_end();
    if !matches!(kind, "domain invalid" | "domain threaded" | "threaded") {
        return Ok(());
    }
    if let Some(write) = plan.writes.iter().find(|write| DOMAIN_CONTROLLERS.contains(&write.controller())) {
        let error = Error::unsupported(format!("{}: cgroup {} cannot have it", write.field, path.display()));
        return Err(error
            .cause(format!("it, or a parent, is of type \"{kind}\""))
            .remedy("choose another cgroupsPath"));
    }
    if kind == "domain invalid" {
        let _ = dir::write(fd, "cgroup.type", "threaded");
    }
    Ok(())
}
