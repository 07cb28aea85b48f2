//! Writing the maps, and becoming the root that they make.

use rustix::process::{Gid, Uid};

use super::helper::{self, Ids};
use super::obstacles;
use super::plan::{UsernsPlan, Writer, text};
use crate::error::{During, Phase, Result, SysContext};
use crate::host::HostProc;
use crate::spec::IdMapping;

/// Writes the maps of a process that was born in a new user namespace; done by its parent, which may.
///
/// # Errors
/// As user_namespaces(7) says; without CAP_SETUID only the caller's own id can be mapped.
pub fn write_maps(plan: &UsernsPlan, pid: i32, proc: &HostProc) -> Result<()> {
    write_map(&plan.uids, plan.writers.uids, Ids::Users, pid, proc).during(Phase::Namespaces)?;
    write_map(&plan.gids, plan.writers.gids, Ids::Groups, pid, proc).during(Phase::Namespaces)
}

fn write_map(map: &[IdMapping], writer: Writer, ids: Ids, pid: i32, proc: &HostProc) -> Result<()> {
    let write = || proc.write_of(pid, ids.file(), &text(map));
    match writer {
        Writer::Root => write().map_err(|error| error.cause(WHY_NOT)),
        Writer::Owner if ids == Ids::Groups => {
            proc.write_of(pid, "setgroups", "deny").and_then(|()| write()).map_err(obstacles::explain)
        }
        Writer::Owner => write().map_err(obstacles::explain),
        Writer::Helper => helper::map(map, ids, pid),
    }
}

/// Why root may not either; the latter in a user namespace.
const WHY_NOT: &str = "mapping ids other than one's own needs CAP_SETUID and CAP_SETGID, and each range must lie within \
                       one range of the runtime's own user namespace";

/// Becomes root of the user namespace; what this process makes from here on belongs to that root.
pub fn become_root() -> Result<()> {
    let set_ids = || {
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).sys("setresgid", "0")?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).sys("setresuid", "0")
    };
    set_ids()
        .map_err(|error| error.remedy("map container id 0 in linux.uidMappings and linux.gidMappings"))
        .during(Phase::Namespaces)
}
