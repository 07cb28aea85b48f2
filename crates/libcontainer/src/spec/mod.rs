//! config.json as the OCI runtime-spec 1.3.0 defines it for Linux, and loading it.
//!
//! These are our own types because the runtime must accept whatever the spec permits and name the field where it does
//! not (docs/dependencies.md has the comparison with the oci-spec crate). Fields that nobody knows are ignored, as the
//! spec's "Extensibility" demands; values are checked by the planners, which can say what would be right.

mod cgroup;
mod linux;
mod list;
mod nul;
mod object;
mod process;
mod seccomp;
mod unknown;

pub use cgroup::*;
pub use linux::*;
pub use list::list_to_bits;
pub(crate) use object::null_as_default;
pub use process::*;
pub use seccomp::*;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use object::{read_and_write_as_objects, read_as_objects};

use crate::error::{Error, Kind, Phase, Result, SysContext};
use crate::host::read_file;

/// The version of the runtime-spec that this runtime implements.
pub const VERSION: &str = "1.3.0";

/// The file in a bundle that this module reads.
pub const CONFIG: &str = "config.json";

/// The whole of config.json (config.md).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Spec {
    #[serde(deserialize_with = "null_as_default")]
    pub oci_version: String,
    pub root: Option<Root>,
    #[serde(deserialize_with = "null_as_default")]
    pub mounts: Vec<Mount>,
    pub process: Option<Process>,
    #[serde(deserialize_with = "null_as_default")]
    pub hostname: String,
    #[serde(deserialize_with = "null_as_default")]
    pub domainname: String,
    pub hooks: Option<Hooks>,
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    pub linux: Option<Linux>,
    /// The JSON paths of fields that are not known, as [`Spec::load`] found them.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// config.md "Root".
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
#[allow(missing_docs)]
pub struct Root {
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    #[serde(deserialize_with = "null_as_default")]
    pub readonly: bool,
}

/// config.md "Mounts".
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Mount {
    #[serde(deserialize_with = "null_as_default")]
    pub destination: String,
    #[serde(deserialize_with = "null_as_default")]
    pub source: String,
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub options: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_as_default")]
    pub gid_mappings: Vec<IdMapping>,
}

/// config.md "POSIX-platform Hooks": six lists, each run at its point of the lifecycle.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Hooks {
    #[serde(deserialize_with = "null_as_default")]
    pub prestart: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub create_runtime: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub create_container: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub start_container: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub poststart: Vec<Hook>,
    #[serde(deserialize_with = "null_as_default")]
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
#[allow(missing_docs)]
pub struct Hook {
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    #[serde(deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// In seconds.
    pub timeout: Option<i64>,
}

/// A range of user or group ids (config-linux.md "User namespace mappings").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[allow(missing_docs)]
pub struct IdMapping {
    #[serde(rename = "containerID", deserialize_with = "null_as_default")]
    pub container_id: u32,
    #[serde(rename = "hostID", deserialize_with = "null_as_default")]
    pub host_id: u32,
    #[serde(deserialize_with = "null_as_default")]
    pub size: u32,
}

read_as_objects!(Spec, Root, Mount, Hooks, Hook);
read_and_write_as_objects!(IdMapping);

impl Spec {
    /// Parses the bytes of a config.json; `path` is for the message.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with the line and column of what cannot be parsed, or for an `ociVersion` that this runtime
    /// does not speak.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Spec> {
        let spec: Spec = parse_json(bytes).map_err(|error| error.within(path.display()).during(Phase::LoadSpec))?;
        check_version(&spec.oci_version).map_err(|error| error.within(path.display()).during(Phase::LoadSpec))?;
        Ok(spec)
    }

    /// As [`Spec::parse`], for a config.json that was not looked at before: notes the fields that are not known.
    ///
    /// # Errors
    /// Those of [`Spec::parse`]; a string with a NUL character, which the kernel would cut there.
    pub fn parse_noting_unknown(bytes: &[u8], path: &Path) -> Result<Spec> {
        // What cannot be parsed is parsed again by what can tell where.
        let Ok((mut spec, unknown)) = unknown::parse(bytes) else { return Self::parse(bytes, path) };
        check(&spec, bytes).map_err(|error| error.within(path.display()).during(Phase::LoadSpec))?;
        spec.unknown = unknown;
        Ok(spec)
    }

    /// Reads a bundle's config.json, or `other` in its place; gives its bytes as well, since the state store keeps them.
    ///
    /// # Errors
    /// Those of [`Spec::parse`]; [`Kind::NotFound`] if the file does not exist.
    pub fn load(bundle: &Path, other: Option<&Path>) -> Result<(Spec, Vec<u8>)> {
        let path = other.map_or_else(|| bundle.join(CONFIG), Path::to_owned);
        let bytes = read_file(&path).sys("open", path.display()).map_err(|error| {
            let missing = error.errno() == Some(rustix::io::Errno::NOENT);
            let error = error.during(Phase::LoadSpec);
            if missing {
                error.of_kind(Kind::NotFound).remedy("name the bundle with --bundle; `creel spec` writes a config.json")
            } else {
                error
            }
        })?;
        Ok((Self::parse_noting_unknown(&bytes, &path)?, bytes))
    }
}

/// Parses JSON of the spec's types; a value of the wrong type is told with its field, line and column.
///
/// # Errors
/// [`Kind::Invalid`].
pub fn parse_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Only now: keeping track of the field on the way makes parsing half as slow again.
        let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
        match serde_path_to_error::deserialize::<_, T>(deserializer) {
            Err(located) if located.path().iter().len() > 0 => Error::invalid(located.path(), located.inner()),
            _ => Error::new(Kind::Invalid, error.to_string()),
        }
    })
}

/// What serde's types do not check.
fn check(spec: &Spec, bytes: &[u8]) -> Result<()> {
    check_version(&spec.oci_version)?;
    match nul::find(bytes) {
        Some(field) => Err(Error::invalid(field, "it contains a NUL character")),
        None => Ok(()),
    }
}

/// The spec follows SemVer: 1.x up to ours is fully known; a later 1.x adds fields only, which are ignored as runc does.
fn check_version(version: &str) -> Result<()> {
    let mut numbers = version.split(['-', '+']).next().unwrap_or_default().split('.');
    let mut number = || numbers.next().and_then(|digits| digits.parse::<u64>().ok());
    match (number(), number(), number(), numbers.next()) {
        (Some(1), Some(_), Some(_), None) => Ok(()),
        (Some(major), Some(_), Some(_), None) => {
            let why = format!("version {version} (major {major}) of the runtime-spec is not supported");
            Err(Error::invalid("ociVersion", why).remedy(format!("use 1.0.0 to {VERSION}")))
        }
        _ => Err(Error::invalid("ociVersion", format!("\"{version}\" is not a version like {VERSION}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Spec> {
        Spec::parse(json.as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn bad_json_is_told_with_line_and_column() {
        let error = parse("{\n  \"ociVersion\": 1\n}").expect_err("a number is no version").to_string();
        assert!(error.contains("line 2 column 17"), "{error}");
        let error = parse(r#"{"ociVersion":"1.0.2","mounts":[{"options":[1]}]}"#).expect_err("a number").to_string();
        assert!(error.contains("mounts[0].options[0]: invalid type: integer `1`"), "{error}");
        assert!(
            parse("{").expect_err("cut off").to_string().contains("EOF while parsing an object at line 1 column 1")
        );
    }

    #[test]
    fn only_versions_of_the_first_major_are_accepted() {
        for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.9.1+x"] {
            parse(&format!("{{\"ociVersion\":\"{version}\"}}")).expect(version);
        }
        for version in ["", "2.0.0", "0.9.0", "1.0", "one", "1.0.0.0"] {
            let error = parse(&format!("{{\"ociVersion\":\"{version}\"}}")).expect_err(version);
            assert_eq!(error.kind(), Kind::Invalid);
        }
    }

    #[test]
    fn unknown_fields_are_noted_with_their_paths() {
        let json = r#"{"ociVersion":"1.0.2","new":{},"windows":{},"process":{"argz":["x"],"user":{"uidd":1}},
            "mounts":[{"destination":"/a","opts":[]}],"hooks":null,
            "linux":{"resources":{"cpu":{"share":1}},"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","comment":"for readers"}}}"#;
        let spec = Spec::parse_noting_unknown(json.as_bytes(), Path::new("config.json")).expect("valid");
        let wanted = ["new", "process.argz", "process.user.uidd", "mounts[0].opts", "linux.resources.cpu.share"];
        assert_eq!(spec.unknown, wanted);
        assert!(parse(json).expect("valid").unknown.is_empty());
        let error = Spec::parse_noting_unknown(br#"{"ociVersion":"1.0.2","mounts":[1]}"#, Path::new("config.json"));
        assert!(error.expect_err("a number").to_string().contains("mounts[0]: invalid type"));
    }

    #[test]
    fn null_is_no_value() {
        let json = r#"{"ociVersion":"1.0.2","root":{"path":"r","readonly":null},"mounts":[{"destination":"/a","type":null}],
            "process":{"terminal":null,"cwd":"/","noNewPrivileges":null,"user":{"uid":null,"gid":7},"scheduler":{"nice":null}},
            "linux":{"resources":{"devices":[{"allow":null}]},"timeOffsets":{"monotonic":{"secs":null}},"seccomp":null}}"#;
        let process = parse(json).expect("valid").process.expect("a process");
        assert_eq!((process.terminal, process.user.uid, process.user.gid), (false, 0, 7));
    }

    #[test]
    fn an_object_is_no_list() {
        let error = parse(r#"{"ociVersion":"1.0.2","process":{"user":[0,0]}}"#).expect_err("a list").to_string();
        assert!(error.contains("process.user: invalid type: sequence, expected an object"), "{error}");
        parse("[]").expect_err("a list");
    }

    #[test]
    fn null_lists_and_unknown_fields_are_accepted() {
        let spec = parse(r#"{"ociVersion":"1.0.2","mounts":null,"process":{"args":null,"cwd":"/"},"new":{}}"#);
        assert!(spec.expect("valid").mounts.is_empty());
    }
}
