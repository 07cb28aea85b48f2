//! Importing what `docker save` writes: manifest.json, configurations and layers by path.

use serde::Deserialize;
use serde_json::json;

use super::named;
use super::source::Source;
use crate::error::{Error, Kind, Result, Within};
use crate::manifest::{Compression, Config, Descriptor, MediaType};
use crate::reference::Reference;
use crate::store::{Image, Lease, Store};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Imports every image of the archive under every name that it has there.
pub fn import(store: &Store, lease: &Lease, source: &Source, name: Option<&Reference>) -> Result<Vec<Image>> {
    let saved: Vec<Saved> = serde_json::from_slice(&source.document("manifest.json")?)
        .map_err(|error| Error::corrupt("manifest.json", error))?;
    let alone = saved.len() == 1;
    let mut images = Vec::new();
    for image in &saved {
        let descriptor = one(store, lease, source, image).within(|| &image.config)?;
        let tags = image.repo_tags.as_deref().unwrap_or_default();
        let names: Vec<Option<&str>> = match (tags, name) {
            ([], _) | (_, Some(_)) => vec![None],
            (tags, None) => tags.iter().map(|tag| Some(tag.as_str())).collect(),
        };
        for own in names {
            images.push(Image { name: named(own, name, alone)?, descriptor: descriptor.clone() });
        }
    }
    Ok(images)
}

/// Brings an image in, and writes the manifest that it has not got.
fn one(store: &Store, lease: &Lease, source: &Source, saved: &Saved) -> Result<Descriptor> {
    let bytes = source.document(&saved.config)?;
    let config = Config::parse(&bytes)?;
    let ids = config.rootfs.diff_ids.len();
    if ids != saved.layers.len() {
        let text = format!("manifest.json has {} layers, and the configuration {ids}", saved.layers.len());
        return Err(Error::corrupt(&saved.config, text));
    }
    let mut layers = Vec::new();
    for (path, diff_id) in saved.layers.iter().zip(&config.rootfs.diff_ids) {
        let (compression, digest, size) = source.examine(path)?;
        if compression == Compression::None && digest != *diff_id {
            let text = format!("the configuration says {diff_id}, and the archive has {digest}");
            return Err(Error::corrupt(path, text));
        }
        let layer = Descriptor::new(MediaType::oci_layer(compression), digest, size);
        lease.keep([&layer.digest])?;
        source.ingest(store, path, &layer)?;
        layers.push(layer);
    }
    let descriptor = Descriptor::of(MediaType::OciConfig, &bytes);
    lease.keep([&descriptor.digest])?;
    store.put_as(&descriptor, &bytes)?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": descriptor, "layers": layers,
    });
    let manifest = serde_json::to_vec(&manifest).map_err(|error| Error::new(Kind::System, error.to_string()))?;
    let mut descriptor = Descriptor::of(MediaType::OciManifest, &manifest);
    lease.keep([&descriptor.digest])?;
    store.put_as(&descriptor, &manifest)?;
    descriptor.platform = Some(config.platform());
    Ok(descriptor)
}
