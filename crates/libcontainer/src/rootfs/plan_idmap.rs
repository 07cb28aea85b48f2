//! Which mounts are id-mapped, and by which maps (config.md "Mounts": `uidMappings`, `gidMappings`, `idmap`, `ridmap`).

use serde::Serialize;

use super::options::Options;
use super::plan::RootfsInput;
use crate::error::{Error, Kind, Result};
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

/// User ids and group ids.
type Both = (Vec<IdMapping>, Vec<IdMapping>);

/// Plans the mapping of one mount; maps of its own go into `listed`. As in runc, maps without an option mean `idmap`.
pub(super) fn plan(
    input: &RootfsInput,
    index: usize,
    mount: &Mount,
    options: &Options,
    listed: &mut Vec<IdMaps>,
) -> Result<Option<Idmap>> {
    let container = input.spec.linux.as_ref().map(|linux| (linux.uid_mappings.clone(), linux.gid_mappings.clone()));
    let container = container.unwrap_or_default();
    let (uids, gids) = match &options.maps {
        Some(text) if mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty() => {
            parse(text, &container).map_err(|error| error.within(format!("mounts[{index}].options")))?
        }
        _ => (mount.uid_mappings.clone(), mount.gid_mappings.clone()),
    };
    let missing = (uids.is_empty(), gids.is_empty());
    let Some(recursive) = options.idmap.or((missing != (true, true)).then_some(false)) else { return Ok(None) };
    if options.bind.is_none() || options.remount {
        return Err(Error::invalid(format!("mounts[{index}]"), "only a bind mount can be id-mapped")
            .remedy("remove idmap, ridmap, uidMappings and gidMappings from it, or add the option bind or rbind"));
    }
    let maps = match missing {
        // Engines repeat the container's maps, which need not be made once more.
        (false, false) if input.own_user_namespace && (&uids, &gids) == (&container.0, &container.1) => Maps::Container,
        (false, false) => Maps::Listed(list(IdMaps { mount: index, uids, gids }, listed)),
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
fn list(maps: IdMaps, listed: &mut Vec<IdMaps>) -> u32 {
    let equal = |other: &IdMaps| (&maps.uids, &maps.gids) == (&other.uids, &other.gids);
    let place = listed.iter().position(equal).unwrap_or(listed.len());
    if place == listed.len() {
        listed.push(maps);
    }
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// crun's form, which podman's users write: `uids=0-1000-10#10-5000-1;gids=@0-0-10`, from the file system's id to the host's
/// and how many; with `@` to the container's, which the host knows by the container's own maps.
fn parse(text: &str, container: &Both) -> Result<Both> {
    let mut both = Both::default();
    for part in text.split(';') {
        let (ranges, into, container) = match part.split_once('=') {
            Some(("uids", ranges)) => (ranges, &mut both.0, &container.0),
            Some(("gids", ranges)) => (ranges, &mut both.1, &container.1),
            _ => return Err(malformed(part)),
        };
        for range in ranges.split('#') {
            into.push(parse_range(range, container)?);
        }
    }
    Ok(both)
}

fn parse_range(text: &str, container: &[IdMapping]) -> Result<IdMapping> {
    let relative = text.strip_prefix('@');
    let numbers: Option<Vec<u32>> = relative.unwrap_or(text).split('-').map(|number| number.parse().ok()).collect();
    let Some(&[container_id, host_id, size]) = numbers.as_deref() else { return Err(malformed(text)) };
    if relative.is_none() {
        return Ok(IdMapping { container_id, host_id, size });
    }
    let inside = |map: &IdMapping| host_id.checked_sub(map.container_id).filter(|offset| *offset < map.size);
    let outside = container.iter().find_map(|map| inside(map).and_then(|offset| map.host_id.checked_add(offset)));
    outside.map(|host_id| IdMapping { container_id, host_id, size }).ok_or_else(|| {
        let why =
            format!("\"{text}\" is relative, and {host_id} is not in the maps of linux.uidMappings or gidMappings");
        Error::new(Kind::Invalid, why)
    })
}

fn malformed(text: &str) -> Error {
    Error::new(Kind::Invalid, format!("\"{text}\" is no range of ids")).remedy(
        "write idmap=uids=0-1000-10;gids=0-1000-10: the file system's id, the host's, and how many; # between ranges",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn the_form_of_crun_is_read() {
        let container = (vec![range(0, 1000, 1), range(1, 100_000, 50)], vec![range(0, 7, 9)]);
        let both = parse("uids=0-1-10#@10-11-20;gids=@0-3-2", &container).expect("maps");
        assert_eq!(both, (vec![range(0, 1, 10), range(10, 100_010, 20)], vec![range(0, 10, 2)]));
        for (text, wanted) in [
            ("", "\"\" is no range of ids (write idmap=uids="),
            ("uids=0-1", "\"0-1\" is no range"),
            ("uids=0-1-x", "\"0-1-x\" is no range"),
            ("ids=0-1-2", "\"ids=0-1-2\" is no range"),
            ("uids=0-1-2;gids=@0-9-1", "\"@0-9-1\" is relative, and 9 is not in the maps"),
        ] {
            let error = parse(text, &container).expect_err(text).to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
