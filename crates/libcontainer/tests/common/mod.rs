//! What the tests of loading and planning stand on: fixed facts about a host, and the golden files.
#![allow(clippy::expect_used, clippy::panic)] // clippy.toml's exemption does not reach helpers

use std::path::{Path, PathBuf};

use libcontainer::Result;
use libcontainer::host::{CgroupFacts, Hierarchy, HostFacts, ProcessFacts};
use libcontainer::plan::{self, Plan, Request};
use libcontainer::spec::Spec;

/// A file below tests/golden.
#[allow(dead_code)] // each test is a program of its own, and not every one needs it
pub fn golden(name: &str) -> String {
    let path = directory().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// tests/golden.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// Loads and plans a config.json as `create` does.
pub fn plan(config: &[u8], facts: &HostFacts) -> Result<Plan> {
    let request = Request { id: "c1".to_owned(), bundle: "/bundle".into(), ..Request::default() };
    plan::plan(&Spec::parse_noting_unknown(config, Path::new("config.json"))?, &request, facts)
}

fn hierarchy(controllers: &[&str], mountpoint: &str) -> Hierarchy {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    Hierarchy { controllers, mountpoint: mountpoint.into(), own: "/".into() }
}

fn facts(cgroups: CgroupFacts) -> HostFacts {
    let mut facts = HostFacts { cgroups, ..HostFacts::default() };
    facts.process = ProcessFacts { last_capability: 40, ..ProcessFacts::default() };
    facts
}

/// A host whose only hierarchy is cgroup v2.
pub fn facts_v2() -> HostFacts {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
    facts(CgroupFacts { v2: Some(hierarchy(&controllers, "/sys/fs/cgroup")), ..CgroupFacts::default() })
}

/// A host with a hierarchy of cgroup v1 for each controller.
pub fn facts_v1() -> HostFacts {
    let names = [
        "cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "net_prio", "hugetlb", "pids",
        "rdma",
    ];
    let v1 = names.iter().map(|name| hierarchy(&[name], &format!("/sys/fs/cgroup/{name}"))).collect();
    facts(CgroupFacts { v1, ..CgroupFacts::default() })
}
