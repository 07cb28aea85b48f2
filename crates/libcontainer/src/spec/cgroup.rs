//! config-linux.md "Control groups": `linux.resources`.
#![allow(missing_docs)] // the names are the spec's own

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::null_as_default;
use super::object::read_and_write_as_objects;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Resources {
    #[serde(deserialize_with = "null_as_default")]
    pub devices: Vec<DeviceRule>,
    pub memory: Option<Memory>,
    pub cpu: Option<Cpu>,
    pub pids: Option<Pids>,
    #[serde(rename = "blockIO")]
    pub block_io: Option<BlockIo>,
    #[serde(deserialize_with = "null_as_default")]
    pub hugepage_limits: Vec<HugepageLimit>,
    pub network: Option<Network>,
    #[serde(deserialize_with = "null_as_default")]
    pub rdma: BTreeMap<String, Rdma>,
    #[serde(deserialize_with = "null_as_default")]
    pub unified: BTreeMap<String, String>,
}

/// Absent type, major or minor mean "all" (kernel doc cgroup-v1/devices.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct DeviceRule {
    #[serde(deserialize_with = "null_as_default")]
    pub allow: bool,
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    #[serde(deserialize_with = "null_as_default")]
    pub access: String,
}

/// In bytes; -1 means unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Memory {
    pub limit: Option<i64>,
    pub reservation: Option<i64>,
    pub swap: Option<i64>,
    pub kernel: Option<i64>,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Option<i64>,
    pub swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    pub use_hierarchy: Option<bool>,
    pub check_before_update: Option<bool>,
}

/// Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Cpu {
    pub shares: Option<u64>,
    pub quota: Option<i64>,
    pub burst: Option<u64>,
    pub period: Option<u64>,
    pub realtime_runtime: Option<i64>,
    pub realtime_period: Option<u64>,
    #[serde(deserialize_with = "null_as_default")]
    pub cpus: String,
    #[serde(deserialize_with = "null_as_default")]
    pub mems: String,
    pub idle: Option<i64>,
}

/// A limit of 0 or less means unlimited in runc up to 1.3; since spec 1.3 the limit may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct Pids {
    pub limit: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct BlockIo {
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
    #[serde(deserialize_with = "null_as_default")]
    pub weight_device: Vec<WeightDevice>,
    #[serde(deserialize_with = "null_as_default")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    #[serde(deserialize_with = "null_as_default")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "null_as_default")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "null_as_default")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct WeightDevice {
    #[serde(deserialize_with = "null_as_default")]
    pub major: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub minor: i64,
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
}

/// Bytes or operations a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct ThrottleDevice {
    #[serde(deserialize_with = "null_as_default")]
    pub major: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub minor: i64,
    #[serde(deserialize_with = "null_as_default")]
    pub rate: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct HugepageLimit {
    /// Such as `2MB`.
    #[serde(deserialize_with = "null_as_default")]
    pub page_size: String,
    #[serde(deserialize_with = "null_as_default")]
    pub limit: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct Network {
    #[serde(rename = "classID")]
    pub class_id: Option<u32>,
    #[serde(deserialize_with = "null_as_default")]
    pub priorities: Vec<InterfacePriority>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct InterfacePriority {
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub priority: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Rdma {
    pub hca_handles: Option<u32>,
    pub hca_objects: Option<u32>,
}

read_and_write_as_objects!(
    Resources,
    DeviceRule,
    Memory,
    Cpu,
    Pids,
    BlockIo,
    WeightDevice,
    ThrottleDevice,
    HugepageLimit,
    Network,
    InterfacePriority,
    Rdma
);
