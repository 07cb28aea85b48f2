//! config-linux.md, except resources and seccomp.
#![allow(missing_docs)] // the names are the spec's own

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{IdMapping, Resources, Seccomp, null_as_default};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    #[serde(deserialize_with = "null_as_default")]
    pub namespaces: Vec<Namespace>,
    #[serde(deserialize_with = "null_as_default")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_as_default")]
    pub gid_mappings: Vec<IdMapping>,
    #[serde(deserialize_with = "null_as_default")]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    #[serde(deserialize_with = "null_as_default")]
    pub devices: Vec<Device>,
    #[serde(deserialize_with = "null_as_default")]
    pub net_devices: BTreeMap<String, NetDevice>,
    #[serde(deserialize_with = "null_as_default")]
    pub cgroups_path: String,
    pub resources: Option<Resources>,
    #[serde(deserialize_with = "null_as_default")]
    pub sysctl: BTreeMap<String, String>,
    pub seccomp: Option<Seccomp>,
    #[serde(deserialize_with = "null_as_default")]
    pub rootfs_propagation: String,
    #[serde(deserialize_with = "null_as_default")]
    pub masked_paths: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub readonly_paths: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub mount_label: String,
    pub intel_rdt: Option<serde_json::Value>,
    pub memory_policy: Option<MemoryPolicy>,
    pub personality: Option<Personality>,
}

/// `kind` is one of pid, network, mount, ipc, uts, user, cgroup, time; without a path a new one is made.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub path: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    pub secs: i64,
    pub nanosecs: u32,
}

/// A device node to make; `kind` is c, u, b or p (mknod(1)).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    #[serde(rename = "type")]
    pub kind: String,
    pub path: String,
    pub major: i64,
    pub minor: i64,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NetDevice {
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// personality(2).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Personality {
    pub domain: String,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
}

/// set_mempolicy(2); `nodes` is a list such as `0-3,7`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MemoryPolicy {
    pub mode: String,
    #[serde(deserialize_with = "null_as_default")]
    pub nodes: String,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
}
