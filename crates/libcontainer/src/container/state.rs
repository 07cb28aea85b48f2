//! What the runtime remembers of a container, and how it is judged against the kernel.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::report::Status;
use crate::cgroups::Cgroup;
use crate::error::{Result, SysContext};
use crate::hooks::{self, HookState, HooksPlan};
use crate::intel_rdt::RdtGroup;
use crate::namespaces::NamespacesPlan;
use crate::process::wait;
use crate::spec::{Hooks, Resources, Root, Spec, null_as_default, parse_json};

/// `state.json`. Whether a container waits, runs or has stopped is not in it: the kernel knows, and cannot be left with a
/// wrong answer by a crash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The container's id.
    pub(crate) id: String,
    /// Absolute.
    pub(crate) bundle: PathBuf,
    /// When it was created, RFC 3339.
    pub(crate) created: String,
    /// The user who created it.
    pub(crate) owner: u32,
    /// Absent until it was cloned.
    pub(crate) init: Option<Init>,
    /// Until all is set up: init may be on record before, for `kill` and `delete`, but is not confined yet.
    pub(crate) creating: bool,
    /// Where its processes are.
    pub(crate) cgroup: Cgroup,
    /// Its class of service, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) intel_rdt: Option<RdtGroup>,
    /// Whether its processes join a session keyring of its own.
    pub(crate) keyring: bool,
    /// What it does not share with the runtime.
    pub(crate) namespaces: NamespacesPlan,
    /// The limits in force, once an update has changed them; before, config.json has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<Resources>,
    /// config.json as it was: later changes must not affect the container (runtime.md "Lifecycle", step 2).
    pub(crate) config: Box<RawValue>,
}

/// The few fields of config.json that reports and later hooks need; the rest is skipped, not parsed.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Head {
    pub(super) oci_version: String,
    pub(super) root: Option<Root>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) annotations: BTreeMap<String, String>,
    hooks: Option<Hooks>,
}

/// The part of config.json that says the limits.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits {
    linux: Option<LinuxLimits>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LinuxLimits {
    resources: Option<Resources>,
}

/// Init's identity: a pid alone may be another process's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Init {
    pub(crate) pid: i32,
    /// Clock ticks after boot.
    pub(crate) start_time: u64,
}

impl State {
    /// The status, from the kernel.
    pub(crate) fn status(&self) -> Result<Status> {
        let Some(init) = self.init else { return Ok(Status::Creating) };
        let alive = wait::stat(init.pid).filter(|stat| stat.start_time == init.start_time && !stat.is_dead);
        Ok(match alive {
            None => Status::Stopped,
            Some(_) if self.creating => Status::Creating,
            Some(_) if self.cgroup.is_frozen()? => Status::Paused,
            Some(stat) if stat.has_executed => Status::Running,
            Some(_) => Status::Created,
        })
    }

    /// A pidfd of init; `None` if it has ended.
    pub(crate) fn open_init(&self) -> Result<Option<OwnedFd>> {
        self.init.map_or(Ok(None), |init| wait::open_process(init.pid, init.start_time))
    }

    /// The spec that the container was created from.
    pub(crate) fn spec(&self) -> Result<Spec> {
        Spec::parse(self.config.get().as_bytes(), &self.bundle.join(crate::spec::CONFIG))
    }

    /// What little most commands need of that spec.
    pub(super) fn head(&self) -> Result<Head> {
        parse_json(self.config.get().as_bytes())
    }

    /// The limits in force.
    pub(super) fn resources_in_force(&self) -> Result<Resources> {
        if let Some(resources) = &self.resources {
            return Ok(resources.clone());
        }
        let limits: Limits = parse_json(self.config.get().as_bytes())?;
        Ok(limits.linux.and_then(|linux| linux.resources).unwrap_or_default())
    }

    /// What hooks are told of it.
    pub(crate) fn hook_state(&self, oci_version: &str, annotations: &BTreeMap<String, String>) -> HookState {
        HookState {
            oci_version: oci_version.to_owned(),
            id: self.id.clone(),
            bundle: self.bundle.clone(),
            annotations: annotations.clone(),
        }
    }

    /// The hooks that run after the container was created, with the runtime's environment if they have none, and what
    /// they are told. Most containers have none.
    pub(crate) fn later_hooks(&self) -> Result<(HooksPlan, HookState)> {
        let head = self.head()?;
        let mut plan = HooksPlan::default();
        if let Some(hooks) = &head.hooks {
            plan = hooks::plan(hooks)?;
            let env = super::own_environment();
            hooks::set_default_env(&mut plan.poststart, &env);
            hooks::set_default_env(&mut plan.poststop, &env);
        }
        Ok((plan, self.hook_state(&head.oci_version, &head.annotations)))
    }

    /// Sends SIGKILL to init, if it lives; gives its pidfd.
    pub(super) fn kill_init(&self) -> Option<OwnedFd> {
        let init = self.open_init().ok().flatten()?;
        let _ = rustix::process::pidfd_send_signal(&init, Signal::KILL);
        Some(init)
    }
}

/// state.json as later commands read it, for fuzzing; without the kernel's part.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    use crate::fuzzing::accepted;
    super::remains::of(bytes);
    let Ok(state) = serde_json::from_slice::<State>(bytes) else { return };
    accepted(state.spec());
    accepted(state.resources_in_force());
    accepted(state.later_hooks());
    let Ok(saved) = serde_json::to_vec(&state) else { unreachable!("what was read can be saved") };
    let Ok(again) = serde_json::from_slice::<State>(&saved) else { unreachable!("what was saved can be read") };
    assert_eq!(serde_json::to_vec(&again).ok(), Some(saved));
}

/// Now, as RFC 3339 in UTC with nanoseconds.
pub(crate) fn now() -> String {
    super::time::rfc3339(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}

/// Reads init's identity right after it was cloned: it is this process's child, so it cannot be gone.
pub(crate) fn identify(pid: rustix::process::Pid) -> Result<Init> {
    let pid = pid.as_raw_pid();
    let stat = wait::stat(pid).ok_or(rustix::io::Errno::SRCH).sys("open", format_args!("/proc/{pid}/stat"))?;
    Ok(Init { pid, start_time: stat.start_time })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_in_force_are_the_configs_until_an_update() {
        let config = r#"{"linux":{"resources":{"pids":{"limit":7}}}}"#;
        // Before the first update they are not saved.
        let old = json!({
            "id": "c1", "bundle": "/b", "created": "", "owner": 0, "init": null, "creating": false, "keyring": false,
            "cgroup": {"dirs": {}}, "namespaces": NamespacesPlan::default(), "config": {},
        });
        let mut state: State = serde_json::from_str(&old.to_string()).expect("an old state");
        assert_eq!(state.resources_in_force().expect("none"), Resources::default());
        state.config = RawValue::from_string(config.to_owned()).expect("JSON");
        let limit = |state: &State| state.resources_in_force().expect("limits").pids.and_then(|pids| pids.limit);
        assert_eq!(limit(&state), Some(7));
        assert!(!serde_json::to_string(&state).expect("JSON").contains("resources\":null"));
        state.resources = Some(serde_json::from_value(json!({ "pids": { "limit": 8 } })).expect("resources"));
        let saved = serde_json::to_string(&state).expect("JSON");
        assert_eq!(limit(&serde_json::from_str(&saved).expect("a new state")), Some(8));
    }
}
