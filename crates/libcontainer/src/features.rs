//! What this build recognises (features.md, features-linux.md), whatever the host can do.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::namespaces::Kind;
use crate::{attributes, capabilities, rootfs, seccomp, spec};

type Names = &'static [&'static str];

/// The document that engines ask for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Names,
    mount_options: Names,
    linux: Linux,
    annotations: BTreeMap<&'static str, String>,
    potentially_unsafe_config_annotations: Names,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<&'static str>,
    capabilities: Vec<&'static str>,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Switch,
    selinux: Switch,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Switch,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: Names,
    operators: Names,
    archs: Names,
    known_flags: Names,
    supported_flags: Names,
}

#[derive(Debug, Serialize)]
struct MemoryPolicy {
    modes: Vec<&'static str>,
    flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Debug, Serialize)]
struct Switch {
    enabled: bool,
}

#[derive(Debug, Serialize)]
struct MountExtensions {
    idmap: Switch,
}

/// The six kinds of hooks, in the order of a container's life.
const HOOKS: Names = &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Annotations that change what this runtime does; one that ends with a dot stands for all that begin with it. Engines
/// keep users from setting them.
const UNSAFE_ANNOTATIONS: Names = &["org.systemd.property.", "run.oci."];

/// The features of a program of this `version`, built from `commit` if that is known.
pub fn features(version: &str, commit: &str) -> Features {
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: spec::VERSION,
        hooks: HOOKS,
        mount_options: rootfs::MOUNT_OPTIONS,
        linux: Linux {
            namespaces: namespaces(),
            capabilities: capabilities::known(u32::MAX),
            cgroup: Cgroup { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
            seccomp: Seccomp {
                enabled: true,
                actions: seccomp::KNOWN_ACTIONS,
                operators: seccomp::KNOWN_OPERATORS,
                archs: seccomp::KNOWN_ARCHS,
                known_flags: seccomp::KNOWN_FLAGS,
                supported_flags: seccomp::KNOWN_FLAGS,
            },
            apparmor: Switch { enabled: true },
            selinux: Switch { enabled: true },
            intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
            memory_policy: MemoryPolicy {
                modes: attributes::known_memory_modes(),
                flags: attributes::known_memory_flags(),
            },
            mount_extensions: MountExtensions { idmap: Switch { enabled: true } },
            net_devices: Switch { enabled: true },
        },
        annotations: annotations(version, commit),
        potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS,
    }
}

fn namespaces() -> Vec<&'static str> {
    let mut names = Kind::ALL.map(Kind::name).to_vec();
    names.sort_unstable();
    names
}

fn annotations(version: &str, commit: &str) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::from([
        // The key that engines ask, whatever the runtime.
        ("org.opencontainers.runc.checkpoint.enabled", "false".to_owned()),
        ("run.oci.creel.version", version.to_owned()),
    ]);
    if !commit.is_empty() {
        annotations.insert("run.oci.creel.commit", commit.to_owned());
    }
    if let Some(version) = seccomp::library_version() {
        annotations.insert("io.github.seccomp.libseccomp.version", version);
    }
    annotations
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::spec::Spec;

    fn document() -> Value {
        serde_json::to_value(features("1.2.3", "abc")).expect("JSON")
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().expect("an object").keys().map(String::as_str).collect()
    }

    fn strings(value: &Value) -> Vec<&str> {
        value.as_array().expect("a list").iter().map(|one| one.as_str().expect("a string")).collect()
    }

    /// features.md and features-linux.md of 1.3.0: nothing that they do not have may be there.
    #[test]
    fn the_members_are_those_of_the_specification() {
        let document = document();
        let linux = &document["linux"];
        let top = [
            "annotations",
            "hooks",
            "linux",
            "mountOptions",
            "ociVersionMax",
            "ociVersionMin",
            "potentiallyUnsafeConfigAnnotations",
        ];
        assert_eq!(keys(&document), top);
        let platform = [
            "apparmor",
            "capabilities",
            "cgroup",
            "intelRdt",
            "memoryPolicy",
            "mountExtensions",
            "namespaces",
            "netDevices",
            "seccomp",
            "selinux",
        ];
        assert_eq!(keys(linux), platform);
        assert_eq!(keys(&linux["cgroup"]), ["rdma", "systemd", "systemdUser", "v1", "v2"]);
        assert_eq!(keys(&linux["intelRdt"]), ["enabled", "monitoring", "schemata"]);
        let seccomp = ["actions", "archs", "enabled", "knownFlags", "operators", "supportedFlags"];
        assert_eq!(keys(&linux["seccomp"]), seccomp);
        assert_eq!(keys(&linux["memoryPolicy"]), ["flags", "modes"]);
        for switch in ["apparmor", "selinux", "netDevices"] {
            assert_eq!(keys(&linux[switch]), ["enabled"]);
        }
        assert!(document["annotations"].as_object().expect("an object").values().all(Value::is_string));
    }

    /// What is named must be recognised; what is not, is refused.
    #[test]
    fn what_is_named_is_known() {
        let document = document();
        for version in ["ociVersionMin", "ociVersionMax"] {
            let config = json!({ "ociVersion": document[version] }).to_string();
            Spec::parse(config.as_bytes(), Path::new("config.json")).expect(version);
        }
        for name in strings(&document["linux"]["namespaces"]) {
            let namespace = serde_json::from_value(json!({ "type": name })).expect(name);
            crate::namespaces::plan(&[namespace]).expect(name);
        }
        let profile = |changed: Value| {
            let mut profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/agent"});
            profile.as_object_mut().expect("an object").extend(changed.as_object().expect("an object").clone());
            seccomp::plan_annotated(Some(&serde_json::from_value(profile).expect("seccomp")), &BTreeMap::new())
        };
        let lists = &document["linux"]["seccomp"];
        for name in strings(&lists["archs"]) {
            profile(json!({ "architectures": [name] })).expect(name);
        }
        for name in strings(&lists["supportedFlags"]) {
            profile(json!({ "flags": [name] })).expect(name);
        }
        for name in strings(&lists["operators"]) {
            let rule =
                json!({"names": ["mkdir"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": name}]});
            profile(json!({ "syscalls": [rule] })).expect(name);
        }
        for name in strings(&lists["actions"]) {
            profile(json!({ "syscalls": [{"names": ["mkdir"], "action": name}] })).expect(name);
        }
        profile(json!({ "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTHING"}] }))
            .expect_err("no such action");
    }
}
