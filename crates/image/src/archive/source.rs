//! Where imports read from: files of a directory, or members of an archive, by name.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::digest::{Algorithm, Digest, Verifier};
use crate::error::{Error, Kind, Result, SysContext};
use crate::layer::tar::{self, Archive};
use crate::manifest::{Compression, Descriptor, MAX_DOCUMENT};
use crate::store::{Ingest, Store};

const MAX_MEMBERS: usize = 100_000;
const MAX_LINKS: usize = 8;

/// A directory or an archive.
pub enum Source {
    /// A directory; nothing outside it is read.
    Directory(File),
    /// An archive, by its members.
    Archive(PathBuf, File, BTreeMap<String, Member>),
}

/// Where a member's bytes are.
pub enum Member {
    Data { offset: u64, size: u64 },
    Link(String),
}

/// A file of a source: so many bytes from where the file stands.
pub type Opened = (std::io::Take<File>, u64);

impl Source {
    /// Opens; of an archive, reads where everything is. A compressed one is inflated into a nameless file of the store first.
    pub fn open(store: &Store, path: &Path) -> Result<Self> {
        let file = File::open(path).sys("open", path.display())?;
        if file.metadata().sys("fstat", path.display())?.is_dir() {
            return Ok(Source::Directory(file));
        }
        let file = plain(store, file, path)?;
        let members = members(&file, path)?;
        Ok(Source::Archive(path.to_owned(), file, members))
    }

    /// Whether there is such a file.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).is_ok()
    }

    /// Opens a file, and tells its size.
    pub fn file(&self, name: &str) -> Result<Opened> {
        match self {
            Source::Directory(directory) => {
                let (flags, inside) = (OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, ResolveFlags::BENEATH);
                let opened = rustix::fs::openat2(directory, name, flags, Mode::empty(), inside);
                let file = File::from(opened.sys("openat2", name)?);
                let metadata = file.metadata().sys("fstat", name)?;
                if !metadata.is_file() {
                    return Err(Error::corrupt(name, "is not a regular file"));
                }
                Ok((file.take(metadata.len()), metadata.len()))
            }
            Source::Archive(path, file, members) => {
                let (offset, size) = find(members, name)?;
                // Opened anew, so that it has an offset of its own.
                let mut file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).sys("open", path.display())?;
                file.seek(SeekFrom::Start(offset)).sys("lseek", path.display())?;
                Ok((file.take(size), size))
            }
        }
    }

    /// Reads a document.
    pub fn document(&self, name: &str) -> Result<Vec<u8>> {
        let (reader, size) = self.file(name)?;
        if size > MAX_DOCUMENT {
            return Err(Error::corrupt(name, format!("it has {size} bytes, and at most {MAX_DOCUMENT} are read")));
        }
        let mut bytes = Vec::new();
        reader.take(MAX_DOCUMENT).read_to_end(&mut bytes).sys("read", name)?;
        Ok(bytes)
    }

    /// Brings a file into the store, which must be what the descriptor says.
    pub fn ingest(&self, store: &Store, name: &str, descriptor: &Descriptor) -> Result<()> {
        let Some(mut ingest) = Ingest::begin(store, descriptor)? else { return Ok(()) };
        ingest.restart()?;
        each_piece(self.file(name)?.0, name, |piece| ingest.write(piece))?;
        ingest.finish().map(drop)
    }

    /// How a layer is packed, by its first bytes, and its digest as it is.
    pub fn examine(&self, name: &str) -> Result<(Compression, Digest, u64)> {
        let (reader, size) = self.file(name)?;
        let (mut verifier, mut begin) = (Verifier::new(Algorithm::Sha256), Vec::new());
        each_piece(reader, name, |piece| {
            begin.extend(piece.iter().take(4 - begin.len().min(4)));
            verifier.update(piece);
            Ok(())
        })?;
        Ok((packed(&begin), verifier.finish(), size))
    }
}

/// Gives all that `reader` has to `take`, piece by piece.
pub fn each_piece(mut reader: impl Read, what: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match reader.read(&mut buffer).sys("read", what)? {
            0 => return Ok(()),
            count => take(&buffer[..count])?,
        }
    }
}

fn packed(begin: &[u8]) -> Compression {
    match begin {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// The archive itself if it is not compressed, and is a file that can be read anywhere.
fn plain(store: &Store, mut file: File, path: &Path) -> Result<File> {
    let mut begin = Vec::new();
    file.by_ref().take(4).read_to_end(&mut begin).sys("read", path.display())?;
    let regular = file.metadata().sys("fstat", path.display())?.is_file();
    if regular && packed(&begin) == Compression::None {
        file.seek(SeekFrom::Start(0)).sys("lseek", path.display())?;
        return Ok(file);
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let nameless = rustix::fs::open(store.path(), flags, Mode::RUSR).sys("open", store.path().display())?;
    let mut nameless = File::from(nameless);
    let whole = std::io::Cursor::new(begin.clone()).chain(file);
    let mut reader = crate::layer::decompress(whole, packed(&begin))?;
    std::io::copy(&mut reader, &mut nameless).sys("read", path.display())?;
    nameless.seek(SeekFrom::Start(0)).sys("lseek", path.display())?;
    Ok(nameless)
}

/// Reads an archive, and remembers where each member's data is.
struct Positioned {
    source: BufReader<File>,
    position: Rc<Cell<u64>>,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.position.set(self.position.get() + count as u64);
        Ok(count)
    }
}

impl BufRead for Positioned {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.position.set(self.position.get() + count as u64);
        self.source.consume(count);
    }
}

fn members(file: &File, path: &Path) -> Result<BTreeMap<String, Member>> {
    let position = Rc::new(Cell::new(0));
    let file = file.try_clone().sys("dup", path.display())?;
    let source = BufReader::with_capacity(128 * 1024, file);
    let mut archive = Archive::new(Positioned { source, position: position.clone() });
    let mut members = BTreeMap::new();
    while let Some(entry) = archive.next_entry().map_err(|error| error.within(path.display()))? {
        let Ok(name) = String::from_utf8(entry.name) else { continue };
        let name = name.trim_start_matches("./").to_owned();
        let member = match entry.kind {
            tar::Kind::File if entry.segments.is_none() => Member::Data { offset: position.get(), size: entry.size },
            tar::Kind::Symlink => Member::Link(beside(&name, &String::from_utf8_lossy(&entry.link))),
            tar::Kind::HardLink => Member::Link(String::from_utf8_lossy(&entry.link).into_owned()),
            _ => continue,
        };
        members.insert(name, member);
        if members.len() > MAX_MEMBERS {
            return Err(Error::corrupt(path.display(), format!("it has more than {MAX_MEMBERS} members")));
        }
    }
    Ok(members)
}

/// `a/b` beside `x/y` is `x/a/b`; `..` goes up. It is only looked up among the members.
fn beside(name: &str, link: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn find(members: &BTreeMap<String, Member>, name: &str) -> Result<(u64, u64)> {
    let mut target = name;
    for _ in 0..MAX_LINKS {
        match members.get(target) {
            Some(Member::Data { offset, size }) => return Ok((*offset, *size)),
            Some(Member::Link(next)) => target = next,
            None => return Err(Error::new(Kind::NotFound, format!("the archive has no {name}"))),
        }
    }
    Err(Error::corrupt(name, "is a link to a link to a link"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_among_the_members() {
        assert_eq!(beside("a/layer.tar", "../b/layer.tar"), "b/layer.tar");
        assert_eq!(beside("a/x", "../../../etc/passwd"), "etc/passwd");
        let members = BTreeMap::from([("a".to_owned(), Member::Link("a".to_owned()))]);
        assert!(find(&members, "a").is_err());
    }
}
