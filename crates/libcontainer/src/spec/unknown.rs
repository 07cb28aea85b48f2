//! Fields of config.json that this version does not know. The spec's "Extensibility" wants them ignored; the user should
//! hear of it, since a misspelt field is one of them.

use serde_ignored::Path;

use super::Spec;

/// The spec's other platforms (config.md "Platform-specific configuration", and what is Windows' of "Process"): known, and
/// not ours to look at.
const OTHER_PLATFORMS: [&str; 7] =
    ["solaris", "windows", "vm", "zos", "freebsd", "process.commandLine", "process.user.username"];

/// Words for who reads a profile, as in our own (seccomp-profiles/default.json) and in the engines'.
fn is_remark(path: &str) -> bool {
    path.starts_with("linux.seccomp.") && path.ends_with(".comment")
}

/// Parses, and gives the JSON paths of the unknown fields.
pub fn parse(bytes: &[u8]) -> Result<(Spec, Vec<String>), serde_json::Error> {
    let mut unknown = Vec::new();
    let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
    let spec = serde_ignored::deserialize(&mut *deserializer, |path| unknown.push(json_path(&path)))?;
    deserializer.end()?;
    unknown.retain(|path| !OTHER_PLATFORMS.contains(&path.as_str()) && !is_remark(path));
    Ok((spec, unknown))
}

/// As other messages have it: `linux.devices[0].name`.
fn json_path(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", json_path(parent)),
        Path::Map { parent, key } => match json_path(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => json_path(parent),
    }
}
