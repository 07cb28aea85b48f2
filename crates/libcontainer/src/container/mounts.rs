//! Mounts of a container that lives, added and taken away; crun's `mounts`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::OFlags;

use super::report::Status;
use super::state::State;
use super::{Store, require_state};
use crate::error::{During, Error, Kind, Phase, Result};
use crate::host::{CgroupFacts, HostProc, ProcessFacts};
use crate::namespaces::{self, with_mounts_of};
use crate::paths::{Root, clean};
use crate::process::sealed_exe::Sealed;
use crate::process::sources;
use crate::rootfs::{self, LiveMounts, MapNamespaces, RootfsInput, RootfsPlan};
use crate::spec::Mount;

/// Mounts what config.json would have had in `mounts`; all of it or nothing. Gives warnings.
///
/// # Errors
/// [`Kind::WrongState`] if the container does not live, or has the host's mounts; with the mount's place in the list for one
/// that cannot be.
pub fn add_mounts(store: &Store, id: &str, mounts: Vec<Mount>, _: Sealed) -> Result<Vec<String>> {
    let entry = store.open_locked(id)?;
    let state = require_state(&entry, id)?;
    let place = Place::of(&state)?;
    let plan = plan(&state, mounts)?;
    let maps = sources::make_maps(&plan)?;
    let container = state.namespaces.has(namespaces::Kind::User).then_some(place.user.as_fd());
    let mounts = LiveMounts::open(&plan, &MapNamespaces { listed: &maps, container }).during(Phase::Rootfs)?;
    place.within(|root| mounts.attach(root))?;
    Ok(plan.warnings)
}

/// Takes away what is mounted at each destination, in order.
///
/// # Errors
/// [`Kind::WrongState`] if the container does not live, or has the host's mounts; for the first that is no mount.
pub fn remove_mounts(store: &Store, id: &str, mounts: &[Mount], _: Sealed) -> Result<()> {
    let entry = store.open_locked(id)?;
    let state = require_state(&entry, id)?;
    Place::of(&state)?.within(|root| {
        mounts.iter().enumerate().try_for_each(|(index, mount)| {
            let field = || format!("mounts[{index}].destination");
            let destination = clean(&mount.destination);
            if destination == Path::new("/") {
                return Err(Error::invalid(field(), format!("\"{}\" is the root itself", mount.destination)));
            }
            rootfs::detach(root, &destination).within(field)
        })
    })
}

fn plan(state: &State, mounts: Vec<Mount>) -> Result<RootfsPlan> {
    let mut spec = state.spec()?;
    spec.mounts = mounts;
    let process = ProcessFacts::gather()?;
    rootfs::plan(&RootfsInput {
        spec: &spec,
        bundle: &state.bundle,
        no_pivot: false,
        own_mount_namespace: true,
        own_user_namespace: state.namespaces.has(namespaces::Kind::User),
        own_network_namespace: state.namespaces.has(namespaces::Kind::Network),
        rootless: process.is_rootless(),
        cgroup_namespace: state.namespaces.has(namespaces::Kind::Cgroup),
        terminal: false,
        selinux: process.selinux,
        cgroups: &CgroupFacts::default(),
        cgroup_dirs: &Default::default(),
    })
}

/// A container's mount namespace and root, and its user namespace.
struct Place {
    mounts: OwnedFd,
    root: OwnedFd,
    user: OwnedFd,
}

impl Place {
    fn of(state: &State) -> Result<Place> {
        let refuse = |why: &str| Error::new(Kind::WrongState, why).during(Phase::Rootfs);
        if matches!(state.status()?, Status::Stopped | Status::Creating) {
            return Err(refuse("container not running"));
        }
        if !state.namespaces.has(namespaces::Kind::Mount) {
            return Err(refuse("the container has no mount namespace of its own"));
        }
        let proc = HostProc::open().during(Phase::Rootfs)?;
        let pid = state.init.map_or(0, |init| init.pid);
        let open = |file, flags| proc.open_of(pid, file, flags).during(Phase::Rootfs);
        let place = Place {
            mounts: open("ns/mnt", OFlags::RDONLY)?,
            root: open("root", OFlags::PATH | OFlags::DIRECTORY)?,
            user: open("ns/user", OFlags::RDONLY)?,
        };
        // What was opened by its pid is init's only if init is still there.
        state.open_init()?.map(|_| place).ok_or_else(|| refuse("container not running"))
    }

    fn within<T>(&self, body: impl FnOnce(&Root) -> Result<T>) -> Result<T> {
        with_mounts_of(self.mounts.as_fd(), self.root.as_fd(), || body(&Root::open(Path::new("/"))?))
            .during(Phase::Rootfs)
    }
}
