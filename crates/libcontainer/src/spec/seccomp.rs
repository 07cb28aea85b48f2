//! config-linux.md "Seccomp": names and numbers as libseccomp knows them.
#![allow(missing_docs)] // the names are the spec's own

use serde::{Deserialize, Serialize};

use super::null_as_default;
use super::object::read_and_write_as_objects;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Seccomp {
    #[serde(deserialize_with = "null_as_default")]
    pub default_action: String,
    pub default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "null_as_default")]
    pub architectures: Vec<String>,
    /// Absent and empty differ: absent means the runtime's default (SPEC_ALLOW in runc).
    pub flags: Option<Vec<String>>,
    #[serde(deserialize_with = "null_as_default")]
    pub listener_path: String,
    #[serde(deserialize_with = "null_as_default")]
    pub listener_metadata: String,
    #[serde(deserialize_with = "null_as_default")]
    pub syscalls: Vec<SeccompRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct SeccompRule {
    #[serde(deserialize_with = "null_as_default")]
    pub names: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub action: String,
    pub errno_ret: Option<u32>,
    #[serde(deserialize_with = "null_as_default")]
    pub args: Vec<SeccompArg>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct SeccompArg {
    #[serde(deserialize_with = "null_as_default")]
    pub index: u32,
    #[serde(deserialize_with = "null_as_default")]
    pub value: u64,
    #[serde(deserialize_with = "null_as_default")]
    pub value_two: u64,
    #[serde(deserialize_with = "null_as_default")]
    pub op: String,
}

read_and_write_as_objects!(Seccomp, SeccompRule, SeccompArg);
