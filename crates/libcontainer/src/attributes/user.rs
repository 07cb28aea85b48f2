//! What the container's own /etc/passwd says of a user.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustix::fs::{CWD, OFlags, ResolveFlags};

use crate::paths::open_within;

/// A passwd file beyond this is not read further (CVE-2026-47262: unbounded group files).
const LARGEST_PASSWD: u64 = 1 << 20;

/// The home directory of `uid` in this process's /etc/passwd; `/` where it is not told.
///
/// The file belongs to the container: it is opened without leaving its root (/proc/self/fd leads out) or waiting for a
/// FIFO, and only read if it is a regular file.
pub fn home_of(uid: u32) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let Ok(fd) = open_within(CWD, Path::new("/etc/passwd"), flags, inside) else {
        return "/".to_owned();
    };
    let file = File::from(fd);
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return "/".to_owned();
    }
    let lines = BufReader::new(file.take(LARGEST_PASSWD)).lines().map_while(Result::ok);
    find_home(lines, uid).unwrap_or_else(|| "/".to_owned())
}

/// passwd(5): `name:password:uid:gid:gecos:home:shell`.
fn find_home(lines: impl Iterator<Item = String>, uid: u32) -> Option<String> {
    lines
        .filter(|line| line.split(':').nth(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid))
        .find_map(|line| line.split(':').nth(5).map(str::to_owned))
        .filter(|home| !home.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_the_first_entry_of_that_uid() {
        let lines = ["root:x:0:0::/root:/bin/sh", "4294967296:x:5:5::/five:", "bad", "a:x:5:5::/other:"];
        let find = |uid| find_home(lines.iter().map(|line| (*line).to_owned()), uid);
        assert_eq!(find(0).as_deref(), Some("/root"));
        assert_eq!(find(5).as_deref(), Some("/five"));
        assert_eq!(find(6), None);
    }
}
