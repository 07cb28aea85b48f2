//! What the fuzz targets of `fuzz/` call, one function each: any bytes must be taken or refused, without a panic, and what
//! is taken must keep its promises. Compiled for them and for tests only; `cargo test` gives each its corpus.

#![allow(missing_docs)] // each is its name

use std::path::Path;

use crate::cgroups::{self, Cgroup};
use crate::error::{Error, Result};
use crate::host::{CgroupFacts, Hierarchy, HostFacts, ProcessFacts, ResctrlFacts, SystemdFacts};
use crate::plan::{self, Request};
use crate::seccomp::{self, Filter};
use crate::spec::{self, Resources, Spec};
use crate::userns::{self, Origin, UsernsPlan};

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
        let cgroup = serde_json::json!({ "dirs": dirs, "killed_before": 0 });
        let Ok(cgroup) = serde_json::from_value::<Cgroup>(cgroup) else { unreachable!("it is one") };
        let Some(plan) = accepted(cgroups::plan_update(&cgroup, &in_force, &given, &facts, None)) else { continue };
        // What is in force now can be updated again.
        accepted(cgroups::plan_update(&cgroup, &plan.resources, &given, &facts, None));
    }
}

/// Lines of /proc/PID/uid_map: as the maps of a namespace that is joined, of which the kernel has to know; and of a new one.
pub fn id_map(bytes: &[u8]) {
    let Some(map) = userns::parse_map(&String::from_utf8_lossy(bytes)) else { return };
    let joined = UsernsPlan::new(map.clone(), map.clone());
    let ids = || map.iter().flat_map(|range| [range.container_id, range.container_id.saturating_add(range.size)]);
    ids().for_each(|id| assert!(joined.host_uid(id).is_none_or(|uid| map.iter().any(|range| uid >= range.host_id))));
    assert!(accepted(userns::plan(Origin::Joined(&joined), &map, &map)).is_some(), "a map differs from itself");
    let made = accepted(userns::plan(Origin::New, &map, &map)).flatten();
    assert_eq!(made.is_some(), userns::check_map("uidMappings", &map).is_ok());
    for range in made.iter().flat_map(|made| &made.uids) {
        let last = range.size - 1;
        assert_eq!(joined.host_uid(range.container_id), Some(range.host_id));
        assert_eq!(joined.host_uid(range.container_id + last), Some(range.host_id + last));
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
        CgroupFacts { v1: controllers.iter().map(of).collect(), ..CgroupFacts::default() }
    } else {
        CgroupFacts { v2: Some(hierarchy(&controllers, "/sys/fs/cgroup".to_owned())), ..CgroupFacts::default() }
    };
    let process = ProcessFacts { last_capability: 40, ..ProcessFacts::default() };
    let systemd = systemd.then(|| SystemdFacts { version: 252, control_group: "/".into(), ..SystemdFacts::default() });
    let resctrl =
        ResctrlFacts { l3_cache: true, bandwidth_step: Some(10), monitoring: true, ..ResctrlFacts::default() };
    HostFacts { process, cgroups, systemd, resctrl: Some(resctrl) }
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
