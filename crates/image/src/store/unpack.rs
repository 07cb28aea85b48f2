//! From the layers of an image to their snapshots.

use std::sync::Mutex;

use super::Store;
use crate::digest::Digest;
use crate::error::{Error, Result, Within};
use crate::manifest::{Config, Descriptor, Manifest};
use crate::snapshot::{Snapshot, Snapshots};

impl Store {
    /// The unpacked layers of an image, lowest first. What is missing is unpacked from its blob, as many layers at a time as
    /// there are CPUs, largest first. The caller has a lease on the diff ids.
    pub fn unpack_missing(&self, manifest: &Manifest, config: &Config) -> Result<Vec<Snapshot>> {
        let snapshots = Snapshots::new(self.snapshots());
        let mut missing = Vec::new();
        for (layer, diff_id) in pairs(manifest, config)? {
            // An image may have a layer twice.
            if snapshots.get(diff_id)?.is_none() && !missing.iter().any(|(_, other)| *other == diff_id) {
                missing.push((layer, diff_id));
            }
        }
        missing.sort_by_key(|(layer, _)| layer.size);
        self.unpack_all(&snapshots, missing)?;
        let get = |diff_id: &Digest| {
            let gone = || Error::corrupt(diff_id, "was unpacked, and is gone");
            snapshots.get(diff_id)?.ok_or_else(gone)
        };
        config.rootfs.diff_ids.iter().map(get).collect()
    }

    fn unpack_all(&self, snapshots: &Snapshots, missing: Vec<(&Descriptor, &Digest)>) -> Result<()> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len());
        let (queue, failed) = (Mutex::new(missing), Mutex::new(None));
        let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        std::thread::scope(|scope| {
            for _ in 0..cpus {
                scope.spawn(|| {
                    while let Some((layer, diff_id)) = next() {
                        if let Err(error) = self.unpack_one(snapshots, layer, diff_id) {
                            queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
                            failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn unpack_one(&self, snapshots: &Snapshots, layer: &Descriptor, diff_id: &Digest) -> Result<()> {
        let Some(compression) = layer.media_type.compression() else {
            return Err(Error::unsupported(format!("layer {}: {} is not known here", layer.digest, layer.media_type)));
        };
        let unpacked = snapshots.unpack(self.open_blob(layer)?, compression, diff_id);
        unpacked.within(|| format!("layer {}", layer.digest.short()))
    }
}

/// Each layer with its diff id; a configuration of another image, or a damaged one, has more or fewer.
pub fn pairs<'a>(manifest: &'a Manifest, config: &'a Config) -> Result<Vec<(&'a Descriptor, &'a Digest)>> {
    let (layers, diff_ids) = (&manifest.layers, &config.rootfs.diff_ids);
    if layers.len() != diff_ids.len() {
        let found = format!("has {} diff ids for {} layers", diff_ids.len(), layers.len());
        return Err(Error::corrupt("image configuration", found));
    }
    Ok(layers.iter().zip(diff_ids).collect())
}
