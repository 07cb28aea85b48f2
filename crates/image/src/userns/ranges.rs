//! The ids that a user may map, beside his own: /etc/subuid and /etc/subgid (subuid(5)).

use std::path::Path;

use super::{Maps, Range};

/// More lines than the kernel takes in a map (user_namespaces(7)).
const MOST: usize = 340;

/// Maps with the user's ids as 0, and those of his ranges as 1 and up; nothing if there are no ranges of both kinds.
pub fn of_user(uid: u32, gid: u32) -> Option<Maps> {
    let name = name_of(uid, &read("/etc/passwd")).or_else(|| std::env::var("USER").ok());
    let ranges = |file: &str, own: u32| above(own, &parse(&read(file), name.as_deref(), uid));
    let maps = Maps { uids: ranges("/etc/subuid", uid), gids: ranges("/etc/subgid", gid) };
    (maps.uids.len() > 1 && maps.gids.len() > 1).then_some(maps)
}

/// Only the user himself.
pub fn alone(uid: u32, gid: u32) -> Maps {
    Maps { uids: above(uid, &[]), gids: above(gid, &[]) }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut own = fields.filter(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(uid));
    own.next().and_then(|fields| fields.first().map(|name| (*name).to_owned()))
}

/// The ranges of a user, by his name or his number; lines that say something else are not his.
fn parse(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        let his = Some(owner) == name || owner.parse() == Ok(uid);
        (his && count > 0 && u32::checked_add(first, count).is_some()).then_some((first, count))
    };
    text.lines().filter_map(line).take(MOST - 1).collect()
}

fn above(own: u32, ranges: &[(u32, u32)]) -> Vec<Range> {
    let mut maps = vec![Range { inside: 0, outside: own, size: 1 }];
    let mut next = 1_u32;
    for &(outside, size) in ranges {
        let Some(end) = next.checked_add(size) else { break };
        maps.push(Range { inside: next, outside, size });
        next = end;
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_user_and_follow_each_other() {
        let text = "other:1:9\nme:100000:65536\n# me:5:5\nme:x:1\nme:7:0\n1000:300000:10\nme:4294967295:2\nme:9\n";
        let ranges = parse(text, Some("me"), 1000);
        assert_eq!(ranges, [(100_000, 65_536), (300_000, 10)]);
        let maps = above(1000, &ranges);
        let wanted = [(0, 1000, 1), (1, 100_000, 65_536), (65_537, 300_000, 10)];
        assert_eq!(maps.iter().map(|it| (it.inside, it.outside, it.size)).collect::<Vec<_>>(), wanted);
        assert!(parse(text, None, 1001).is_empty());
        assert_eq!(name_of(1000, "root:x:0:0::/:\nme:x:1000:5::/:\n"), Some("me".into()));
    }
}
