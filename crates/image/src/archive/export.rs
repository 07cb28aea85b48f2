//! Exporting an image of the store.

use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::sink::Sink;
use crate::error::{Error, Kind, Result, SysContext};
use crate::manifest::{Config, Descriptor, Manifest};
use crate::reference::Reference;
use crate::store::{Image, Lease, NAME_ANNOTATION, Store};

/// What an export looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A directory in OCI layout form.
    OciDirectory,
    /// A tar archive of one.
    OciArchive,
    /// What `docker load` reads.
    DockerArchive,
}

/// Writes an image to `path`.
pub fn export(store: &Store, image: &Image, path: &Path, form: Form) -> Result<()> {
    let lease = Lease::new(store)?;
    lease.keep([&image.descriptor.digest])?;
    let manifest = store.manifest(&image.descriptor)?;
    let config = store.config(&manifest)?;
    let mut sink = match form {
        Form::OciDirectory => Sink::directory(path)?,
        Form::OciArchive | Form::DockerArchive => Sink::archive(path)?,
    };
    match form {
        Form::DockerArchive => docker(store, image, &manifest, &config, &mut sink)?,
        Form::OciDirectory | Form::OciArchive => oci(store, image, &manifest, &mut sink)?,
    }
    sink.finish()
}

fn oci(store: &Store, image: &Image, manifest: &Manifest, sink: &mut Sink) -> Result<()> {
    put(sink, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut seen = std::collections::BTreeSet::new();
    for part in [&image.descriptor, &manifest.config].into_iter().chain(&manifest.layers) {
        if seen.insert(&part.digest) {
            let name = format!("blobs/{}/{}", part.digest.algorithm().name(), part.digest.hex());
            sink.put(&name, part.size, store.open_blob(part)?)?;
        }
    }
    let mut entry = image.descriptor.clone();
    entry.annotations = [(NAME_ANNOTATION.to_owned(), image.name.clone())].into();
    put(sink, "index.json", &to_bytes(&json!({ "schemaVersion": 2, "manifests": [entry] }))?)
}

/// Layers are inflated: not everything that reads this form can do it by itself.
fn docker(store: &Store, image: &Image, manifest: &Manifest, config: &Config, sink: &mut Sink) -> Result<()> {
    if manifest.layers.len() != config.rootfs.diff_ids.len() {
        return Err(Error::corrupt(&image.name, "manifest and configuration have different numbers of layers"));
    }
    let (mut names, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        let name = format!("{}.tar", diff_id.hex());
        if seen.insert(diff_id) {
            // Once for the size, which a tar header says first, and once for the bytes.
            let size = std::io::copy(&mut inflate(store, layer)?, &mut std::io::sink()).sys("read", &layer.digest)?;
            sink.put(&name, size, inflate(store, layer)?)?;
        }
        names.push(name);
    }
    let path = format!("{}.json", manifest.config.digest.hex());
    put(sink, &path, &store.read_document(&manifest.config)?)?;
    // A name with a digest is none that docker could give.
    let tags: Vec<&str> = match image.name.parse::<Reference>() {
        Ok(reference) if reference.digest().is_none() => vec![&image.name],
        _ => Vec::new(),
    };
    put(sink, "manifest.json", &to_bytes(&json!([{ "Config": path, "RepoTags": tags, "Layers": names }]))?)
}

fn inflate(store: &Store, layer: &Descriptor) -> Result<Box<dyn Read + Send>> {
    let compression = layer.media_type.compression();
    let compression = compression.ok_or_else(|| Error::unsupported(format!("a layer is a {}", layer.media_type)))?;
    crate::layer::decompress(store.open_blob(layer)?, compression)
}

fn put(sink: &mut Sink, name: &str, bytes: &[u8]) -> Result<()> {
    sink.put(name, bytes.len() as u64, bytes)
}

fn to_bytes(value: &serde_json::Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::new(Kind::System, error.to_string()))
}
