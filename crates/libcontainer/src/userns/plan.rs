//! From `linux.uidMappings` and `gidMappings` to checked maps.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::spec::IdMapping;

/// The most lines that the kernel takes (user_namespaces(7), since Linux 4.15).
const MOST_LINES: usize = 340;

/// Both maps of a new user namespace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsernsPlan {
    /// User ids.
    pub uids: Vec<IdMapping>,
    /// Group ids.
    pub gids: Vec<IdMapping>,
}

impl UsernsPlan {
    /// Whom a user of the container is outside; `None` for one without a map.
    pub fn host_uid(&self, uid: u32) -> Option<u32> {
        let into = |range: &IdMapping| uid.checked_sub(range.container_id).filter(|offset| *offset < range.size);
        self.uids.iter().find_map(|range| into(range).map(|offset| range.host_id + offset))
    }
}

/// Plans the maps; `makes` says whether `linux.namespaces` has a new user namespace to put them on.
///
/// # Errors
/// Maps without a namespace, a namespace without maps, ranges that overlap or leave the space of ids.
pub fn plan(makes: bool, uids: &[IdMapping], gids: &[IdMapping]) -> Result<Option<UsernsPlan>> {
    let maps = [("linux.uidMappings", uids), ("linux.gidMappings", gids)];
    for (field, map) in maps {
        if !makes && !map.is_empty() {
            return Err(Error::invalid(field, "it needs a new user namespace")
                .remedy("add {\"type\": \"user\"} to linux.namespaces"));
        }
        if makes {
            check_map(field, map)?;
        }
    }
    Ok(makes.then(|| UsernsPlan { uids: uids.to_vec(), gids: gids.to_vec() }))
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
    fn maps_are_checked_by_field() {
        let one = [range(0, 1000, 10)];
        assert_eq!(plan(false, &[], &[]).expect("none"), None);
        assert!(plan(true, &one, &one).expect("valid").is_some());
        let maps = plan(true, &[range(0, 1000, 10), range(100, 5000, 1)], &one).expect("valid").expect("maps");
        assert_eq!(
            [0, 9, 10, 100, 101].map(|uid| maps.host_uid(uid)),
            [Some(1000), Some(1009), None, Some(5000), None]
        );
        for (makes, uids, text) in [
            (false, &one[..], "needs a new user namespace"),
            (true, &[][..], "linux.uidMappings: a user namespace needs 1 to 340 ranges, not 0"),
            (true, &[range(0, 5, 0)][..], "linux.uidMappings[0]: its size is 0"),
            (true, &[range(0, u32::MAX, 2)][..], "leads beyond the last id"),
            (true, &[range(0, 5, 10), range(9, 100, 1)][..], "linux.uidMappings[1]: it overlaps"),
        ] {
            let error = plan(makes, uids, if makes { &one } else { &[] }).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
