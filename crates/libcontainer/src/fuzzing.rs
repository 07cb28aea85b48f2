//! What the fuzz targets of `fuzz/` call, one function each: any bytes must be taken or refused, without a panic, and what
//! is taken must keep its promises. Compiled for them and for tests only; `cargo test` gives each its corpus.

#![allow(missing_docs)] // each is its name

use std::path::Path;

use crate::cgroups::{self, Cgroup};
use crate::error::{Error, Result};
use crate::host::{CgroupFacts, Hierarchy, HostFacts, ProcessFacts, SystemdFacts};
use crate::plan::{self, Request};
use crate::seccomp::{self, Filter};
use crate::spec::{self, IdMapping, Resources, Spec};
use crate::userns;

pub use crate::container::fuzz_state as state;
pub use crate::process::fuzz_channel as channel;

/// A target's name, which is that of its corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 6] = [
    ("channel", channel),
    ("config", config),
    ("id-map", id_map),
    ("seccomp", seccomp),
    ("state", state),
    ("update", update),
];

/// config.json, loaded, and planned for the hosts that differ most.
pub fn config(bytes: &[u8]) {
    let Some(spec) = accepted(Spec::parse_noting_unknown(bytes, Path::new("config.json"))) else { return };
    let request = Request { id: "c1".to_owned(), bundle: "/bundle".into(), ..Request::default() };
    for (v1, systemd) in [(true, false), (false, false), (false, true)] {
        let Some(plan) = accepted(plan::plan(&spec, &request, &facts(v1, systemd))) else { continue };
        assert!(!plan.process.args.is_empty(), "a plan without a program");
        assert!(serde_json::to_string(&plan).is_ok(), "a plan that cannot be printed");
    }
}

/// Limits in force and new ones, one JSON after the other.
pub fn update(bytes: &[u8]) {
    let mut given = serde_json::Deserializer::from_slice(bytes).into_iter::<Resources>();
    let (Some(Ok(in_force)), Some(Ok(given))) = (given.next(), given.next()) else { return };
    for v1 in [true, false] {
        let facts = facts(v1, false).cgroups;
        let keys: &[&str] = if v1 { &["memory", "cpu,cpuacct", "devices"] } else { &[""] };
        let dirs: serde_json::Map<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), "/sys/fs/cgroup/c1".into())).collect();
        let cgroup: Cgroup =
            serde_json::from_value(serde_json::json!({ "dirs": dirs, "killed_before": 0 })).expect("a cgroup");
        let Some(plan) = accepted(cgroups::plan_update(&cgroup, &in_force, &given, &facts, None)) else { continue };
        // What is in force now can be updated again.
        accepted(cgroups::plan_update(&cgroup, &plan.resources, &given, &facts, None));
    }
}

/// Lines as in /proc/PID/uid_map.
pub fn id_map(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    let map: Vec<IdMapping> = text.lines().filter_map(range).collect();
    if accepted(userns::check_map("uidMappings", &map)).is_none() {
        return;
    }
    let plan = accepted(userns::plan(true, &map, &map)).flatten().expect("a map that was checked is planned");
    for range in &map {
        let last = range.size - 1;
        assert_eq!(plan.host_uid(range.container_id), Some(range.host_id));
        assert_eq!(plan.host_uid(range.container_id + last), Some(range.host_id + last));
    }
}

/// `linux.seccomp`, planned and compiled.
pub fn seccomp(bytes: &[u8]) {
    let Some(profile) = accepted(spec::parse_json(bytes)) else { return };
    let Some(plan) = accepted(seccomp::plan(&profile)) else { return };
    let Some(filter) = accepted(seccomp::compile(&plan)) else { return };
    assert!(filter.program.is_empty() || seccomp::is_loadable(&filter.program), "no program for the kernel");
    assert_eq!(Filter::from_bytes(&filter.to_bytes()).ok().as_ref(), Some(&filter));
}

/// What was taken; what was refused must say why.
pub(crate) fn accepted<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(|error| assert!(!error.to_string().trim().is_empty(), "an error without words")).ok()
}

fn facts(v1: bool, systemd: bool) -> HostFacts {
    let hierarchy = |controllers: &[&str], mountpoint: String| {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Hierarchy { controllers, mountpoint: mountpoint.into(), own: "/".into() }
    };
    let controllers = ["blkio", "cpu", "cpuset", "devices", "freezer", "hugetlb", "io", "memory", "pids", "rdma"];
    let cgroups = if v1 {
        let of = |name: &&str| hierarchy(&[*name], format!("/sys/fs/cgroup/{name}"));
        CgroupFacts { v1: controllers.iter().map(of).collect(), v2: None }
    } else {
        CgroupFacts { v1: Vec::new(), v2: Some(hierarchy(&controllers, "/sys/fs/cgroup".to_owned())) }
    };
    let process = ProcessFacts { last_capability: 40, ..ProcessFacts::default() };
    let systemd = systemd.then(|| SystemdFacts { version: 252, control_group: "/".into(), ..SystemdFacts::default() });
    HostFacts { process, cgroups, systemd }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_corpus_is_taken() {
        for (name, target) in TARGETS {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
            let inputs = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
            let ran = inputs.map(|input| target(&std::fs::read(input.expect("entry").path()).expect("read"))).count();
            assert!(ran > 0, "{name}: an empty corpus");
        }
    }
}
