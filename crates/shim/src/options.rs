//! What containerd's configuration says for a runtime: `containerd.runc.v1.Options`, or, from the CRI plugin for a
//! runtime that it does not know, the TOML table as it was written (`runtimeoptions.v1.Options`). Up to 1.7, containerd's
//! client library gives a runtime that it does not know what the first shims took (`containerd.linux.runc.CreateOptions`).

use std::path::{Path, PathBuf};

use containerd_shim_protos::protobuf::rt::skip_field_for_tag;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{CodedInputStream, Message, Result as ReadResult};
use containerd_shim_protos::shim::oci;
use libcontainer::container::Store;
use serde::{Deserialize, Serialize};

use crate::ttrpc::{Code, Status};

/// Where the state of containers is, unless the options say otherwise; below it one directory per namespace.
const DEFAULT_ROOT: &str = "/run/containerd/creel";
/// The file in the bundle that they are kept in, for `delete`. containerd's own shim has one of the same name.
const FILE: &str = "options.json";

/// Those that mean something to us. `BinaryName` does not: there is no other program to execute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Use MS_MOVE instead of pivot_root.
    pub no_pivot_root: bool,
    /// Keep the shim's session keyring.
    pub no_new_keyring: bool,
    /// A cgroup for the shim itself, as a path below each hierarchy's mount.
    pub shim_cgroup: String,
    /// The owner of the streams.
    pub io_uid: u32,
    /// Their group.
    pub io_gid: u32,
    /// Where the state of containers is.
    pub root: String,
    /// `cgroupsPath` is systemd's `slice:prefix:name`.
    pub systemd_cgroup: bool,
}

impl Options {
    /// From a request; none at all are the defaults.
    ///
    /// # Errors
    /// If they are of another type, or cannot be read.
    pub fn from_any(any: Option<&Any>) -> Result<Options, Status> {
        Options::read(any, |path| std::fs::read(path))
    }

    /// As [`Options::from_any`]; `read_file` reads the file that may be named in place of the table.
    pub(crate) fn read(
        any: Option<&Any>,
        read_file: impl FnOnce(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Options, Status> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else { return Ok(Options::default()) };
        let invalid = |why: String| Status::new(Code::INVALID_ARGUMENT, format!("runtime options: {why}"));
        match any.type_url.rsplit('/').next() {
            Some("containerd.runc.v1.Options") => {
                let read = oci::Options::parse_from_bytes(&any.value).map_err(|error| invalid(error.to_string()))?;
                Ok(Options::from(read))
            }
            Some("containerd.linux.runc.CreateOptions") => {
                Options::from_create_options(&any.value).map_err(|error| invalid(error.to_string()))
            }
            Some("runtimeoptions.v1.Options" | "cri.runtimeoptions.v1.Options") => {
                let generic = Generic::parse(&any.value).map_err(|error| invalid(error.to_string()))?;
                let text = match generic.path.as_str() {
                    "" => generic.body,
                    path => read_file(path).map_err(|error| invalid(format!("{path}: {error}")))?,
                };
                Options::from_toml(&String::from_utf8_lossy(&text)).map_err(invalid)
            }
            _ => Err(invalid(format!("{} is not a type that this runtime knows", any.type_url))),
        }
    }

    /// `CreateOptions`, which the crate of message types does not have: what `ctr` is told by `--no-pivot`, `--keyring` and
    /// `--shim-cgroup`, and by the maps of a user namespace, whose root owns the streams.
    fn from_create_options(bytes: &[u8]) -> ReadResult<Options> {
        let mut options = Options::default();
        let mut input = CodedInputStream::from_bytes(bytes);
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            match field(tag) {
                (1, VARINT) => options.no_pivot_root = input.read_bool()?,
                (8, VARINT) => options.no_new_keyring = input.read_bool()?,
                (9, LENGTH) => options.shim_cgroup = input.read_string()?,
                (10, VARINT) => options.io_uid = input.read_uint32()?,
                (11, VARINT) => options.io_gid = input.read_uint32()?,
                _ => skip_field_for_tag(tag, &mut input)?,
            }
        }
        Ok(options)
    }

    /// The table of containerd's config.toml, which is flat: a key and a value on each line.
    fn from_toml(text: &str) -> Result<Options, String> {
        let mut options = Options::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
            let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
                return Err(format!("\"{line}\" is not a key and a value"));
            };
            let wrong = || format!("{key} cannot be {value}");
            let boolean = || value.parse::<bool>().map_err(|_| wrong());
            let number = || value.parse::<u32>().map_err(|_| wrong());
            let string = || {
                let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
                quoted('"').or_else(|| quoted('\'')).map(str::to_owned).ok_or_else(wrong)
            };
            match key.trim_matches('"') {
                "NoPivotRoot" => options.no_pivot_root = boolean()?,
                "NoNewKeyring" => options.no_new_keyring = boolean()?,
                "ShimCgroup" => options.shim_cgroup = string()?,
                "IoUid" => options.io_uid = number()?,
                "IoGid" => options.io_gid = number()?,
                "Root" => options.root = string()?,
                "SystemdCgroup" => options.systemd_cgroup = boolean()?,
                // BinaryName and CRIU's paths, as other shims have them, and what later versions may add.
                _ => {}
            }
        }
        Ok(options)
    }

    /// The store of a namespace.
    pub fn store(&self, namespace: &str) -> Store {
        let root = if self.root.is_empty() { DEFAULT_ROOT } else { &self.root };
        Store::new(&PathBuf::from(root).join(namespace))
    }

    /// Keeps them in a bundle.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, bundle: &Path) -> Result<(), Status> {
        let path = bundle.join(FILE);
        let text = serde_json::to_vec(self).unwrap_or_default();
        std::fs::write(&path, text)
            .map_err(|error| Status::new(Code::UNKNOWN, format!("writing {}: {error}", path.display())))
    }

    /// Those that were kept in a bundle; the defaults if there are none.
    pub fn load(bundle: &Path) -> Options {
        let text = std::fs::read(bundle.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

impl From<oci::Options> for Options {
    fn from(read: oci::Options) -> Options {
        Options {
            no_pivot_root: read.no_pivot_root,
            no_new_keyring: read.no_new_keyring,
            shim_cgroup: read.shim_cgroup,
            io_uid: read.io_uid,
            io_gid: read.io_gid,
            root: read.root,
            systemd_cgroup: read.systemd_cgroup,
        }
    }
}

/// `runtimeoptions.v1.Options`, which the crate of message types does not have.
#[derive(Default)]
struct Generic {
    /// Field 2, `config_path`.
    path: String,
    /// Field 3, `config_body`: since containerd 1.7, what the table says.
    body: Vec<u8>,
}

impl Generic {
    fn parse(bytes: &[u8]) -> ReadResult<Generic> {
        let mut generic = Generic::default();
        let mut input = CodedInputStream::from_bytes(bytes);
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            match field(tag) {
                (2, LENGTH) => generic.path = input.read_string()?,
                (3, LENGTH) => generic.body = input.read_bytes()?,
                _ => skip_field_for_tag(tag, &mut input)?,
            }
        }
        Ok(generic)
    }
}

// protobuf's wire types that these messages have: a number, and bytes after their length.
const VARINT: u32 = 0;
const LENGTH: u32 = 2;

/// A field's number and wire type.
fn field(tag: u32) -> (u32, u32) {
    (tag >> 3, tag & 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(type_url: &str, value: Vec<u8>) -> Any {
        Any { type_url: type_url.into(), value, ..Any::default() }
    }

    #[test]
    fn runcs_options() {
        let mut given = oci::Options::new();
        given.systemd_cgroup = true;
        given.root = "/x".into();
        given.binary_name = "runc".into();
        let any = any("containerd.runc.v1.Options", given.write_to_bytes().expect("bytes"));
        let options = Options::from_any(Some(&any)).expect("valid");
        assert_eq!(options, Options { systemd_cgroup: true, root: "/x".into(), ..Options::default() });
        assert_eq!(options.store("ns").root(), Path::new("/x/ns"));
        assert_eq!(Options::default().store("ns").root(), Path::new("/run/containerd/creel/ns"));
    }

    #[test]
    fn the_table_of_the_cri_plugin() {
        let body = b"BinaryName = \"\"\nSystemdCgroup = true\nRoot = '/r'\nIoUid = 5\n# a comment\n";
        let mut bytes = vec![3 << 3 | 2, body.len() as u8];
        bytes.extend_from_slice(body);
        let any = any("type.googleapis.com/runtimeoptions.v1.Options", bytes);
        let options = Options::from_any(Some(&any)).expect("valid");
        assert_eq!(options, Options { systemd_cgroup: true, root: "/r".into(), io_uid: 5, ..Options::default() });
    }

    #[test]
    fn what_the_first_shims_took() {
        // Fields 1, 4 (of a checkpoint's), 8, 9, 10 and 11.
        let bytes = [8, 1, 32, 1, 64, 1, 74, 2, b'/', b's', 80, 0xa0, 0x8d, 6, 88, 0xa7, 0x8d, 6];
        let any = any("type.googleapis.com/containerd.linux.runc.CreateOptions", bytes.to_vec());
        let (no_pivot_root, no_new_keyring, io_uid, io_gid) = (true, true, 100_000, 100_007);
        let shim_cgroup = "/s".to_owned();
        let expected = Options { no_pivot_root, no_new_keyring, shim_cgroup, io_uid, io_gid, ..Options::default() };
        assert_eq!(Options::from_any(Some(&any)), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert_eq!(Options::from_toml("IoUid = many"), Err("IoUid cannot be many".into()));
        assert_eq!(Options::from_toml("what"), Err("\"what\" is not a key and a value".into()));
        let other = any("io.example.Other", vec![]);
        assert!(Options::from_any(Some(&other)).expect_err("unknown").message.contains("io.example.Other"));
        assert_eq!(Options::from_any(None), Ok(Options::default()));
    }
}
