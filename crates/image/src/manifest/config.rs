//! The image configuration: what to execute, and the digests of the unpacked layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::descriptor::{PlatformSpec, null_is_default};
use super::document::{self, bounded};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// An image's configuration (image-spec, config.md), Docker's too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// As in Go's GOARCH.
    #[serde(default)]
    pub architecture: String,
    /// As in Go's GOOS.
    #[serde(default)]
    pub os: String,
    /// Such as `v7` of arm.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// When it was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What to execute.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Execution,
    /// The layers, by the digests of their uncompressed archives.
    pub rootfs: RootFs,
    /// What made each layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub history: Vec<History>,
}

/// What a container of the image executes, unless it is told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// `user`, `uid`, `user:group`, `uid:gid`, or empty for root.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `NAME=value`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Comes before the command.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The command, or the default arguments of the entry point.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// An absolute path, or empty for `/`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Paths that want a volume.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Value>,
    /// `port/protocol`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// Free text of the image's author; never instructions to this machine (containerd's CVE-2026-53488).
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the container to end, by name or number; empty for SIGTERM.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

/// The layers of a root filesystem, lowest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed archives.
    #[serde(deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

/// What made a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The author's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it changed no file, and so has no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl Config {
    /// What the image was built for.
    pub fn platform(&self) -> PlatformSpec {
        let (os, architecture, variant) = (self.os.clone(), self.architecture.clone(), self.variant.clone());
        PlatformSpec { os, architecture, variant, os_version: String::new() }
    }

    /// Reads a configuration; it must be of the kind that has layers.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        bounded("image configuration", bytes)?;
        let config: Config = document::parse("image configuration", bytes)?;
        if config.rootfs.kind != "layers" {
            let found = format!("rootfs.type is {:?}, and only \"layers\" is known", config.rootfs.kind);
            return Err(Error::corrupt("image configuration", found));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_writes_as_null_is_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"],"Volumes":null,"Labels":null},
                       "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let config = Config::parse(text.as_bytes()).expect("a configuration");
        assert_eq!(config.config.cmd, ["sh"]);
        assert!(config.rootfs.diff_ids.is_empty());
        let none = r#"{"architecture":"amd64","os":"linux","config":null,"rootfs":{"type":"layers","diff_ids":[]}}"#;
        assert_eq!(Config::parse(none.as_bytes()).expect("a configuration").config, Execution::default());
    }

    #[test]
    fn another_kind_of_root_filesystem_is_refused_by_name() {
        let text = r#"{"rootfs":{"type":"layers+base","diff_ids":[]}}"#;
        assert!(Config::parse(text.as_bytes()).is_err_and(|error| error.to_string().contains("rootfs.type")));
    }
}
