//! From `linux.uidMappings` and `gidMappings` to checked maps.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::spec::IdMapping;

/// The most lines that the kernel takes (user_namespaces(7), since Linux 4.15).
const MOST_LINES: usize = 340;

/// It takes a map in one write of less than a page.
const MOST_BYTES: usize = 4096;

/// Both maps of a user namespace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsernsPlan {
    /// User ids.
    pub uids: Vec<IdMapping>,
    /// Group ids.
    pub gids: Vec<IdMapping>,
    /// Who writes them.
    #[serde(skip_serializing_if = "Writers::is_root")]
    pub writers: Writers,
}

/// Who writes each of the maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Writers {
    /// That of user ids.
    pub uids: Writer,
    /// That of group ids.
    pub gids: Writer,
}

/// Who writes a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Writer {
    /// The runtime, as root, who may map everything.
    #[default]
    Root,
    /// The runtime, as a user who maps nothing but his own id, which needs no privilege; of groups only once nobody in the
    /// namespace can set his supplementary ones any more (user_namespaces(7), CVE-2014-8989).
    Owner,
    /// newuidmap(1) or newgidmap(1), which may map the ids that /etc/subuid and /etc/subgid give to the user.
    Helper,
}

impl Writers {
    /// Whether both are written by root.
    pub fn is_root(&self) -> bool {
        *self == Writers::default()
    }
}

impl UsernsPlan {
    /// Maps that root writes.
    pub fn new(uids: Vec<IdMapping>, gids: Vec<IdMapping>) -> UsernsPlan {
        UsernsPlan { uids, gids, writers: Writers::default() }
    }

    /// Has them written as a caller with these ids has to.
    pub fn made_by(mut self, euid: u32, egid: u32) -> UsernsPlan {
        let writer = |map: &[IdMapping], own: u32| match map {
            _ if euid == 0 => Writer::Root,
            [only] if only.size == 1 && only.host_id == own => Writer::Owner,
            _ => Writer::Helper,
        };
        self.writers = Writers { uids: writer(&self.uids, euid), gids: writer(&self.gids, egid) };
        self
    }

    /// Whom a user of the container is outside; `None` for one without a map.
    pub fn host_uid(&self, uid: u32) -> Option<u32> {
        let into = |range: &IdMapping| uid.checked_sub(range.container_id).filter(|offset| *offset < range.size);
        self.uids.iter().find_map(|range| into(range).and_then(|offset| range.host_id.checked_add(offset)))
    }
}

/// The container's user namespace.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// The runtime's own.
    Runtime,
    /// A new one, which gets its maps.
    New,
    /// One that is joined, with the maps that it has.
    Joined(&'a UsernsPlan),
}

/// Plans the maps of the container's user namespace.
///
/// # Errors
/// Maps without a namespace, a namespace without maps or with others, ranges that overlap or leave the space of ids.
pub fn plan(origin: Origin<'_>, uids: &[IdMapping], gids: &[IdMapping]) -> Result<Option<UsernsPlan>> {
    let maps = [("linux.uidMappings", uids), ("linux.gidMappings", gids)];
    match origin {
        Origin::Runtime => match maps.iter().find(|(_, map)| !map.is_empty()) {
            Some((field, _)) => Err(Error::invalid(field, "it needs a user namespace")
                .remedy("add {\"type\": \"user\"} to linux.namespaces")),
            None => Ok(None),
        },
        Origin::New => {
            maps.iter().try_for_each(|(field, map)| check_map(field, map))?;
            Ok(Some(UsernsPlan::new(uids.to_vec(), gids.to_vec())))
        }
        Origin::Joined(joined) => {
            if !uids.is_empty() || !gids.is_empty() {
                check_equal("linux.uidMappings", uids, &joined.uids)?;
                check_equal("linux.gidMappings", gids, &joined.gids)?;
            }
            Ok(Some(joined.clone()))
        }
    }
}

/// Engines give a namespace's path and its maps as well; as runc, it is refused if they are not its maps. The kernel may
/// have sorted them.
fn check_equal(field: &str, given: &[IdMapping], joined: &[IdMapping]) -> Result<()> {
    let sorted = |map: &[IdMapping]| {
        let mut map: Vec<_> = map.iter().map(|range| (range.container_id, range.host_id, range.size)).collect();
        map.sort_unstable();
        map
    };
    if sorted(given) == sorted(joined) {
        return Ok(());
    }
    let ranges = joined.iter().map(|range| format!("{} {} {}", range.container_id, range.host_id, range.size));
    let ranges = ranges.collect::<Vec<_>>().join(", ");
    Err(Error::invalid(field, format!("the user namespace that is joined has another map: {ranges}"))
        .remedy("remove linux.uidMappings and linux.gidMappings"))
}

/// A map as the kernel reads it; it must come in one write.
pub(super) fn text(map: &[IdMapping]) -> String {
    map.iter().map(|range| format!("{} {} {}\n", range.container_id, range.host_id, range.size)).collect()
}

/// Checks one map; `field` is what its user calls it.
///
/// # Errors
/// None or too many ranges, some that overlap or leave the space of ids.
pub fn check_map(field: &str, map: &[IdMapping]) -> Result<()> {
    if map.is_empty() || map.len() > MOST_LINES {
        return Err(Error::invalid(
            field,
            format!("a user namespace needs 1 to {MOST_LINES} ranges, not {}", map.len()),
        ));
    }
    if text(map).len() >= MOST_BYTES {
        let why =
            format!("its lines together have {} bytes, and the kernel takes {MOST_BYTES} less one", text(map).len());
        return Err(Error::invalid(field, why).remedy("use fewer ranges"));
    }
    for (index, range) in map.iter().enumerate() {
        let fits = |first: u32| first.checked_add(range.size).is_some();
        if range.size == 0 || !fits(range.container_id) || !fits(range.host_id) {
            return Err(Error::invalid(format!("{field}[{index}]"), "its size is 0 or leads beyond the last id"));
        }
        let overlaps = |a: u32, b: u32, size: u32| a < b.saturating_add(size) && b < a.saturating_add(range.size);
        let clash = map.iter().take(index).any(|other| {
            overlaps(range.container_id, other.container_id, other.size)
                || overlaps(range.host_id, other.host_id, other.size)
        });
        if clash {
            return Err(Error::invalid(format!("{field}[{index}]"), "it overlaps an earlier range"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn a_map_of_the_kernels_that_leads_beyond_the_last_id_leads_nowhere() {
        // As the kernel shows an id that the reader's namespace has not.
        let joined = UsernsPlan::new(vec![range(0, u32::MAX, 10)], Vec::new());
        assert_eq!([0, 1].map(|uid| joined.host_uid(uid)), [Some(u32::MAX), None]);
    }

    #[test]
    fn only_ones_own_id_is_mapped_without_help() {
        let plan =
            |uids: &[IdMapping], gids: &[IdMapping]| plan(Origin::New, uids, gids).expect("valid").expect("maps");
        let (own, group, wide) = ([range(0, 1000, 1)], [range(0, 100, 1)], [range(0, 1000, 1), range(1, 100_000, 9)]);
        let writers = |plan: UsernsPlan| (plan.writers.uids, plan.writers.gids);
        assert_eq!(writers(plan(&own, &group).made_by(1000, 100)), (Writer::Owner, Writer::Owner));
        assert_eq!(writers(plan(&wide, &group).made_by(1000, 100)), (Writer::Helper, Writer::Owner));
        assert_eq!(writers(plan(&own, &group).made_by(1000, 1000)), (Writer::Owner, Writer::Helper));
        assert_eq!(writers(plan(&wide, &wide).made_by(0, 0)), (Writer::Root, Writer::Root));
    }

    #[test]
    fn maps_are_checked_by_field() {
        let one = [range(0, 1000, 10)];
        assert_eq!(plan(Origin::Runtime, &[], &[]).expect("none"), None);
        let maps = plan(Origin::New, &[range(0, 1000, 10), range(100, 5000, 1)], &one).expect("valid").expect("maps");
        assert_eq!(
            [0, 9, 10, 100, 101].map(|uid| maps.host_uid(uid)),
            [Some(1000), Some(1009), None, Some(5000), None]
        );
        for (origin, uids, text) in [
            (Origin::Runtime, &one[..], "linux.uidMappings: it needs a user namespace"),
            (Origin::New, &[][..], "linux.uidMappings: a user namespace needs 1 to 340 ranges, not 0"),
            (Origin::New, &[range(0, 5, 0)][..], "linux.uidMappings[0]: its size is 0"),
            (Origin::New, &[range(0, u32::MAX, 2)][..], "leads beyond the last id"),
            (Origin::New, &[range(0, 5, 10), range(9, 100, 1)][..], "linux.uidMappings[1]: it overlaps"),
        ] {
            let error = plan(origin, uids, &one).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_joined_namespace_keeps_its_maps() {
        let joined = UsernsPlan::new(vec![range(0, 1000, 10), range(20, 5000, 1)], vec![range(0, 7, 1)]);
        let origin = Origin::Joined(&joined);
        assert_eq!(plan(origin, &[], &[]).expect("none given"), Some(joined.clone()));
        let (swapped, gids) = ([range(20, 5000, 1), range(0, 1000, 10)], [range(0, 7, 1)]);
        assert_eq!(plan(origin, &swapped, &gids).expect("the same"), Some(joined.clone()));
        for (uids, gids, text) in [
            (
                &swapped[..1],
                &gids[..],
                "linux.uidMappings: the user namespace that is joined has another map: 0 1000 10, ",
            ),
            (&swapped[..], &[][..], "linux.gidMappings: the user namespace that is joined has another map: 0 7 1 ("),
        ] {
            let error = plan(origin, uids, gids).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
