//! How a container's process comes to be, and into which cgroup.

use rustix::io::Errno;

use crate::attributes::SchedulingPlan;
use crate::cgroups::Membership;
use crate::error::Error;
use crate::host::HostProc;
use crate::namespaces::{Kind, TimePlan};
use crate::sys::clone::{CloneArgs, Cloned, SingleThreaded, clone3};
use crate::userns;

/// How the child is cloned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth<'a> {
    /// The cgroups it is to be in.
    pub(crate) membership: &'a Membership,
    /// `CLONE_NEW*` flags that it must be born with.
    pub(crate) namespaces: u64,
    /// Whether a stage clones it.
    pub(crate) staged: bool,
    /// The CPUs that it is cloned on, and those that it runs on in its cgroups.
    pub(crate) scheduling: &'a SchedulingPlan,
    /// The time namespace that it is born into, if that is new.
    pub(crate) time: Option<(&'a TimePlan, &'a HostProc)>,
}

/// Where the child is, as to its v2 cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It was born there, or there is none.
    Inside,
    /// It has to join by itself.
    Outside,
    /// systemd has to fetch it: a user may not move a process out of a cgroup that is not his, such as a login session's.
    Fetched,
}

/// Clones the process into its v2 cgroup; where the kernel cannot (before Linux 5.7) or will not (threaded cgroups), beside
/// it, and where the user may not, beside it as well if there is a systemd who may.
pub(super) fn clone_into(proof: &SingleThreaded, birth: Birth<'_>) -> Result<(Cloned, Place), Errno> {
    let args = CloneArgs { namespaces: birth.namespaces, sibling: false, cgroup: birth.membership.v2() };
    let beside = |place: Place| clone3(proof, CloneArgs { cgroup: None, ..args }).map(|cloned| (cloned, place));
    match clone3(proof, args) {
        Err(Errno::TOOBIG | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BUSY) if args.cgroup.is_some() => {
            beside(Place::Outside)
        }
        Err(Errno::ACCESS) if birth.membership.can_fetch() => beside(Place::Fetched),
        cloned => cloned.map(|cloned| (cloned, if args.cgroup.is_some() { Place::Inside } else { Place::Outside })),
    }
}

pub(super) fn clone_error(birth: Birth<'_>, errno: Errno) -> Error {
    let error = Error::system("clone3", "the container's process", errno);
    match errno {
        Errno::ACCESS if birth.membership.v2().is_some() => error
            .cause("this user may not move a process from the runtime's cgroup into the container's")
            .remedy("use --systemd-cgroup, or run it in a cgroup beside that one (systemd-run --user --scope creel …)"),
        _ if birth.namespaces & Kind::User.flag() != 0 => userns::explain(error),
        Errno::PERM if birth.namespaces != 0 => error
            .cause("making namespaces needs CAP_SYS_ADMIN, which root of an outer container may lack")
            .remedy("have a user namespace of the container's own: creel spec --rootless"),
        _ => error,
    }
}
