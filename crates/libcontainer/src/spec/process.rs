//! config.md "Process".
#![allow(missing_docs)] // the names are the spec's own

use serde::{Deserialize, Serialize};

use super::null_as_default;
use super::object::{read_and_write_as_objects, read_as_objects};

/// What to execute, as whom and with which limits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct Process {
    #[serde(deserialize_with = "null_as_default")]
    pub terminal: bool,
    pub console_size: Option<ConsoleSize>,
    #[serde(deserialize_with = "null_as_default")]
    pub user: User,
    #[serde(deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub cwd: String,
    pub capabilities: Option<Capabilities>,
    #[serde(deserialize_with = "null_as_default")]
    pub rlimits: Vec<Rlimit>,
    #[serde(deserialize_with = "null_as_default")]
    pub no_new_privileges: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub apparmor_profile: String,
    #[serde(deserialize_with = "null_as_default")]
    pub selinux_label: String,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<Scheduler>,
    pub io_priority: Option<IoPriority>,
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

/// In characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", default)]
pub struct ConsoleSize {
    #[serde(deserialize_with = "null_as_default")]
    pub height: u16,
    #[serde(deserialize_with = "null_as_default")]
    pub width: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", default)]
pub struct User {
    #[serde(deserialize_with = "null_as_default")]
    pub uid: u32,
    #[serde(deserialize_with = "null_as_default")]
    pub gid: u32,
    pub umask: Option<u32>,
    #[serde(deserialize_with = "null_as_default")]
    pub additional_gids: Vec<u32>,
}

/// Five sets of names such as `CAP_KILL` (capabilities(7)).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
pub struct Capabilities {
    #[serde(deserialize_with = "null_as_default")]
    pub bounding: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub effective: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub inheritable: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub permitted: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub ambient: Vec<String>,
}

/// `type` is a name such as `RLIMIT_NOFILE` (getrlimit(2)).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub struct Rlimit {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub soft: u64,
    #[serde(deserialize_with = "null_as_default")]
    pub hard: u64,
}

/// sched_setattr(2).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
pub struct Scheduler {
    #[serde(deserialize_with = "null_as_default")]
    pub policy: String,
    #[serde(deserialize_with = "null_as_default")]
    pub nice: i32,
    #[serde(deserialize_with = "null_as_default")]
    pub priority: i32,
    #[serde(deserialize_with = "null_as_default")]
    pub flags: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub runtime: u64,
    #[serde(deserialize_with = "null_as_default")]
    pub deadline: u64,
    #[serde(deserialize_with = "null_as_default")]
    pub period: u64,
}

/// ioprio_set(2).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self")]
pub struct IoPriority {
    #[serde(deserialize_with = "null_as_default")]
    pub class: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub priority: i32,
}

/// CPU lists such as `0-3,7`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(remote = "Self", default)]
pub struct CpuAffinity {
    #[serde(deserialize_with = "null_as_default")]
    pub initial: String,
    #[serde(rename = "final", deserialize_with = "null_as_default")]
    pub last: String,
}

read_as_objects!(Process, Capabilities, Rlimit, Scheduler, IoPriority, CpuAffinity);
read_and_write_as_objects!(ConsoleSize, User);
