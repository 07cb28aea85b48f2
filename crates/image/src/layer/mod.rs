//! Unpacking a layer: from compressed bytes to a directory that overlayfs can take as a lower one.
//!
//! One pass: a thread inflates, and the caller's thread computes the diff id and writes, so that neither waits for the
//! other. Nothing is held but a few buffers and the descriptors of the directories on the way to the current member.
//!
//! A layer is unpacked alone, without the layers below it; whiteouts become overlayfs's. So layers can be unpacked in
//! parallel, and shared by all images that have them. What an archive leaves out about directories is told in
//! [`Unpacked::implied`], for the one who puts layers together.

mod apply;
mod attributes;
mod decompress;
mod links;
mod overlay;
mod pipeline;
mod place;
pub mod tar;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
mod whiteout;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

pub use decompress::open as decompress;
pub use overlay::{Marks, is_private as is_private_xattr, is_whiteout};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::Compression;
use crate::userns::Maps;

/// What unpacking may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privilege {
    /// Files may be given to any owner; else they belong to who unpacks.
    pub owners: bool,
    /// How overlayfs's marks are written.
    pub marks: Marks,
}

impl Privilege {
    /// What this process may: root of the machine, root of a user namespace, or a user.
    pub fn of_this_process() -> Privilege {
        let root = rustix::process::geteuid().is_root();
        match Maps::of_this_process() {
            None => Privilege { owners: root, marks: if root { Marks::Trusted } else { Marks::User } },
            Some(maps) => Privilege { owners: root && maps.has_others(), marks: Marks::User },
        }
    }
}

/// What of a layer could not be had with this privilege, or is never taken from an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Omitted {
    /// Files that belong to whoever unpacked them instead of their owner.
    pub owners: u64,
    /// Devices that could not be made.
    pub devices: u64,
    /// Extended attributes that could not be set, and how often.
    pub xattrs: BTreeMap<String, u64>,
}

impl Omitted {
    /// Whether the layer is whole.
    pub fn is_empty(&self) -> bool {
        *self == Omitted::default()
    }

    fn xattr(&mut self, name: &[u8]) {
        const MOST_NAMES: usize = 32;
        let name = String::from_utf8_lossy(&name[..name.len().min(255)]).into_owned();
        if self.xattrs.len() < MOST_NAMES || self.xattrs.contains_key(&name) {
            *self.xattrs.entry(name).or_default() += 1;
        }
    }
}

impl std::fmt::Display for Omitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if self.owners > 0 {
            parts.push(format!("{} files kept your ids instead of the image's", self.owners));
        }
        if self.devices > 0 {
            parts.push(format!("{} devices could not be made", self.devices));
        }
        parts.extend(self.xattrs.iter().map(|(name, count)| format!("{name} of {count} files was not set")));
        write!(f, "not all of the image could be had: {}", parts.join(", "))?;
        if self.owners > 0 {
            write!(
                f,
                " (to have its ids, give yourself a range in /etc/subuid and /etc/subgid, and use another store)"
            )?;
        }
        Ok(())
    }
}

/// What came of unpacking a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Unpacked {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The bytes of the uncompressed archive.
    pub size: u64,
    /// The members that were unpacked, whiteouts included.
    pub members: u64,
    /// Directories that the archive uses and does not describe, `""` for the root. What they look like is up to the
    /// layers below; here they are root's, 0755, of 1970.
    pub implied: BTreeSet<Vec<u8>>,
    /// Directories in which there is a whiteout.
    pub whited: BTreeSet<Vec<u8>>,
    /// The layer hides all layers below it.
    pub opaque_root: bool,
    /// What could not be had.
    pub omitted: Omitted,
}

/// Unpacks the layer that `blob` gives, compressed as `compression` says, into the empty directory `target`.
///
/// `blob` is read to its end in any case of success, so that who checks its digest has seen all of it. The caller
/// compares [`Unpacked::diff_id`] with what the image's configuration wants.
///
/// # Errors
/// If the archive is damaged, hostile or ambiguous, or if the file system refuses. What is in `target` then is of no use.
pub fn unpack<R: Read + Send>(
    blob: R,
    compression: Compression,
    target: BorrowedFd<'_>,
    privilege: Privilege,
) -> Result<Unpacked> {
    std::thread::scope(|scope| {
        let stream = pipeline::start(scope, blob, compression)?;
        let mut archive = tar::Archive::new(stream);
        let mut layer = apply::Layer::begin(target, privilege)?;
        while let Some(entry) = archive.next_entry()? {
            layer.apply(&entry, &mut archive).map_err(|error| error.within(member(&entry)))?;
        }
        let (diff_id, size) = archive.into_source().finish()?;
        let done = layer.finish()?;
        Ok(Unpacked {
            diff_id,
            size,
            members: done.members,
            implied: done.implied,
            whited: done.whited,
            opaque_root: done.opaque_root,
            omitted: done.omitted,
        })
    })
}

fn member(entry: &tar::Entry) -> String {
    format!("member {}", tar::Shown(&entry.name))
}

/// The components of a name in an archive: `/`, `.` and nothing at all do not count, `..` is refused.
fn components(name: &[u8]) -> Result<Vec<&[u8]>> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts
        .map(|part| match part {
            b".." => Err(Error::corrupt(tar::Shown(name), "leads out with `..`")),
            _ => Ok(part),
        })
        .collect()
}
