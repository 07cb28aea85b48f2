//! tests/golden/rootfs: each `<name>.json` (an input) with its `<name>.plan.json`.
//!
//! `CREEL_UPDATE_GOLDEN=1 cargo test -p libcontainer --lib golden` writes the plans anew; read the difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::{RootfsInput, RootfsPlan, plan};
use crate::spec::Spec;

fn plan_of(input: &Value) -> RootfsPlan {
    let flag = |name: &str| input[name].as_bool().unwrap_or_default();
    let cgroups = serde_json::from_value(input["cgroups"].clone()).expect("cgroups");
    let cgroup_dirs: BTreeMap<String, PathBuf> = serde_json::from_value(input["cgroupDirs"].clone()).expect("dirs");
    let spec = Spec::parse(input["config"].to_string().as_bytes(), Path::new("config.json")).expect("config");
    plan(&RootfsInput {
        spec: &spec,
        bundle: Path::new("/bundle"),
        no_pivot: flag("noPivot"),
        own_mount_namespace: flag("ownMountNamespace"),
        own_user_namespace: false,
        own_network_namespace: true,
        rootless: false,
        cgroup_namespace: flag("cgroupNamespace"),
        terminal: flag("terminal"),
        selinux: false,
        cgroups: &cgroups,
        cgroup_dirs: &cgroup_dirs,
    })
    .expect("a plan")
}

#[test]
fn golden_plans() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/rootfs");
    let files = std::fs::read_dir(&dir).expect("tests/golden/rootfs").flatten().map(|entry| entry.path());
    let mut inputs: Vec<PathBuf> = files.filter(|path| !path.to_string_lossy().ends_with(".plan.json")).collect();
    inputs.sort();
    assert!(inputs.len() >= 6, "the inputs are there");
    for path in inputs {
        let text = std::fs::read(&path).expect("read");
        let input: Value = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        crate::testing::assert_golden(&path.with_extension("plan.json"), &plan_of(&input));
    }
}
