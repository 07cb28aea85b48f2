//! A user's own user namespace, in which images have all their owners although nobody is root.
//!
//! Inside, 0 is the user, and 1 and up are the ids that /etc/subuid and /etc/subgid give him; newuidmap(1) and newgidmap(1),
//! which are set-user-ID, write such maps. Without them 0 alone is mapped.
//!
//! What is made of an image belongs to ids of these ranges; so everything that touches it (gc, the removal of a bundle)
//! goes into such a namespace again, and each process has its own: the maps are the same.

mod enter;
mod ranges;

use serde::{Deserialize, Serialize};

pub use enter::{Entered, enter, write_maps};

use crate::error::{Error, Result};

/// Consecutive ids, as a line of `/proc/PID/uid_map` and an object of config.json's `uidMappings` have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first, inside.
    #[serde(rename = "containerID")]
    pub inside: u32,
    /// What it is outside.
    #[serde(rename = "hostID")]
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// Which ids a user namespace has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Maps {
    /// Users.
    pub uids: Vec<Range>,
    /// Groups.
    pub gids: Vec<Range>,
}

impl Maps {
    /// Those of this process; none if its namespace is that of the machine.
    pub fn of_this_process() -> Option<Maps> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let maps = Maps { uids: parse_lines(&read("uid_map")), gids: parse_lines(&read("gid_map")) };
        let machine = [Range { inside: 0, outside: 0, size: u32::MAX }];
        (maps.uids != machine && !maps.uids.is_empty()).then_some(maps)
    }

    /// Whether there are ids beside one.
    pub fn has_others(&self) -> bool {
        let many = |ranges: &[Range]| ranges.iter().map(|range| u64::from(range.size)).sum::<u64>() > 1;
        many(&self.uids) && many(&self.gids)
    }

    /// Maps for a namespace within this one, with the same ids. A range may not span two of the outer ones
    /// (user_namespaces(7)).
    pub fn nested(&self) -> Maps {
        let nested = |ranges: &[Range]| ranges.iter().map(|range| Range { outside: range.inside, ..*range }).collect();
        Maps { uids: nested(&self.uids), gids: nested(&self.gids) }
    }

    /// A user inside, outside.
    pub fn uid(&self, inside: u32) -> Result<u32> {
        outside(&self.uids, inside).ok_or_else(|| unmapped("user", inside))
    }

    /// A group inside, outside.
    pub fn gid(&self, inside: u32) -> Result<u32> {
        outside(&self.gids, inside).ok_or_else(|| unmapped("group", inside))
    }

    /// Fails if an id means two things, or none.
    pub fn check(&self) -> Result<()> {
        for (ranges, what) in [(&self.uids, "user"), (&self.gids, "group")] {
            let wrong = |why: &str| Err(Error::invalid(format!("the {what} ids' map"), why));
            for (number, range) in ranges.iter().enumerate() {
                let ends = |first: u32| u64::from(first) + u64::from(range.size);
                // The last number means "no id".
                if range.size == 0 || ends(range.inside) > u32::MAX.into() || ends(range.outside) > u32::MAX.into() {
                    return wrong("has a range that is empty, or goes beyond 4294967294");
                }
                let overlaps =
                    |a: u32, b: u32, size: u32| u64::from(a) < u64::from(b) + u64::from(size) && u64::from(b) < ends(a);
                let before = &ranges[..number];
                if before.iter().any(|it| {
                    overlaps(range.inside, it.inside, it.size) || overlaps(range.outside, it.outside, it.size)
                }) {
                    return wrong("has ranges that overlap");
                }
            }
            if outside(ranges, 0).is_none() {
                return wrong("does not have 0, which the container's root needs");
            }
        }
        Ok(())
    }
}

/// A range as a user writes it: `INSIDE:OUTSIDE:SIZE`.
pub fn parse_range(text: &str) -> Result<Range> {
    let numbers: Option<Vec<u32>> = text.split(':').map(number).collect();
    match numbers.as_deref() {
        Some(&[inside, outside, size]) => Ok(Range { inside, outside, size }),
        _ => Err(Error::invalid(format!("{text:?}"), "is not INSIDE:OUTSIDE:SIZE, such as 0:100000:65536")),
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn parse_lines(text: &str) -> Vec<Range> {
    let line = |line: &str| match line.split_ascii_whitespace().map(number).collect::<Option<Vec<_>>>().as_deref() {
        Some(&[inside, outside, size]) => Some(Range { inside, outside, size }),
        _ => None,
    };
    text.lines().filter_map(line).collect()
}

fn outside(ranges: &[Range], inside: u32) -> Option<u32> {
    let range = ranges.iter().find(|range| inside >= range.inside && inside - range.inside < range.size)?;
    Some(range.outside + (inside - range.inside))
}

fn unmapped(what: &str, id: u32) -> Error {
    Error::invalid(format!("{what} {id}"), "is not mapped into the container's user namespace").remedy(
        "map more ids: give yourself a range in /etc/subuid and /etc/subgid, or name one with --uidmap and --gidmap",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, size: u32) -> Range {
        Range { inside, outside, size }
    }

    #[test]
    fn ids_go_out_and_what_is_not_mapped_is_told() {
        let ids = vec![range(0, 1000, 1), range(1, 100_000, 65_535)];
        let maps = Maps { uids: ids.clone(), gids: ids };
        assert_eq!((maps.uid(0), maps.uid(1), maps.gid(65_535)), (Ok(1000), Ok(100_000), Ok(165_534)));
        assert!(maps.uid(65_536).is_err_and(|error| error.to_string().contains("/etc/subuid")));
        assert!(maps.has_others() && maps.check().is_ok());
        assert_eq!(maps.nested().uids, [range(0, 0, 1), range(1, 1, 65_535)]);
        assert_eq!(parse_lines("         0       1000          1\n         1     100000      65535\n"), maps.uids);
    }

    #[test]
    fn maps_that_mean_nothing_are_refused() {
        assert_eq!(parse_range("0:100000:65536"), Ok(range(0, 100_000, 65_536)));
        for text in ["", "0", "0:1", "0:1:2:3", "-0:1:2", "0:+1:2", "0:4294967296:1", "a:b:c", "0:1: 2"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
        for ids in [
            vec![],
            vec![range(0, 0, 0)],
            vec![range(1, 1, 5)],
            vec![range(0, 10, 10), range(5, 50, 10)],
            vec![range(0, 10, 10), range(10, 15, 10)],
            vec![range(0, u32::MAX - 1, 2)],
        ] {
            let maps = Maps { uids: ids.clone(), gids: vec![range(0, 0, 1)] };
            assert!(maps.check().is_err(), "{ids:?}");
        }
    }
}
