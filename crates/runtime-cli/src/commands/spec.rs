//! `spec`: a config.json to start from, in the text that `runc spec` writes.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use libcontainer::host::CgroupFacts;
use libcontainer::spec::CONFIG;

use crate::cli::{self, given};
use crate::logging::plain;

const ROOTFUL: &str = include_str!("../spec_template/config.json");
const ROOTLESS: &str = include_str!("../spec_template/config-rootless.json");
/// How the templates list the last namespace that every host gets.
const MOUNT_NAMESPACE: &str = "\t\t\t{\n\t\t\t\t\"type\": \"mount\"\n\t\t\t}";
const CGROUP_NAMESPACE: &str = ",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}";
/// The member that the two id mappings of the rootless template leave to be filled in: first the user, then the group.
const HOST_ID: &str = "\"hostID\": 0";

/// Writes config.json into the bundle, unless there is one.
pub fn run(args: &cli::Spec) -> Result<u8> {
    let bundle = given(&args.bundle).unwrap_or_else(|| PathBuf::from("."));
    if let Err(error) = std::fs::metadata(&bundle) {
        bail!("chdir {}: {}", bundle.display(), plain(&error));
    }
    let text = text(args.rootless, CgroupFacts::gather()?.is_unified(), effective_ids());
    match given(&args.file) {
        // As with crun, from the bundle on.
        Some(file) => replace(&bundle.join(file), &text)?,
        None => write(&bundle, &text)?,
    }
    Ok(0)
}

fn effective_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn replace(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| anyhow!("open {}: {}", path.display(), plain(&error)))
}

fn write(bundle: &Path, text: &str) -> Result<()> {
    let path = bundle.join(CONFIG);
    let mut file = match std::fs::File::create_new(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("File {CONFIG} exists. Remove it first")
        }
        Err(error) => bail!("open {}: {}", path.display(), plain(&error)),
    };
    let written = file.write_all(text.as_bytes()).map_err(|error| anyhow!(plain(&error)));
    written.with_context(|| format!("write {}", path.display()))
}

/// The configuration for this host: a cgroup namespace where only cgroup v2 is, and the caller's ids for a rootless one.
fn text(rootless: bool, unified: bool, (uid, gid): (u32, u32)) -> String {
    let mut text = if rootless { ROOTLESS } else { ROOTFUL }.trim_end().to_owned();
    if unified {
        text = text.replace(MOUNT_NAMESPACE, &format!("{MOUNT_NAMESPACE}{CGROUP_NAMESPACE}"));
    }
    match text.split(HOST_ID).collect::<Vec<_>>()[..] {
        [head, middle, tail] => format!("{head}\"hostID\": {uid}{middle}\"hostID\": {gid}{tail}"),
        _ => text, // the rootful one has no mappings
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(rootless: bool, unified: bool) -> Value {
        serde_json::from_str(&text(rootless, unified, (1000, 100))).expect("valid JSON")
    }

    fn namespaces(spec: &Value) -> Vec<&str> {
        let list = spec["linux"]["namespaces"].as_array().expect("a list");
        list.iter().map(|namespace| namespace["type"].as_str().expect("a type")).collect()
    }

    #[test]
    fn the_library_reads_its_own_examples() {
        for (rootless, unified) in [(false, false), (false, true), (true, false), (true, true)] {
            let text = text(rootless, unified, (0, 0));
            let spec = libcontainer::spec::Spec::parse(text.as_bytes(), Path::new(CONFIG)).expect("a valid spec");
            assert_eq!(spec.oci_version, libcontainer::spec::VERSION);
        }
    }

    #[test]
    fn a_cgroup_namespace_where_v2_governs() {
        assert_eq!(namespaces(&parsed(false, false)), ["pid", "network", "ipc", "uts", "mount"]);
        assert_eq!(namespaces(&parsed(false, true)), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
        assert_eq!(namespaces(&parsed(true, true)), ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    }

    #[test]
    fn the_rootless_one_maps_the_callers_ids() {
        let spec = parsed(true, false);
        assert_eq!(spec["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        assert_eq!(spec["linux"]["gidMappings"], json!([{"containerID": 0, "hostID": 100, "size": 1}]));
        assert!(spec["linux"].get("resources").is_none());
        assert_eq!(namespaces(&spec), ["pid", "ipc", "uts", "mount", "user"]);
    }

    #[test]
    fn the_ids_do_not_confuse_each_other() {
        let spec: Value = serde_json::from_str(&text(true, false, (0, 7))).expect("valid JSON");
        assert_eq!(spec["linux"]["uidMappings"][0]["hostID"], 0);
        assert_eq!(spec["linux"]["gidMappings"][0]["hostID"], 7);
    }
}
