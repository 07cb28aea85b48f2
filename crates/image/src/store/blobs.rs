//! Whole, verified content.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::{Ingest, Store};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result, SysContext};
use crate::manifest::{Config, Descriptor, Document, MAX_DOCUMENT, Manifest, MediaType};

impl Store {
    /// Where the content of `digest` is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The size of the content, if it is here.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).sys("stat", path.display()),
        }
    }

    /// Whether what the descriptor tells is here. A size that differs is an error: the descriptor lies.
    pub fn has(&self, descriptor: &Descriptor) -> Result<bool> {
        match self.blob_size(&descriptor.digest)? {
            Some(size) if size == descriptor.size => Ok(true),
            Some(size) => Err(wrong_size(descriptor, size)),
            None => Ok(false),
        }
    }

    /// Opens the content for reading.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<File> {
        let path = self.blob_path(&descriptor.digest);
        match File::open(&path) {
            Ok(file) => {
                let size = file.metadata().sys("fstat", path.display())?.len();
                if size == descriptor.size { Ok(file) } else { Err(wrong_size(descriptor, size)) }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing(descriptor)),
            Err(error) => Err(error).sys("open", path.display()),
        }
    }

    /// Reads a document, and verifies it again: a disk may have changed it.
    pub fn read_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.size > MAX_DOCUMENT {
            return Err(too_long(descriptor));
        }
        let mut bytes = Vec::new();
        let file = self.open_blob(descriptor)?;
        file.take(MAX_DOCUMENT).read_to_end(&mut bytes).sys("read", &descriptor.digest)?;
        descriptor.digest.check(&bytes).map_err(|error| error.remedy("remove the image, and pull it again"))?;
        Ok(bytes)
    }

    /// Reads an image's manifest.
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest> {
        match Document::parse(&descriptor.media_type, &self.read_document(descriptor)?)? {
            Document::Manifest(manifest) => Ok(*manifest),
            Document::Index(_) => Err(Error::corrupt(&descriptor.digest, "is an index, and should be one image")),
        }
    }

    /// Reads an image's configuration.
    pub fn config(&self, manifest: &Manifest) -> Result<Config> {
        Config::parse(&self.read_document(&manifest.config)?)
    }

    /// Puts a document into the store.
    pub fn put(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.put_as(&descriptor, bytes)?;
        Ok(descriptor)
    }

    /// Puts content into the store that must be what `descriptor` says.
    pub fn put_as(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        if let Some(mut ingest) = Ingest::begin(self, descriptor)? {
            ingest.restart()?;
            ingest.write(bytes)?;
            ingest.finish()?;
        }
        Ok(())
    }
}

/// The error for a document beyond any honest length.
pub fn too_long(descriptor: &Descriptor) -> Error {
    let found = format!("it has {} bytes, and at most {MAX_DOCUMENT} are read", descriptor.size);
    Error::corrupt(format!("{} {}", descriptor.media_type, descriptor.digest), found)
}

fn wrong_size(descriptor: &Descriptor, size: u64) -> Error {
    let text = format!("its descriptor says that it has {} bytes, and it has {size}", descriptor.size);
    Error::corrupt(&descriptor.digest, text)
}

fn missing(descriptor: &Descriptor) -> Error {
    Error::new(Kind::NotFound, format!("{} {} is not in the store", descriptor.media_type, descriptor.digest))
        .remedy("pull the image again")
}
