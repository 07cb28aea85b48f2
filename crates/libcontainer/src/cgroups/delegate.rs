//! Handing a v2 cgroup over to the container's user, who may then divide it further (cgroup-v2.rst "Delegation").

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Uid, chownat};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Result, SysContext};
use crate::host::read_file;

use super::controllers::pass_controllers_on;
use super::create::{Made, make};
use super::{HierarchyPlan, dir};

/// Where the kernel says which files go with the directory; since Linux 4.15.
const LIST: &str = "/sys/kernel/cgroup/delegate";

/// Those of them that every kernel has (config-linux.md "Cgroup ownership").
const ALWAYS: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Makes a sub-cgroup, moves a container's first process from the cgroup above into it, and hands it over. That process
/// keeps the cgroup above as the root of its cgroup namespace.
pub(super) fn enter(plan: &HierarchyPlan, pid: Pid) -> Result<()> {
    let path = plan.dir();
    let mut made = Made::default();
    make(plan, &path, &mut made)?;
    let directory = dir::open(&path).sys("open", path.display())?;
    let fd = directory.as_fd();
    dir::write(fd, dir::PROCESSES, &pid.as_raw_pid().to_string()).sys("write", path.join(dir::PROCESSES).display())?;
    // From here on the container's removal takes it along.
    made.keep();
    // Not before: what passes controllers on may have no processes.
    pass_controllers_on(plan, fd, &path)?;
    plan.owner.map_or(Ok(()), |uid| to_user(fd, &path, uid))
}

/// Makes `uid` the owner of the directory and of what belongs to its delegation. The limits' own files stay root's.
pub(super) fn to_user(directory: BorrowedFd<'_>, path: &Path, uid: u32) -> Result<()> {
    let owner = Some(Uid::from_raw(uid));
    let listed = read_file(LIST).ok().and_then(|text| String::from_utf8(text).ok());
    let files = listed.as_deref().unwrap_or(ALWAYS);
    chownat(directory, c"", owner, None, AtFlags::EMPTY_PATH).sys("fchownat", path.display())?;
    for file in files.lines() {
        match chownat(directory, file, owner, None, AtFlags::SYMLINK_NOFOLLOW) {
            // Of a controller that this cgroup does not have.
            Err(Errno::NOENT) => {}
            done => done.sys("fchownat", path.join(file).display())?,
        }
    }
    Ok(())
}
