//! What a hook reads on its stdin (runtime.md "State").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The container as its hooks see it; [`HookState::json`] adds what changes from hook to hook.
#[derive(Clone, Debug)]
pub struct HookState {
    /// The spec version of the bundle.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// config.json's annotations.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl HookState {
    /// The JSON of it, with init's pid as the hook's PID namespace numbers it (absent once it has stopped).
    pub fn json(&self, status: &str, pid: Option<i32>) -> Vec<u8> {
        let HookState { oci_version, id, bundle, annotations } = self;
        let printed = Printed { oci_version, id, status, pid, bundle, annotations };
        // Strings and numbers cannot fail to serialise, save a bundle's path that is not UTF-8: then it is left empty.
        serde_json::to_vec(&printed)
            .or_else(|_| serde_json::to_vec(&Printed { bundle: Path::new(""), ..printed }))
            .unwrap_or_default()
    }
}
