//! Descriptors: what points from one document to the next, with type, digest and size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::manifest::MediaType;

/// What an index, a manifest or a layout says about a piece of content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: MediaType,
    /// What its bytes must hash to.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// Where else it may be had (foreign layers); never with the registry's credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    /// Free text of the one who made it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformSpec>,
    /// In place of the content: the content itself, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What kind of artefact it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Points to `bytes`.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Points to content that is known by digest and size.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        let (urls, annotations) = (Vec::new(), BTreeMap::new());
        Descriptor { media_type, digest, size, urls, annotations, platform: None, data: None, artifact_type: None }
    }
}

/// A platform as documents write it; `crate::platform` compares them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlatformSpec {
    /// As in Go's GOARCH.
    pub architecture: String,
    /// As in Go's GOOS.
    pub os: String,
    /// Such as `v7` of arm.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The version of the operating system (Windows).
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
}

/// Go writes an empty list or map as `null`; it means the same as leaving it out.
pub(super) fn null_is_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
