//! Which mounts are id-mapped, and by which maps (config.md "Mounts": `uidMappings`, `gidMappings`, `idmap`, `ridmap`).

use serde::Serialize;

use super::options::Options;
use super::plan::RootfsInput;
use crate::error::{Error, Result};
use crate::spec::{IdMapping, Mount};

/// How the owners of files are seen through one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Idmap {
    /// On what is mounted below it as well.
    pub recursive: bool,
    /// By which maps.
    pub maps: Maps,
}

/// The maps of an id-mapped mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Maps {
    /// Those of the container's user namespace.
    Container,
    /// Its own: this one of the plan's list, in which equal ones are once.
    Listed(u32),
}

/// Maps of a mount's own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdMaps {
    /// The first mount that they are given for, for messages.
    pub mount: usize,
    /// From the file system's user ids to those that are seen.
    pub uids: Vec<IdMapping>,
    /// The same of group ids.
    pub gids: Vec<IdMapping>,
}

/// Plans the mapping of one mount; maps of its own go into `listed`. As in runc, maps without an option mean `idmap`.
pub(super) fn plan(
    input: &RootfsInput,
    index: usize,
    mount: &Mount,
    options: &Options,
    listed: &mut Vec<IdMaps>,
) -> Result<Option<Idmap>> {
    let missing = (mount.uid_mappings.is_empty(), mount.gid_mappings.is_empty());
    let Some(recursive) = options.idmap.or((missing != (true, true)).then_some(false)) else { return Ok(None) };
    if options.bind.is_none() || options.remount {
        return Err(Error::invalid(format!("mounts[{index}]"), "only a bind mount can be id-mapped")
            .remedy("remove idmap, ridmap, uidMappings and gidMappings from it, or add the option bind or rbind"));
    }
    let maps = match missing {
        (false, false) => Maps::Listed(list(index, mount, listed)),
        (true, true) if input.own_user_namespace => Maps::Container,
        (no_uids, _) => {
            let field = if no_uids { "uidMappings" } else { "gidMappings" };
            return Err(Error::invalid(format!("mounts[{index}].{field}"), "is missing: the mount is to be id-mapped")
                .remedy("give both uidMappings and gidMappings, or neither and the container a user namespace"));
        }
    };
    Ok(Some(Idmap { recursive, maps }))
}

/// Where these maps are in the list, at the end if they are new.
fn list(index: usize, mount: &Mount, listed: &mut Vec<IdMaps>) -> u32 {
    let equal = |maps: &IdMaps| maps.uids == mount.uid_mappings && maps.gids == mount.gid_mappings;
    let place = listed.iter().position(equal).unwrap_or(listed.len());
    if place == listed.len() {
        listed.push(IdMaps { mount: index, uids: mount.uid_mappings.clone(), gids: mount.gid_mappings.clone() });
    }
    u32::try_from(place).unwrap_or(u32::MAX)
}
