//! Writing the maps, and becoming the root that they make.

use rustix::process::{Gid, Uid};

use super::plan::{UsernsPlan, text};
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::host::HostProc;

/// Writes the maps of a process that was born in a new user namespace; done by its parent, which may.
///
/// # Errors
/// As user_namespaces(7) says; without CAP_SETUID only the caller's own id can be mapped.
pub fn write_maps(plan: &UsernsPlan, pid: i32, proc: &HostProc) -> Result<()> {
    let explain = |error: Error| {
        error.during(Phase::Namespaces).cause("mapping ids other than one's own needs CAP_SETUID and CAP_SETGID")
    };
    proc.write_of(pid, "uid_map", &text(&plan.uids)).map_err(explain)?;
    proc.write_of(pid, "gid_map", &text(&plan.gids)).map_err(explain)
}

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
