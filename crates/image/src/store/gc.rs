//! Collecting what nothing needs: not a name, not a running command, not a bundle.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Store, file};
use crate::digest::{Algorithm, Digest};
use crate::error::{Kind, Result};
use crate::manifest::{Config, Descriptor, Document, MAX_DOCUMENT, MediaType};
use crate::snapshot::Snapshots;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Blobs, and partial downloads.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Unpacked layers.
    pub snapshots: usize,
}

impl Store {
    /// Removes what nothing needs. Names, leases and roots cannot change meanwhile; running downloads go on.
    pub fn gc(&self) -> Result<Swept> {
        let lock = self.lock()?;
        let mut needed = Needed { store: self, digests: BTreeSet::new() };
        for digest in self.leased()? {
            needed.take_document(&digest)?;
        }
        for root in self.roots(&lock)? {
            needed.take_document(&root.manifest)?;
            needed.digests.extend(root.snapshots);
        }
        for entry in self.entries()? {
            needed.take_document(&entry.digest)?;
        }
        let mut swept = Swept::default();
        self.sweep_blobs(&needed.digests, &mut swept)?;
        self.sweep_ingest(&mut swept)?;
        self.sweep_snapshots(&needed.digests, &mut swept)?;
        Ok(swept)
    }

    fn sweep_blobs(&self, needed: &BTreeSet<Digest>, swept: &mut Swept) -> Result<()> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = self.path.join("blobs").join(algorithm.name());
            for name in file::names_in(&folder)? {
                let digest = format!("{}:{name}", algorithm.name()).parse::<Digest>();
                if digest.is_ok_and(|digest| needed.contains(&digest)) {
                    continue;
                }
                swept.remove_file(&folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Partial files that nobody is writing, and what killed processes left beside index.json.
    fn sweep_ingest(&self, swept: &mut Swept) -> Result<()> {
        let folder = self.path.join("ingest");
        for name in file::names_in(&folder)? {
            let path = folder.join(name);
            let Some(file) = file::open_if_there(&path)? else { continue };
            if file::try_lock(&file, &path)? && file::is_named(&file, &path)? {
                swept.remove_file(&path)?;
            }
        }
        for name in file::names_in(&self.path)? {
            // Only index.json is replaced by those who hold the lock, which is ours now.
            if name.starts_with("index.json.") && name.ends_with(".tmp") {
                swept.remove_file(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    fn sweep_snapshots(&self, needed: &BTreeSet<Digest>, swept: &mut Swept) -> Result<()> {
        let snapshots = Snapshots::new(self.snapshots());
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = self.snapshots().join(algorithm.name());
            for name in file::names_in(&folder)? {
                let Ok(digest) = format!("{}:{name}", algorithm.name()).parse::<Digest>() else { continue };
                if !needed.contains(&digest) {
                    snapshots.remove(&digest)?;
                    swept.snapshots += 1;
                }
            }
        }
        swept.snapshots += snapshots.sweep()?;
        Ok(())
    }
}

impl Swept {
    fn remove_file(&mut self, path: &Path) -> Result<()> {
        let size = std::fs::symlink_metadata(path).map(|metadata| metadata.len()).unwrap_or(0);
        file::remove(path)?;
        self.blobs += 1;
        self.bytes += size;
        Ok(())
    }
}

struct Needed<'a> {
    store: &'a Store,
    digests: BTreeSet<Digest>,
}

impl Needed<'_> {
    /// Takes a digest that may be a document, and all that it leads to. What is not there leads nowhere.
    fn take_document(&mut self, digest: &Digest) -> Result<()> {
        if !self.digests.insert(digest.clone()) {
            return Ok(());
        }
        let Some(size) = self.store.blob_size(digest)? else { return Ok(()) };
        if size > MAX_DOCUMENT {
            return Ok(());
        }
        let any = Descriptor::new(MediaType::Other(String::new()), digest.clone(), size);
        let bytes = match self.store.read_document(&any) {
            Ok(bytes) => bytes,
            // Damaged or gone: it leads nowhere, and is not removed either, since it is named.
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        match Document::parse(&any.media_type, &bytes) {
            Ok(Document::Index(index)) => {
                index.manifests.iter().try_for_each(|entry| self.take_document(&entry.digest))
            }
            Ok(Document::Manifest(manifest)) => {
                self.digests.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
                self.take_document(&manifest.config.digest)
            }
            Err(_) => {
                // Not a manifest: perhaps a configuration, whose diff-ids name snapshots.
                if let Ok(config) = Config::parse(&bytes) {
                    self.digests.extend(config.rootfs.diff_ids);
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::Throwaway;
    use crate::store::{Image, Ingest, Lease, Root};

    /// An image of one layer whose snapshot is unpacked.
    fn image(store: &Store, content: &str) -> (Image, Digest) {
        let diff_id = Digest::of(content.as_bytes());
        std::fs::create_dir_all(store.snapshots().join("sha256").join(diff_id.hex())).expect("snapshot");
        let layer = store.put("application/vnd.oci.image.layer.v1.tar".into(), content.as_bytes()).expect("layer");
        let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#);
        let config = store.put(MediaType::OciConfig, config.as_bytes()).expect("config");
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
        let descriptor = store.put(MediaType::OciManifest, manifest.as_bytes()).expect("manifest");
        (Image { name: format!("docker.io/library/{content}:latest"), descriptor }, diff_id)
    }

    #[test]
    fn only_what_nothing_needs_is_removed() {
        let throwaway = Throwaway::new();
        let store = &throwaway.0;
        let (named, _) = image(store, "named");
        let (leased, _) = image(store, "leased");
        let (bundled, bundled_diff) = image(store, "bundled");
        image(store, "lost");
        store.name(&named, &store.lock().expect("lock")).expect("name");
        let lease = Lease::new(store).expect("lease");
        lease.keep([&leased.descriptor.digest]).expect("keep");
        let bundle = store.path().join("bundle");
        std::fs::create_dir(&bundle).expect("bundle");
        let root = Root { bundle: bundle.clone(), manifest: bundled.descriptor.digest, snapshots: vec![bundled_diff] };
        store.add_root(&root, &store.lock().expect("lock")).expect("root");

        let swept = store.gc().expect("gc");
        assert_eq!((swept.blobs, swept.snapshots), (3, 1));
        drop(lease);
        std::fs::remove_dir(bundle).expect("rmdir");
        let swept = store.gc().expect("gc");
        assert_eq!((swept.blobs, swept.snapshots), (6, 2));
        store
            .manifest(&named.descriptor)
            .and_then(|manifest| store.config(&manifest))
            .expect("the named image is whole");
    }

    #[test]
    fn a_download_that_goes_on_is_left_alone() {
        let throwaway = Throwaway::new();
        let descriptor = Descriptor::of(MediaType::OciConfig, b"12345");
        let Ok(Some(mut ingest)) = Ingest::begin(&throwaway.0, &descriptor) else { panic!("it is new") };
        ingest.write(b"123").expect("write");
        assert_eq!(throwaway.0.gc(), Ok(Swept::default()));
        drop(ingest);
        assert_eq!(throwaway.0.gc(), Ok(Swept { blobs: 1, bytes: 3, snapshots: 0 }));
    }
}
