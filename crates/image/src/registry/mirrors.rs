//! Mirrors by configuration: `{"mirrors": {"docker.io": ["https://mirror.example"]}}`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result, SysContext};

const FILE: &str = "/etc/creel/registries.json";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registries {
    #[serde(default)]
    mirrors: BTreeMap<String, Vec<String>>,
}

/// The mirrors of `registry`, in the order in which they are to be asked.
pub fn configured(named: Option<&Path>, registry: &str) -> Result<Vec<String>> {
    let path = named.unwrap_or(Path::new(FILE));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(Vec::new()),
        Err(error) => return Err(error).sys("open", path.display()),
    };
    let mut file: Registries = serde_json::from_slice(&bytes).map_err(|error| Error::invalid(path.display(), error))?;
    Ok(file.mirrors.remove(registry).unwrap_or_default())
}
