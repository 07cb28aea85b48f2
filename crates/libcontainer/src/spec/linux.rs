//! config-linux.md, except resources and seccomp.
#![allow(missing_docs)] // the names are the spec's own

use std::collections::BTreeMap;

use serde::Deserialize;

use super::object::read_as_objects;
use super::{IdMapping, Resources, Seccomp, null_as_default};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
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
    pub intel_rdt: Option<IntelRdt>,
    pub memory_policy: Option<MemoryPolicy>,
    pub personality: Option<Personality>,
}

/// `kind` is one of pid, network, mount, ipc, uts, user, cgroup, time; without a path a new one is made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub struct Namespace {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub path: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
pub struct TimeOffset {
    #[serde(deserialize_with = "null_as_default")]
    pub secs: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub nanosecs: u32,
}

/// A device node to make; `kind` is c, u, b or p (mknod(1)).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Device {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub path: String,
    #[serde(deserialize_with = "null_as_default")]
    pub major: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub minor: i64,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
pub struct NetDevice {
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// config-linux.md "IntelRdt". The last two were there from 1.1 to 1.2: they never had a meaning that could be carried out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct IntelRdt {
    #[serde(rename = "closID", deserialize_with = "null_as_default")]
    pub clos_id: String,
    #[serde(deserialize_with = "null_as_default")]
    pub schemata: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub l3_cache_schema: String,
    #[serde(deserialize_with = "null_as_default")]
    pub mem_bw_schema: String,
    #[serde(deserialize_with = "null_as_default")]
    pub enable_monitoring: bool,
    #[serde(rename = "enableCMT", deserialize_with = "null_as_default")]
    pub enable_cmt: bool,
    #[serde(rename = "enableMBM", deserialize_with = "null_as_default")]
    pub enable_mbm: bool,
}

/// personality(2).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
pub struct Personality {
    #[serde(deserialize_with = "null_as_default")]
    pub domain: String,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
}

/// set_mempolicy(2); `nodes` is a list such as `0-3,7`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
pub struct MemoryPolicy {
    #[serde(deserialize_with = "null_as_default")]
    pub mode: String,
    #[serde(deserialize_with = "null_as_default")]
    pub nodes: String,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
}

read_as_objects!(Linux, Namespace, TimeOffset, Device, NetDevice, IntelRdt, Personality, MemoryPolicy);
