//! Media types of OCI's and Docker's documents and layers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a layer's tar archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip; eStargz is gzip too.
    Gzip,
    /// Zstandard; zstd:chunked is Zstandard too.
    Zstd,
}

/// A media type that this crate knows, or any other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MediaType {
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.oci.image.config.v1+json`
    OciConfig,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerList,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.container.image.v1+json`
    DockerConfig,
    /// `application/vnd.docker.distribution.manifest.v1+json`, signed (`+prettyjws`) or not
    DockerSchema1(String),
    /// A layer: a tar archive of changes, by its full media type.
    Layer(Compression, String),
    /// Anything else: artefacts, encrypted layers, the future.
    Other(String),
}

const SIMPLE: [(&str, MediaType); 6] = [
    ("application/vnd.oci.image.index.v1+json", MediaType::OciIndex),
    ("application/vnd.oci.image.manifest.v1+json", MediaType::OciManifest),
    ("application/vnd.oci.image.config.v1+json", MediaType::OciConfig),
    ("application/vnd.docker.distribution.manifest.list.v2+json", MediaType::DockerList),
    ("application/vnd.docker.distribution.manifest.v2+json", MediaType::DockerManifest),
    ("application/vnd.docker.container.image.v1+json", MediaType::DockerConfig),
];

/// The layers' media types; `foreign` and `nondistributable` ones differ only in where they may be stored.
const LAYERS: [(&str, Compression); 10] = [
    ("application/vnd.oci.image.layer.v1.tar", Compression::None),
    ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
    ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar", Compression::None),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Compression::Gzip),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", Compression::Zstd),
    ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::Zstd),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression::Gzip),
];

impl MediaType {
    /// An index of manifests, one for each platform.
    pub fn is_index(&self) -> bool {
        matches!(self, MediaType::OciIndex | MediaType::DockerList)
    }

    /// A manifest: a configuration and layers.
    pub fn is_manifest(&self) -> bool {
        matches!(self, MediaType::OciManifest | MediaType::DockerManifest)
    }

    /// How a layer is packed; nothing if it is not a layer.
    pub fn compression(&self) -> Option<Compression> {
        match self {
            MediaType::Layer(compression, _) => Some(*compression),
            _ => None,
        }
    }

    /// OCI's layer that is packed in this way.
    pub fn oci_layer(compression: Compression) -> MediaType {
        let suffix = match compression {
            Compression::None => "",
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
        };
        MediaType::Layer(compression, format!("application/vnd.oci.image.layer.v1.tar{suffix}"))
    }

    /// What to ask a registry for; `Accept` of a request for a manifest.
    pub fn accepted() -> String {
        let documents = SIMPLE.iter().filter(|(_, kind)| kind.is_index() || kind.is_manifest());
        documents.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        // A Content-Type may have parameters, which mean nothing here.
        let name = text.split(';').next().unwrap_or_default().trim();
        if let Some((_, kind)) = SIMPLE.iter().find(|(known, _)| *known == name) {
            return kind.clone();
        }
        if let Some((_, compression)) = LAYERS.iter().find(|(known, _)| *known == name) {
            return MediaType::Layer(*compression, name.to_owned());
        }
        if name.starts_with("application/vnd.docker.distribution.manifest.v1+") {
            return MediaType::DockerSchema1(name.to_owned());
        }
        MediaType::Other(name.to_owned())
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.to_string()
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            MediaType::Layer(_, name) | MediaType::DockerSchema1(name) | MediaType::Other(name) => name,
            simple => SIMPLE.iter().find(|(_, kind)| kind == simple).map_or("", |(name, _)| name),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_comes_back_as_itself() {
        let names = SIMPLE.iter().map(|(name, _)| *name).chain(LAYERS.iter().map(|(name, _)| *name));
        for name in names.chain(["application/vnd.docker.distribution.manifest.v1+prettyjws", "text/html"]) {
            assert_eq!(MediaType::from(name).to_string(), name);
        }
        assert_eq!(MediaType::from("application/vnd.oci.image.index.v1+json; charset=utf-8"), MediaType::OciIndex);
    }
}
