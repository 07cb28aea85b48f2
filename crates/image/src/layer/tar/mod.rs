//! Reading tar archives: ustar, GNU, PAX and V7, as GNU tar reads them.
//!
//! Where the readers in use (GNU tar, Go, libarchive) would see different members in the same bytes, the archive is
//! refused: a scanner and an unpacker must not disagree about what an image contains (CVE-2025-62518).

mod header;
mod number;
mod pax;
mod reader;
mod sparse;

#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod tests;

pub use reader::Archive;

use std::fmt;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; the only kind with data.
    File,
    /// Another name of the member `link`.
    HardLink,
    /// A symbolic link to `link`.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A piece of a sparse file that has data; what lies between pieces is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// One member of an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name, as the archive has it: it may be absolute, or have `..`.
    pub name: Vec<u8>,
    /// What a link leads to.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Seconds since 1970, and nanoseconds (0 to 999,999,999) after them.
    pub mtime: (i64, u32),
    /// The size of the file, holes included.
    pub size: u64,
    /// Where a sparse file has data; ordered, without overlap, within `size`.
    pub segments: Option<Vec<Segment>>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The numbers of a device.
    pub device: (u32, u32),
}

/// A name of an archive for messages: quoted, with what cannot be printed escaped, and not endless.
pub(crate) struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 200;
        let text = String::from_utf8_lossy(&self.0[..self.0.len().min(MOST)]);
        write!(f, "{text:?}{}", if self.0.len() > MOST { "…" } else { "" })
    }
}
