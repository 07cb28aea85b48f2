//! /etc/passwd and /etc/group of an image: read through descriptors beneath its root, and never more than is decent.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use crate::error::{Error, Result, SysContext};
use crate::snapshot::open_dir;

/// The largest file that is read, by lines; an image may have one of 4 GiB (containerd's CVE-2023-25153).
const MOST: u64 = 16 << 20;
/// The longest line; a group's is 64 KiB with thousands of members.
const LONGEST: u64 = 1 << 20;

/// A line of /etc/passwd.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

/// A line of /etc/group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// The first user that `wanted` takes.
pub fn find_user(rootfs: &Path, wanted: impl Fn(&User) -> bool) -> Result<Option<User>> {
    let mut found = None;
    each_line(rootfs, "etc/passwd", |line| {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, uid, gid, _, home, ..] = fields[..]
            && let (Some(uid), Some(gid)) = (id(uid), id(gid))
        {
            let user = User { name: name.to_owned(), uid, gid, home: home.to_owned() };
            if found.is_none() && wanted(&user) {
                found = Some(user);
            }
        }
    })?;
    Ok(found)
}

/// Every group that `wanted` takes.
pub fn find_groups(rootfs: &Path, wanted: impl Fn(&Group) -> bool) -> Result<Vec<Group>> {
    let mut found = Vec::new();
    each_line(rootfs, "etc/group", |line| {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, gid, members, ..] = fields[..]
            && let Some(gid) = id(gid)
        {
            let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
            let group = Group { name: name.to_owned(), gid, members };
            if wanted(&group) {
                found.push(group);
            }
        }
    })?;
    Ok(found)
}

/// A number of decimal digits that is an id: not -1, and nothing that would wrap (CVE-2024-40635).
pub fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

fn each_line(rootfs: &Path, name: &str, mut take: impl FnMut(&str)) -> Result<()> {
    let Some(file) = open(rootfs, name)? else { return Ok(()) };
    let mut reader = BufReader::new(file.take(MOST + 1));
    let (mut line, mut read) = (Vec::new(), 0);
    loop {
        line.clear();
        let length = (&mut reader).take(LONGEST).read_until(b'\n', &mut line).sys("read", name)? as u64;
        read += length;
        if length == 0 {
            return Ok(());
        }
        if read > MOST || length == LONGEST {
            return Err(Error::corrupt(format!("the image's /{name}"), "is too large, or has a line that is"));
        }
        if let Ok(line) = str::from_utf8(&line) {
            take(line.trim_end_matches('\n'));
        }
    }
}

/// The image chooses the symlinks; they end at its root. Nothing but a regular file is read.
fn open(rootfs: &Path, name: &str) -> Result<Option<File>> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let root = open_dir(rootfs)?;
    // Looked at before it is opened: to open a device can do things.
    let look = match openat2(&root, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        look => look.sys("openat2", name)?,
    };
    if FileType::from_raw_mode(fstat(&look).sys("fstat", name)?.st_mode) != FileType::RegularFile {
        return Err(Error::corrupt(format!("the image's /{name}"), "is no regular file"));
    }
    let file = openat2(&root, name, flags, Mode::empty(), resolve).sys("openat2", name)?;
    Ok(Some(File::from(file)))
}
