//! What the root of a container's user namespace may not have, but the runtime may: sources of bind mounts behind closed
//! directories, and trees whose ids are mapped.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;

use crate::error::{During, Phase, Result};
use crate::host::HostProc;
use crate::namespaces::with_mounts_of;
use crate::rootfs::{HostTree, MapNamespaces, RootfsPlan};
use crate::userns::{self, UsernsPlan};

/// Makes a user namespace for each of the plan's maps, which mounts are then mapped by.
pub(crate) fn make_maps(plan: &RootfsPlan) -> Result<Vec<OwnedFd>> {
    let make = |maps: &crate::rootfs::IdMaps| {
        let ids = UsernsPlan::new(maps.uids.clone(), maps.gids.clone());
        userns::detached(&ids).within(|| format!("mounts[{}].uidMappings, gidMappings", maps.mount))
    };
    plan.id_maps.iter().map(make).collect()
}

/// What the parent fetches them with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetcher<'a> {
    pub(crate) proc: &'a HostProc,
    /// The user namespaces of the plan's list of maps.
    pub(crate) maps: &'a [OwnedFd],
}

impl Fetcher<'_> {
    /// Clones a tree of the mounts that the process `pid` sees: so it may lie in an earlier mount of the container's, keeps
    /// locked what the host has locked (ro, nodev), and what is mounted in it does not show up on the host.
    pub(crate) fn fetch(&self, pid: i32, tree: &HostTree) -> Result<OwnedFd> {
        let open = |file, flags| {
            let opened = self.proc.open_of(pid, file, flags);
            opened.map_err(|error| error.cause("it takes CAP_SYS_PTRACE")).during(Phase::Rootfs)
        };
        let mounts = open("ns/mnt", OFlags::RDONLY)?;
        let root = open("root", OFlags::PATH | OFlags::DIRECTORY)?;
        let user = open("ns/user", OFlags::RDONLY)?;
        let maps = MapNamespaces { listed: self.maps, container: Some(user.as_fd()) };
        with_mounts_of(mounts.as_fd(), root.as_fd(), || tree.open(&maps)).during(Phase::Rootfs)
    }
}
