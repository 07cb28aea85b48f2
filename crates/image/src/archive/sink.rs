//! Where exports write to: a directory, or a tar archive that appears when it is whole.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result, SysContext};

const BLOCK: usize = 512;
/// What eleven octal digits can say.
const MAX_SIZE: u64 = 0o77777777777;

/// A directory that was not there, or an archive.
pub enum Sink {
    Directory { path: PathBuf, whole: bool },
    Archive { path: PathBuf, unfinished: PathBuf, file: File },
}

impl Sink {
    /// Makes a directory for an export; it must be new, so that nothing of another image is in it.
    pub fn directory(path: &Path) -> Result<Self> {
        std::fs::create_dir(path).sys("mkdir", path.display())?;
        Ok(Sink::Directory { path: path.to_owned(), whole: false })
    }

    /// Begins an archive; an earlier file of the name stays until the new one is whole.
    pub fn archive(path: &Path) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| Error::invalid(path.display(), "is not a file's name"))?;
        let unfinished = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let file = File::create(&unfinished).sys("open", unfinished.display())?;
        Ok(Sink::Archive { path: path.to_owned(), unfinished, file })
    }

    /// Writes a file of `size` bytes.
    pub fn put(&mut self, name: &str, size: u64, mut content: impl Read) -> Result<()> {
        let copied = match self {
            Sink::Directory { path, .. } => {
                let path = path.join(name);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).sys("mkdir", folder.display())?;
                }
                let mut file = File::create_new(&path).sys("open", path.display())?;
                std::io::copy(&mut content, &mut file).sys("write", path.display())?
            }
            Sink::Archive { unfinished, file, .. } => {
                let subject = unfinished.display();
                file.write_all(&header(name, size)?).sys("write", &subject)?;
                let copied = std::io::copy(&mut content, file).sys("write", &subject)?;
                let padding = size.next_multiple_of(BLOCK as u64) - size;
                file.write_all(&[0; BLOCK][..padding as usize]).sys("write", &subject)?;
                copied
            }
        };
        if copied == size { Ok(()) } else { Err(Error::corrupt(name, format!("{copied} bytes came of {size}"))) }
    }

    /// Makes it known.
    pub fn finish(mut self) -> Result<()> {
        match &mut self {
            Sink::Directory { whole, .. } => *whole = true,
            Sink::Archive { path, unfinished, file } => {
                file.write_all(&[0; 2 * BLOCK]).sys("write", unfinished.display())?;
                file.sync_all().sys("fsync", unfinished.display())?;
                std::fs::rename(&*unfinished, &*path).sys("rename", path.display())?;
            }
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // The first error is the one that counts; after `finish` there is nothing to remove.
        let _ = match self {
            Sink::Directory { whole: true, .. } => Ok(()),
            Sink::Directory { path, .. } => std::fs::remove_dir_all(path),
            Sink::Archive { unfinished, .. } => std::fs::remove_file(unfinished),
        };
    }
}

/// A ustar header of a regular file.
fn header(name: &str, size: u64) -> Result<[u8; BLOCK]> {
    if name.len() > 100 || size > MAX_SIZE {
        return Err(Error::new(Kind::Unsupported, format!("{name}: too long or too large for a tar archive")));
    }
    let mut block = [0; BLOCK];
    let mut put = |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}
