//! Importing OCI layouts.

use std::path::Path;

use super::named;
use super::source::Source;
use crate::error::{Error, Kind, Result, Within};
use crate::manifest::{Descriptor, Document, Manifest, MediaType};
use crate::reference::Reference;
use crate::store::{Image, Lease, NAME_ANNOTATION, Store};

/// containerd's annotation for the whole name; the specification's may be a tag alone.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Imports every image of a layout.
pub fn import(store: &Store, lease: &Lease, source: &Source, name: Option<&Reference>) -> Result<Vec<Image>> {
    crate::store::check_version(&source.document("oci-layout")?, Path::new("oci-layout"))?;
    let bytes = source.document("index.json")?;
    let Document::Index(index) = Document::parse(&MediaType::OciIndex, &bytes)? else {
        return Err(Error::corrupt("index.json", "is not an index"));
    };
    let alone = index.manifests.len() == 1;
    let mut images = Vec::new();
    for entry in &index.manifests {
        let own = [CONTAINERD_NAME, NAME_ANNOTATION].into_iter().find_map(|key| entry.annotations.get(key));
        let name = named(own.map(String::as_str), name, alone).within(|| &entry.digest)?;
        let reader = Reader { store, lease, source };
        images.extend(reader.images(entry, &name).within(|| name.clone())?);
    }
    match images.is_empty() {
        true => Err(Error::new(Kind::NotFound, "there is no image in it")),
        false => Ok(images),
    }
}

struct Reader<'a> {
    store: &'a Store,
    lease: &'a Lease,
    source: &'a Source,
}

impl Reader<'_> {
    /// The image of an entry; of an index, all those whose content is there.
    fn images(&self, entry: &Descriptor, name: &str) -> Result<Vec<Image>> {
        let bytes = self.document(entry)?;
        match Document::parse(&entry.media_type, &bytes)? {
            Document::Manifest(manifest) => Ok(vec![self.image(entry, &bytes, &manifest, name)?]),
            Document::Index(index) => {
                let here = index.manifests.iter().filter(|inner| self.source.has(&path(inner)));
                let mut images = Vec::new();
                for inner in here.filter(|inner| inner.platform.as_ref().is_none_or(|spec| spec.os != "unknown")) {
                    let bytes = self.document(inner)?;
                    let Document::Manifest(manifest) = Document::parse(&inner.media_type, &bytes)? else {
                        return Err(Error::unsupported(format!("{}: an index within an index", entry.digest)));
                    };
                    images.push(self.image(inner, &bytes, &manifest, name)?);
                }
                Ok(images)
            }
        }
    }

    fn image(&self, entry: &Descriptor, bytes: &[u8], manifest: &Manifest, name: &str) -> Result<Image> {
        let parts: Vec<&Descriptor> = manifest.layers.iter().chain([&manifest.config]).collect();
        self.lease.keep(parts.iter().map(|part| &part.digest).chain([&entry.digest]))?;
        for part in parts {
            self.source.ingest(self.store, &path(part), part)?;
        }
        self.store.put_as(entry, bytes)?;
        let config = self.store.config(manifest)?;
        let mut descriptor = Descriptor::new(entry.media_type.clone(), entry.digest.clone(), entry.size);
        descriptor.platform = Some(config.platform());
        Ok(Image { name: name.to_owned(), descriptor })
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.source.document(&path(descriptor))?;
        descriptor.digest.check(&bytes)?;
        Ok(bytes)
    }
}

fn path(descriptor: &Descriptor) -> String {
    format!("blobs/{}/{}", descriptor.digest.algorithm().name(), descriptor.digest.hex())
}
