//! Names: index.json of the layout, one entry for each name and platform.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Locked, Store, file};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result, SysContext};
use crate::manifest::{Descriptor, Document, MediaType};
use crate::platform::Platform;
use crate::reference::Reference;

/// The annotation that has an entry's name, as the image specification has it.
pub const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// The annotation that has the digest of the index that the image was selected from.
pub const INDEX_ANNOTATION: &str = "io.creel.image.index";

/// A named image of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its name, complete.
    pub name: String,
    /// Its manifest.
    pub descriptor: Descriptor,
}

impl Image {
    /// What it was built for.
    pub fn platform(&self) -> Platform {
        self.descriptor.platform.as_ref().map_or_else(Platform::host, Platform::of)
    }

    /// The digest of the index that it was selected from, if it was.
    pub fn index(&self) -> Option<&str> {
        self.descriptor.annotations.get(INDEX_ANNOTATION).map(String::as_str)
    }

    fn is(&self, reference: &Reference) -> bool {
        let has =
            |digest: &Digest| self.descriptor.digest == *digest || self.index() == Some(digest.to_string().as_str());
        let Ok(own) = self.name.parse::<Reference>() else { return false };
        let same_repository = own.registry() == reference.registry() && own.repository() == reference.repository();
        match reference.digest() {
            Some(digest) => same_repository && has(digest),
            None => own == *reference,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    schema_version: u32,
    media_type: MediaType,
    manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Store {
    /// Every named image, in the order of names.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images: Vec<Image> = self.entries()?.into_iter().filter_map(named).collect();
        images.sort_by(|a, b| (&a.name, a.platform().to_string()).cmp(&(&b.name, b.platform().to_string())));
        Ok(images)
    }

    /// The image that `reference` names here, for `platform`.
    pub fn find(&self, reference: &Reference, platform: &Platform) -> Result<Image> {
        let mut found: Vec<Image> = self.images()?.into_iter().filter(|image| image.is(reference)).collect();
        if let Some(position) = found.iter().position(|image| image.platform() == *platform) {
            return Ok(found.swap_remove(position));
        }
        match found.as_slice() {
            [] => Err(Error::new(Kind::NotFound, format!("{reference} is not in the store"))
                .remedy(format!("get it with: creel-image pull {reference}"))),
            [only] if *platform == Platform::host() => Ok(only.clone()),
            several => {
                let has: Vec<_> = several.iter().map(|image| image.platform().to_string()).collect();
                Err(Error::new(Kind::NotFound, format!("{reference} is not in the store for {platform}"))
                    .remedy(format!("it is here for {}; name one with --platform", has.join(", "))))
            }
        }
    }

    /// Names an image; the name's earlier image for the same platform loses it.
    pub fn name(&self, image: &Image, _lock: &Locked) -> Result<()> {
        let mut descriptor = image.descriptor.clone();
        descriptor.annotations.insert(NAME_ANNOTATION.to_owned(), image.name.clone());
        let mut entries = self.entries()?;
        entries.retain(|entry| {
            named(entry.clone()).is_none_or(|other| other.name != image.name || other.platform() != image.platform())
        });
        entries.push(descriptor);
        self.write_entries(entries)
    }

    /// Takes a name away; the content stays until gc.
    pub fn unname(&self, image: &Image, _lock: &Locked) -> Result<()> {
        let mut entries = self.entries()?;
        entries.retain(|entry| named(entry.clone()).is_none_or(|other| other != *image));
        self.write_entries(entries)
    }

    /// Every manifest of the layout, also those that others have put here without a name.
    pub(super) fn entries(&self) -> Result<Vec<Descriptor>> {
        let path = self.index_path();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).sys("open", path.display()),
        };
        match Document::parse(&MediaType::OciIndex, &bytes).map_err(|error| error.within(path.display()))? {
            Document::Index(index) => Ok(index.manifests),
            Document::Manifest(_) => Err(Error::corrupt(path.display(), "is not an index")),
        }
    }

    fn write_entries(&self, manifests: Vec<Descriptor>) -> Result<()> {
        let layout =
            Layout { schema_version: 2, media_type: MediaType::OciIndex, manifests, annotations: BTreeMap::new() };
        let bytes = serde_json::to_vec(&layout).map_err(|error| Error::new(Kind::System, error.to_string()))?;
        file::replace(&self.index_path(), &bytes)
    }

    fn index_path(&self) -> PathBuf {
        self.path.join("index.json")
    }
}

fn named(descriptor: Descriptor) -> Option<Image> {
    let name = descriptor.annotations.get(NAME_ANNOTATION)?.clone();
    Some(Image { name, descriptor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::PlatformSpec;
    use crate::store::testing::Throwaway;

    fn image(name: &str, architecture: &str, content: &str) -> Image {
        let mut descriptor = Descriptor::of(MediaType::OciManifest, content.as_bytes());
        let (os, architecture) = ("linux".to_owned(), architecture.to_owned());
        descriptor.platform = Some(PlatformSpec { os, architecture, ..PlatformSpec::default() });
        descriptor.annotations.insert(NAME_ANNOTATION.to_owned(), name.to_owned());
        Image { name: name.to_owned(), descriptor }
    }

    #[test]
    fn a_name_moves_and_platforms_are_apart() {
        let throwaway = Throwaway::new();
        let store = &throwaway.0;
        let lock = store.lock().expect("lock");
        let (old, new) =
            (image("docker.io/library/a:latest", "amd64", "1"), image("docker.io/library/a:latest", "amd64", "2"));
        let arm = image("docker.io/library/a:latest", "arm64", "3");
        for image in [&old, &arm, &new] {
            store.name(image, &lock).expect("name");
        }
        let reference: Reference = "a".parse().expect("name");
        let find = |platform: &str| store.find(&reference, &platform.parse().expect("platform"));
        assert_eq!((find("amd64"), find("arm64")), (Ok(new.clone()), Ok(arm)));
        assert!(find("s390x").is_err_and(|error| error.to_string().contains("linux/arm64")));
        let by_digest: Reference = format!("a@{}", new.descriptor.digest).parse().expect("name");
        assert_eq!(store.find(&by_digest, &Platform::host()), Ok(new.clone()));
        store.unname(&new, &lock).expect("unname");
        assert_eq!(store.images().expect("images").len(), 1);
    }
}
