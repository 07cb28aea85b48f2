//! What callers are told of a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// runtime.md "State", and runc's `paused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` has not finished.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The process runs.
    Running,
    /// Every process is frozen.
    Paused,
    /// The process has exited.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// What `state` prints, in runc's order and names.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateReport {
    /// The spec version of the bundle.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Init's pid in the caller's PID namespace; 0 when stopped.
    pub pid: i32,
    /// Its status.
    pub status: Status,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// The root filesystem's directory, absolute.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339 in UTC with nanoseconds.
    pub created: String,
    /// config.json's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user who created it.
    pub owner: String,
    /// Whether the kernel has killed any of its processes for lack of memory, whatever has become of the others; runtime.md
    /// "State" allows more members than it names.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
}

/// What `list` knows of one container.
pub type Listed = StateReport;
