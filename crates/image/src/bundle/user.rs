//! Whom an image's `User` means (image-spec, config.md and conversion.md).

use std::path::Path;

use super::passwd::{find_groups, find_user, id};
use crate::error::{Error, Result};

/// A user as config.json has it, and the home that goes with it.
#[derive(Debug, PartialEq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// Resolves `user[:group]` with the image's own files.
///
/// Digits are always a number, never a name: a user that is called "4294967296" must not become its line's uid 0. The
/// supplementary groups are those that /etc/group gives a user who was named without a group, and the primary one, which
/// would else be lost when a set-group-ID program replaces it (containerd's CVE-2023-25173).
pub fn resolve(text: &str, rootfs: &Path) -> Result<Identity> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let mut identity = if is_number(user) { by_number(user, rootfs)? } else { by_name(user, rootfs)? };
    let by_name = if is_number(user) { (text.is_empty()).then_some("root") } else { Some(user) };
    if let Some(group) = group {
        identity.gid = group_id(group, rootfs)?;
    }
    identity.groups = vec![identity.gid];
    if let (Some(name), None) = (by_name, group) {
        let groups = find_groups(rootfs, |group| group.members.iter().any(|member| member == name))?;
        identity.groups.extend(groups.iter().map(|group| group.gid));
        let mut seen = std::collections::BTreeSet::new();
        identity.groups.retain(|gid| seen.insert(*gid));
    }
    Ok(identity)
}

fn is_number(text: &str) -> bool {
    text.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit())
}

fn out_of_range(what: &str, text: &str) -> Error {
    Error::invalid(format!("{what} {text:?}"), "is not a number from 0 to 4294967294")
}

fn by_number(user: &str, rootfs: &Path) -> Result<Identity> {
    let uid = id(user).ok_or_else(|| out_of_range("user", user))?;
    Ok(match find_user(rootfs, |line| line.uid == uid)? {
        Some(line) => Identity { uid, gid: line.gid, groups: Vec::new(), home: line.home },
        None => Identity { uid, gid: 0, groups: Vec::new(), home: "/".into() },
    })
}

fn by_name(user: &str, rootfs: &Path) -> Result<Identity> {
    match find_user(rootfs, |line| line.name == user)? {
        Some(line) => Ok(Identity { uid: line.uid, gid: line.gid, groups: Vec::new(), home: line.home }),
        None => Err(Error::invalid(format!("user {user:?}"), "is not in the image's /etc/passwd")
            .remedy("name another one, or its number, with --user")),
    }
}

fn group_id(group: &str, rootfs: &Path) -> Result<u32> {
    if is_number(group) {
        return id(group).ok_or_else(|| out_of_range("group", group));
    }
    let found = find_groups(rootfs, |line| line.name == group)?;
    found.first().map(|line| line.gid).ok_or_else(|| {
        Error::invalid(format!("group {group:?}"), "is not in the image's /etc/group").remedy("give its number")
    })
}
