//! From a stream of bytes to members and their data.

use std::io::{self, BufRead};

use super::header::{BLOCK, Header, until_nul};
use super::pax::Extended;
use super::{Entry, Kind, Segment, Shown, sparse};
use crate::error::{Error, Result, SysContext, Within};

/// The most that a long name or an extended header may have; the same as Go's readers allow.
const MOST_EXTENDED: u64 = 1 << 20;

/// A tar archive that is read from front to back, in constant memory.
pub struct Archive<R> {
    source: R,
    /// Data of the current member that was not read yet, and the padding after it.
    data: u64,
    padding: u64,
    /// Whether the end was reached.
    ended: bool,
}

/// What came before a member's own header.
#[derive(Default)]
struct Before {
    pax: Option<Extended>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Archive<R> {
    /// Begins at the first header.
    pub fn new(source: R) -> Self {
        Archive { source, data: 0, padding: 0, ended: false }
    }

    /// The next member; what was not read of the last one's data is passed over.
    ///
    /// # Errors
    /// If the archive is damaged, or is one that tools read differently.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut before = Before::default();
        loop {
            self.skip(self.data + self.padding)?;
            (self.data, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                if before.pax.is_some() || before.name.is_some() || before.link.is_some() {
                    return Err(Error::corrupt("tar archive", "ends after an extended header"));
                }
                return Ok(None);
            };
            match header.flag() {
                b'x' | b'X' => put(&mut before.pax, Extended::parse(&self.extended(&header)?)?)?,
                b'L' => put(&mut before.name, until_nul(&self.extended(&header)?).to_owned())?,
                b'K' => put(&mut before.link, until_nul(&self.extended(&header)?).to_owned())?,
                b'g' => self.global(&header)?,
                _ => {
                    let entry = self.member(&header, before);
                    return entry.within(|| format!("member {}", Shown(&header.name()))).map(Some);
                }
            }
        }
    }

    /// Gives the current member's data to `sink`, piece by piece, `most` bytes or up to its end.
    pub fn read(&mut self, most: u64, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = most.min(self.data);
        while left > 0 {
            let buffer = fill(&mut self.source)?;
            let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&buffer[..length])?;
            self.source.consume(length);
            left -= length as u64;
            self.data -= length as u64;
        }
        Ok(())
    }

    /// The stream, once there are no more members.
    pub fn into_source(self) -> R {
        self.source
    }

    /// A header, or nothing at the end: two blocks of zeros, or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>> {
        let zeros = [0; BLOCK];
        if self.ended || fill_or_end(&mut self.source)?.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        let block = self.block()?;
        if block != zeros {
            return Header::check(&block).map(Some);
        }
        self.ended = true;
        if !fill_or_end(&mut self.source)?.is_empty() && self.block()? != zeros {
            let why = "has one block of zeros before its end, where some readers stop and others do not";
            return Err(Error::corrupt("tar archive", why));
        }
        Ok(None)
    }

    fn block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let buffer = fill(&mut self.source)?;
            let length = buffer.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&buffer[..length]);
            self.source.consume(length);
            filled += length;
        }
        Ok(block)
    }

    fn skip(&mut self, mut left: u64) -> Result<()> {
        while left > 0 {
            let length = fill(&mut self.source)?.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.source.consume(length);
            left -= length as u64;
        }
        Ok(())
    }

    /// The data of a header that speaks about the next one. Its own size counts, never one from an extended header.
    fn extended(&mut self, header: &Header) -> Result<Vec<u8>> {
        self.set_data(header.size()?)?;
        if self.data > MOST_EXTENDED {
            return Err(Error::corrupt(
                "extended header",
                format!("has {} bytes, more than {MOST_EXTENDED}", self.data),
            ));
        }
        let mut bytes = Vec::new();
        self.read(u64::MAX, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn global(&mut self, header: &Header) -> Result<()> {
        if Extended::acts(&self.extended(header)?)? {
            let why = "sets names, sizes, owners or times, which some readers obey and others do not";
            return Err(Error::corrupt("global extended header", why));
        }
        Ok(())
    }

    fn set_data(&mut self, size: u64) -> Result<()> {
        let padding = size.wrapping_neg() % BLOCK as u64;
        if size.checked_add(padding).is_none_or(|all| all > i64::MAX as u64) {
            return Err(Error::corrupt("size", "the number is out of range"));
        }
        (self.data, self.padding) = (size, padding);
        Ok(())
    }

    fn member(&mut self, header: &Header, before: Before) -> Result<Entry> {
        let mut pax = before.pax.unwrap_or_default();
        let mut name = agreed(pax.path.take(), before.name, "name")?.unwrap_or_else(|| header.name());
        let link = agreed(pax.linkpath.take(), before.link, "link")?.unwrap_or_else(|| header.link());
        let stored = match pax.size {
            Some(size) => size,
            None => header.size()?,
        };
        if let Some(real) = pax.sparse.name.take() {
            name = real;
        }
        let kind = kind(header, &name)?;
        self.set_data(self.stored(kind, stored, pax.size.is_some())?)?;
        let (segments, size) = self.sparse(header, kind, &pax)?;
        Ok(Entry {
            name,
            link,
            kind,
            mode: header.mode()?,
            uid: id(pax.uid.map_or_else(|| header.uid(), Ok)?, "uid")?,
            gid: id(pax.gid.map_or_else(|| header.gid(), Ok)?, "gid")?,
            mtime: match pax.mtime {
                Some(time) => time,
                None => (header.mtime()?, 0),
            },
            size,
            segments,
            xattrs: pax.xattrs,
            device: if matches!(kind, Kind::Char | Kind::Block) { header.device()? } else { (0, 0) },
        })
    }

    /// How much data a member of `kind` has: GNU tar passes over what others do not expect, so only files may have any.
    /// A hard link's own size is that of the file, without data (GNU tar and Go agree).
    fn stored(&self, kind: Kind, size: u64, extended: bool) -> Result<u64> {
        match kind {
            Kind::File => Ok(size),
            Kind::HardLink if !extended => Ok(0),
            _ if size == 0 => Ok(0),
            _ => Err(Error::corrupt("size", "something that is no file has data, which some readers pass over")),
        }
    }

    /// The map and the real size, if the member is a sparse file; else nothing, and the stored size.
    fn sparse(&mut self, header: &Header, kind: Kind, pax: &Extended) -> Result<(Option<Vec<Segment>>, u64)> {
        let (map, size) = if header.flag() == b'S' {
            if !header.is_gnu() || pax.sparse.is_present() {
                return Err(Error::corrupt("sparse map", "is in a header of another kind"));
            }
            sparse::from_header(header, || self.block())?
        } else if pax.sparse.is_present() {
            let form = (pax.sparse.major.unwrap_or(0), pax.sparse.minor.unwrap_or(0), &pax.sparse.map);
            let (Kind::File, Some(size)) = (kind, pax.sparse.size) else {
                return Err(Error::corrupt("sparse map", "has no size, or is not of a file"));
            };
            match form {
                (1, 0, None) => (sparse::from_data(|| self.data_block())?, size),
                (0, _, Some(map)) => (map.clone(), size),
                _ => return Err(Error::corrupt("sparse map", "is in an unknown format")),
            }
        } else {
            return Ok((None, self.data));
        };
        Ok((Some(sparse::check(map, size, self.data)?), size))
    }

    /// A block of the member's own data.
    fn data_block(&mut self) -> Result<[u8; BLOCK]> {
        if self.data < BLOCK as u64 {
            return Err(Error::corrupt("sparse map", "goes beyond the member"));
        }
        self.data -= BLOCK as u64;
        self.block()
    }
}

/// What a header's flag says; a regular file whose name ends with a slash is a directory, as it was before ustar.
fn kind(header: &Header, name: &[u8]) -> Result<Kind> {
    Ok(match header.flag() {
        0 | b'0' | b'7' if name.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        flag => return Err(Error::corrupt("type", format!("{:?} is unknown", char::from(flag)))),
    })
}

/// -1 would leave the owner as it is, and what is larger would wrap to another user, root in the worst case.
fn id(value: u64, what: &str) -> Result<u32> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Error::corrupt(what, format!("{value} is out of range"))),
    }
}

/// Two extended headers of one kind: the last one counts for some readers, all of them for others.
fn put<T>(place: &mut Option<T>, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::corrupt("extended header", "there are two of one kind for the same member")),
    }
}

/// GNU's long name and PAX's path: GNU tar prefers the second, Go the first.
fn agreed(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, what: &str) -> Result<Option<Vec<u8>>> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(Error::corrupt(
            what,
            "PAX and GNU headers give it differently, and readers differ in whom they believe",
        )),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}

fn fill(source: &mut impl BufRead) -> Result<&[u8]> {
    let buffer = fill_or_end(source)?;
    if buffer.is_empty() {
        return Err(Error::corrupt("tar archive", "ends within a member: it is cut off"));
    }
    Ok(buffer)
}

fn fill_or_end(source: &mut impl BufRead) -> Result<&[u8]> {
    // Asked again for the result, since a buffer that is returned from within a loop stays borrowed.
    loop {
        match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error).sys("read", "layer"),
            Ok(_) => break,
        }
    }
    source.fill_buf().sys("read", "layer")
}
