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
