//! From a name to a whole image in the store: resolve, select, then all layers side by side.

mod layers;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Config, Descriptor, Document, MAX_DOCUMENT, Manifest, MediaType, PlatformSpec};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Download, Fetched, Options, Registry};
use crate::store::{INDEX_ANNOTATION, Image, Ingest, Lease, Store};

/// What to pull, and how.
#[derive(Debug)]
pub struct Pull<'a> {
    /// The store that it comes into.
    pub store: &'a Store,
    /// The image.
    pub reference: &'a Reference,
    /// For what; one manifest of an index is selected.
    pub platform: &'a Platform,
    /// How registries are reached.
    pub options: &'a Options,
    /// Whether layers are unpacked while they come in.
    pub unpack: bool,
    /// Where progress is told.
    pub progress: &'a Progress,
}

/// An index that led to a manifest, and the platform that it gave there.
type Selected = (Fetched, Option<Digest>, Option<PlatformSpec>);

impl Pull<'_> {
    /// Pulls the image and names it. What is here already is not fetched again.
    pub fn run(&self) -> Result<Image> {
        // What a digest names does not change, so that there is nothing to ask if all of it is here.
        if self.reference.digest().is_some()
            && let Ok(image) = self.store.find(self.reference, self.platform)
            && self.platform.runs(&image.platform())
            && self.is_whole(&image.descriptor).unwrap_or(false)
        {
            return self.name(image.descriptor);
        }
        let lease = Lease::new(self.store)?;
        let registry = Registry::new(self.reference, self.options)?;
        let (fetched, index, platform) = self.select(&registry)?;
        let Document::Manifest(manifest) = Document::parse(&fetched.descriptor.media_type, &fetched.bytes)? else {
            return Err(Error::unsupported(format!("{}: an index within an index", self.reference)));
        };
        let kept = [&fetched.descriptor.digest, &manifest.config.digest];
        lease.keep(kept.into_iter().chain(manifest.layers.iter().map(|layer| &layer.digest)))?;
        let config = self.config(&registry, &manifest)?;
        lease.keep(&config.rootfs.diff_ids)?;
        self.check(&config, &manifest)?;
        layers::fetch(self, &registry, &manifest.layers, &config.rootfs.diff_ids)?;
        // The manifest comes last: where it is, all that it names is.
        self.store.put_as(&fetched.descriptor, &fetched.bytes)?;
        let mut descriptor = fetched.descriptor;
        descriptor.media_type = match descriptor.media_type {
            known if known.is_manifest() => known,
            _ => MediaType::OciManifest,
        };
        descriptor.platform = Some(platform.unwrap_or_else(|| config.platform()));
        if let Some(index) = index {
            descriptor.annotations.insert(INDEX_ANNOTATION.to_owned(), index.to_string());
        }
        self.name(descriptor)
    }

    /// Fetches the manifest that the name stands for; through an index, the one for the platform.
    fn select(&self, registry: &Registry) -> Result<Selected> {
        let root = registry.manifest(&self.reference.wanted())?;
        let Document::Index(index) = Document::parse(&root.descriptor.media_type, &root.bytes)? else {
            return Ok((root, None, None));
        };
        let selected = self.platform.select(&index).map_err(|error| error.within(self.reference))?;
        let mut fetched = registry.manifest(&selected.digest.to_string())?;
        if fetched.bytes.len() as u64 != selected.size {
            let text = format!("it has {} bytes, and the index says {}", fetched.bytes.len(), selected.size);
            return Err(Error::corrupt(&selected.digest, text));
        }
        // The index was verified, and says what this is; the registry's word for it must agree.
        Document::parse(&selected.media_type, &fetched.bytes)?;
        fetched.descriptor.media_type = selected.media_type.clone();
        Ok((fetched, Some(root.descriptor.digest), selected.platform.clone()))
    }

    fn config(&self, registry: &Registry, manifest: &Manifest) -> Result<Config> {
        let descriptor = &manifest.config;
        if !matches!(descriptor.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
            let what = format!("{}: its configuration is a {}", self.reference, descriptor.media_type);
            return Err(Error::unsupported(what).cause("it is no container image"));
        }
        if descriptor.size > MAX_DOCUMENT {
            return Err(crate::store::too_long(descriptor));
        }
        if let Some(ingest) = Ingest::begin(self.store, descriptor)? {
            Download::new(registry, descriptor, ingest, |_| Ok(()))?.finish()?;
        }
        self.store.config(manifest)
    }

    fn check(&self, config: &Config, manifest: &Manifest) -> Result<()> {
        let (layers, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != ids {
            let text = format!("the manifest has {layers} layers, and the configuration {ids}");
            return Err(Error::corrupt(self.reference, text));
        }
        if let Some(layer) = manifest.layers.iter().find(|layer| layer.media_type.compression().is_none()) {
            return Err(Error::unsupported(format!("{}: a layer is a {}", self.reference, layer.media_type))
                .cause("only tar archives, plain or with gzip or zstd, are layers here"));
        }
        let built_for = config.platform();
        if built_for.os.is_empty() || self.platform.runs(&Platform::of(&built_for)) {
            return Ok(());
        }
        let built_for = Platform::of(&built_for);
        Err(Error::new(Kind::NotFound, format!("{} is for {built_for}, not for {}", self.reference, self.platform))
            .remedy(format!("to have it all the same, say --platform {built_for}")))
    }

    fn is_whole(&self, descriptor: &Descriptor) -> Result<bool> {
        let manifest = self.store.manifest(descriptor)?;
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            if !self.store.has(descriptor)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn name(&self, descriptor: Descriptor) -> Result<Image> {
        let image = Image { name: self.reference.to_string(), descriptor };
        self.store.name(&image, &self.store.lock()?)?;
        Ok(image)
    }
}
