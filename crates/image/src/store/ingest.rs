//! Content on its way in: a file that grows under a lock, is verified while it grows, and becomes a blob by rename.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use rustix::fs::FlockOperation;

use super::{Store, file};
use crate::digest::{Digest, Verifier};
use crate::error::{Error, Result, SysContext};
use crate::manifest::Descriptor;

/// Content that is being written. What is not finished stays for the next one to resume.
#[derive(Debug)]
pub struct Ingest {
    path: PathBuf,
    blob: PathBuf,
    digest: Digest,
    size: u64,
    file: File,
    verifier: Verifier,
    written: u64,
}

/// Has those wait on who want the same content, until what is to be made of it is made too.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

impl Ingest {
    /// Begins or resumes; nothing if it is here already. Waits for another process that is at it.
    pub fn begin(store: &Store, descriptor: &Descriptor) -> Result<Option<Self>> {
        let digest = descriptor.digest.clone();
        let path = store.path().join("ingest").join(format!("{}-{}", digest.algorithm().name(), digest.hex()));
        loop {
            if store.has(descriptor)? {
                return Ok(None);
            }
            let file = file::open_or_create(&path)?;
            file::flock(&file, FlockOperation::LockExclusive, &path)?;
            // Who held the lock has renamed or removed the file.
            if !file::is_named(&file, &path)? {
                continue;
            }
            if file.metadata().sys("fstat", path.display())?.len() > descriptor.size {
                file.set_len(0).sys("ftruncate", path.display())?;
            }
            let (blob, verifier) = (store.blob_path(&digest), Verifier::new(digest.algorithm()));
            return Ok(Some(Ingest { path, blob, digest, size: descriptor.size, file, verifier, written: 0 }));
        }
    }

    /// How many bytes are here from before and were not yet taken up by `replay`.
    pub fn left_over(&self) -> Result<u64> {
        let length = self.file.metadata().sys("fstat", self.path.display())?.len();
        Ok(length.saturating_sub(self.written))
    }

    /// Takes up bytes that are here from before, as if they came in now; 0 when there are no more.
    pub fn replay(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.left_over()?).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most]).sys("read", self.path.display())?;
        self.verifier.update(&buffer[..count]);
        self.written += count as u64;
        Ok(count)
    }

    /// Forgets what is here from before.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).sys("ftruncate", self.path.display())?;
        self.file.seek(SeekFrom::Start(0)).sys("lseek", self.path.display())?;
        self.verifier = Verifier::new(self.digest.algorithm());
        self.written = 0;
        Ok(())
    }

    /// How many bytes were taken up and written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes are to come.
    pub fn missing(&self) -> u64 {
        self.size - self.written
    }

    /// Writes the next bytes; more than the content should have is an error.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.missing() {
            let text = format!("more than the {} bytes came that its descriptor promises", self.size);
            return Err(Error::corrupt(&self.digest, text));
        }
        self.file.write_all(bytes).sys("write", self.path.display())?;
        self.verifier.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Verifies size and digest, and makes it a blob. What is wrong is removed, so that nobody resumes it.
    pub fn finish(self) -> Result<Held> {
        let verified = match self.missing() {
            0 => self.verifier.verify(&self.digest),
            missing => Err(Error::corrupt(&self.digest, format!("{missing} of its {} bytes are missing", self.size))),
        };
        if let Err(error) = verified {
            file::remove(&self.path)?;
            return Err(error);
        }
        self.file.sync_all().sys("fsync", self.path.display())?;
        file::rename(&self.path, &self.blob)?;
        Ok(Held { _file: self.file })
    }

    /// Gives up: what has come is not worth resuming.
    pub fn discard(self) -> Result<()> {
        file::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::manifest::MediaType;
    use crate::store::testing::Throwaway;

    fn begin(store: &Store, descriptor: &Descriptor) -> Ingest {
        Ingest::begin(store, descriptor).expect("begin").expect("it is not there yet")
    }

    #[test]
    fn what_was_left_is_resumed_and_verified() {
        let throwaway = Throwaway::new();
        let store = &throwaway.0;
        let descriptor = Descriptor::of(MediaType::OciConfig, b"hello, world");
        begin(store, &descriptor).write(b"hello, ").expect("write");
        let mut ingest = begin(store, &descriptor);
        assert_eq!(ingest.left_over(), Ok(7));
        let mut buffer = [0; 5];
        assert_eq!(
            (ingest.replay(&mut buffer), ingest.replay(&mut buffer), ingest.replay(&mut buffer)),
            (Ok(5), Ok(2), Ok(0))
        );
        ingest.write(b"world").expect("write");
        ingest.finish().expect("it is right");
        assert_eq!(store.read_document(&descriptor), Ok(b"hello, world".to_vec()));
        assert!(matches!(Ingest::begin(store, &descriptor), Ok(None)));
    }

    #[test]
    fn what_is_wrong_does_not_come_in_and_does_not_stay() {
        let throwaway = Throwaway::new();
        let descriptor = Descriptor::of(MediaType::OciConfig, b"right");
        let mut ingest = begin(&throwaway.0, &descriptor);
        assert_eq!(ingest.write(b"too long").map_err(|error| error.kind()), Err(Kind::Corrupt));
        ingest.write(b"wrong").expect("write");
        assert!(ingest.finish().is_err_and(|error| error.kind() == Kind::Corrupt));
        assert_eq!(begin(&throwaway.0, &descriptor).left_over(), Ok(0));
        assert_eq!(throwaway.0.blob_size(&descriptor.digest), Ok(None));
    }
}
