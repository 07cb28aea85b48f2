//! Indexes and manifests, and telling them apart without trusting either the bytes or the registry alone.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::descriptor::null_is_default;
use super::{Descriptor, MediaType};
use crate::error::{Error, Kind, Result};

/// The longest document that is read; the distribution specification has registries take manifests up to this size.
pub const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;
/// No union filesystem takes more lower directories; Docker's own limit is 127.
const MAX_LAYERS: usize = 500;
const MAX_MANIFESTS: usize = 10_000;

/// Manifests for several platforms.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Index {
    /// The manifests, in the order of preference.
    #[serde(deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Free text of the one who made it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Manifest {
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Free text of the one who made it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

/// What a name can stand for.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// Manifests for several platforms.
    Index(Index),
    /// An image.
    Manifest(Box<Manifest>),
}

/// The members that tell the kinds of document apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
    history: Option<IgnoredAny>,
}

impl Document {
    /// Reads a document that `claimed` (a registry's Content-Type, or a descriptor) says something about.
    ///
    /// One that could be read as two kinds is refused: what one program checks must be what another runs (CVE-2021-41190).
    pub fn parse(claimed: &MediaType, bytes: &[u8]) -> Result<Self> {
        let what = "image manifest";
        bounded(what, bytes)?;
        if matches!(claimed, MediaType::DockerSchema1(_)) {
            return Err(schema_1());
        }
        let shape: Shape = parse(what, bytes)?;
        let own = shape.media_type.as_deref().map(MediaType::from);
        shape.check_version(own.as_ref())?;
        let kind = match (claimed, own) {
            (MediaType::Other(_), Some(own)) => own,
            (claimed, Some(own)) if own != *claimed => {
                let said = format!("it calls itself {own}, and was announced as {claimed}");
                return Err(Error::corrupt(what, said).cause("it could be read in two ways (CVE-2021-41190)"));
            }
            (MediaType::Other(_), None) => shape.kind_by_members(),
            (claimed, _) => claimed.clone(),
        };
        shape.check_members(&kind)?;
        if kind.is_index() {
            let index: Index = parse("image index", bytes)?;
            return at_most("image index", "manifests", index.manifests.len(), MAX_MANIFESTS)
                .map(|()| Document::Index(index));
        }
        let manifest: Manifest = parse(what, bytes)?;
        at_most(what, "layers", manifest.layers.len(), MAX_LAYERS).map(|()| Document::Manifest(Box::new(manifest)))
    }
}

impl Shape {
    fn check_version(&self, own: Option<&MediaType>) -> Result<()> {
        let by_members = self.fs_layers.is_some() && self.manifests.is_none() && self.layers.is_none();
        if self.schema_version == Some(1) || by_members || matches!(own, Some(MediaType::DockerSchema1(_))) {
            return Err(schema_1());
        }
        match self.schema_version {
            Some(2) => Ok(()),
            Some(other) => Err(Error::corrupt("image manifest", format!("schemaVersion is {other}, and must be 2"))),
            None => Err(Error::corrupt("image manifest", "has no schemaVersion, which must be 2")),
        }
    }

    fn kind_by_members(&self) -> MediaType {
        if self.manifests.is_some() { MediaType::OciIndex } else { MediaType::OciManifest }
    }

    fn check_members(&self, kind: &MediaType) -> Result<()> {
        let ambiguous = |members: &str| {
            let error = Error::corrupt("image manifest", format!("it is announced as {kind} and has {members}"));
            Err(error.cause("it could be read in two ways (CVE-2021-41190)"))
        };
        if self.fs_layers.is_some() || self.history.is_some() {
            return ambiguous("members of schema 1 (fsLayers, history)");
        }
        match kind {
            kind if kind.is_index() => match (&self.config, &self.layers) {
                (None, None) => Ok(()),
                _ => ambiguous("members of a manifest (config, layers)"),
            },
            kind if kind.is_manifest() => match self.manifests {
                None => Ok(()),
                Some(_) => ambiguous("members of an index (manifests)"),
            },
            other => Err(Error::unsupported(format!("{other} is neither an image nor an index of images"))),
        }
    }
}

fn schema_1() -> Error {
    Error::new(Kind::Unsupported, "the image is in Docker's schema 1, which names no content by its digest")
        .remedy("have it pushed again: Docker 1.10 and later, skopeo and buildah write schema 2 or OCI")
}

fn at_most(what: &str, members: &str, found: usize, most: usize) -> Result<()> {
    if found <= most {
        return Ok(());
    }
    Err(Error::corrupt(what, format!("it has {found} {members}, and at most {most} are read")))
}

/// Fails for a document that is longer than any honest one.
pub(super) fn bounded(what: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 <= MAX_DOCUMENT {
        return Ok(());
    }
    Err(Error::corrupt(what, format!("it has {} bytes, and at most {MAX_DOCUMENT} are read", bytes.len())))
}

/// Reads JSON; the error names the member.
pub(super) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        Error::corrupt(what, format!("{place}{}", error.inner()))
    })?;
    json.end().map_err(|error| Error::corrupt(what, error))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":0}}"#)
    }

    fn manifest() -> String {
        let config = descriptor("application/vnd.oci.image.config.v1+json");
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip");
        format!(r#""config":{config},"layers":[{layer}]"#)
    }

    fn refused(claimed: &str, text: &str) -> String {
        Document::parse(&claimed.into(), text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn a_manifest_and_an_index_are_told_apart() {
        let text = format!(r#"{{"schemaVersion":2,{}}}"#, manifest());
        let document = Document::parse(&MediaType::OciManifest, text.as_bytes()).expect("a manifest");
        assert!(matches!(document, Document::Manifest(manifest) if manifest.layers.len() == 1));
        let text = r#"{"schemaVersion":2,"manifests":[]}"#;
        let document = Document::parse(&"text/plain".into(), text.as_bytes()).expect("an index");
        assert!(matches!(document, Document::Index(_)));
    }

    #[test]
    fn a_document_of_two_kinds_is_refused() {
        let both = format!(r#"{{"schemaVersion":2,"manifests":[],{}}}"#, manifest());
        for claimed in ["application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json", "x/y"]
        {
            assert!(refused(claimed, &both).contains("CVE-2021-41190"));
        }
        let other =
            format!(r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",{}}}"#, manifest());
        assert!(refused("application/vnd.oci.image.manifest.v1+json", &other).contains("calls itself"));
        assert!(refused("", &other).contains("CVE-2021-41190"));
    }

    #[test]
    fn schema_1_is_refused_with_a_sentence() {
        let text = r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#;
        for claimed in ["application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json"] {
            assert!(refused(claimed, text).contains("schema 1"));
        }
    }

    #[test]
    fn what_is_malformed_names_the_member() {
        let text = r#"{"schemaVersion":2,"manifests":[{"mediaType":"","digest":"sha256:../x","size":1}]}"#;
        assert!(refused("", text).contains("manifests[0].digest"));
        let text = r#"{"schemaVersion":2,"manifests":[{"mediaType":"","digest":"","size":-1}]}"#;
        assert!(refused("", text).contains("manifests[0]"));
        let deep = format!(r#"{{"schemaVersion":2,"manifests":{}"#, "[".repeat(100_000));
        refused("", &deep);
        refused("", &" ".repeat(5 * 1024 * 1024));
    }

    #[test]
    fn an_artefact_is_not_an_image() {
        let text = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}"#;
        assert!(refused("", text).contains("neither an image nor an index"));
    }

    #[test]
    fn damaged_documents_are_read_or_refused() {
        let whole =
            format!(r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",{}}}"#, manifest());
        let mut random = crate::testing::Random::new();
        let (mut read, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let mut bytes = whole.clone().into_bytes();
            random.damage(&mut bytes);
            match Document::parse(&MediaType::OciManifest, &bytes) {
                Ok(Document::Manifest(_)) => read += 1,
                Ok(Document::Index(_)) => panic!("a manifest became an index: {}", String::from_utf8_lossy(&bytes)),
                Err(_) => refused += 1,
            }
        }
        assert!(read > 100 && refused > 1000, "{read} read, {refused} refused");
    }
}
