//! Plans as data: what is written for which config, in tests/golden/cgroups/. Run with `CREEL_UPDATE_GOLDEN=1` to write the
//! expectations anew, and read the difference.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::devices::{DeviceAccess, DeviceKind, MKNOD, READ, Rule, WRITE};
use super::{Cgroup, CgroupPlan, HierarchyPlan, Instruction, plan, plan_unit, plan_update, v1, v2};
use crate::error::{Error, Kind, Result};
use crate::host::{CgroupFacts, Hierarchy, SystemdFacts};
use crate::spec::{DeviceRule, Linux, Resources};

fn golden_files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cgroups");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir).expect("tests/golden/cgroups").map(|f| f.expect("entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

fn outcome<T: Serialize>(result: Result<T>) -> Value {
    match result {
        Ok(value) => serde_json::to_value(value).expect("serialise"),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// What the planner makes of a file's input: of `resources` alone, of `linux` on a host of these `facts` (with `systemd`,
/// in short), or of limits `in_force` and `given` there.
fn actual(input: &Value) -> Vec<(&'static str, Value)> {
    if let Some(resources) = input.get("resources") {
        let resources: Resources = serde_json::from_value(resources.clone()).expect("resources");
        let mut outcomes = vec![("v1", outcome(v1::writes(&resources))), ("v2", outcome(v2::writes(&resources)))];
        if input.get("v2_devices").is_some() {
            outcomes
                .push(("v2_devices", outcome(DeviceAccess::parse(&resources.devices).map(|access| access.program()))));
        }
        return outcomes;
    }
    let facts: CgroupFacts = serde_json::from_value(input["facts"].clone()).expect("facts");
    let systemd: Option<SystemdFacts> =
        input.get("systemd").map(|systemd| serde_json::from_value(systemd.clone()).expect("systemd"));
    if let Some(given) = input.get("given") {
        let resources = |value: &Value| serde_json::from_value::<Resources>(value.clone()).expect("resources");
        let cgroup: Cgroup = serde_json::from_value(input["cgroup"].clone()).expect("cgroup");
        let plan = plan_update(&cgroup, &resources(&input["in_force"]), &resources(given), &facts, systemd.as_ref());
        return vec![("update", outcome(plan))];
    }
    let linux: Linux = serde_json::from_value(input["linux"].clone()).expect("linux");
    let annotations = serde_json::from_value(input["annotations"].clone()).unwrap_or_default();
    let planned = match &systemd {
        None => plan(&linux, "c1", &facts),
        Some(systemd) => plan_unit(&linux, &annotations, "c1", &facts, systemd),
    };
    let planned = planned.and_then(|plan| plan.divided(&annotations, &facts));
    if systemd.is_none() {
        return vec![("plan", outcome(planned))];
    }
    let told = |plan: CgroupPlan| {
        let writes = plan.hierarchies.iter().flat_map(|one| &one.writes);
        let writes: Vec<String> = writes.map(|write| format!("{} {}", write.file, write.value)).collect();
        let optional = |one: &&HierarchyPlan| one.optional;
        let optional: Vec<&str> = plan.hierarchies.iter().filter(optional).map(|one| one.key.as_str()).collect();
        json!({ "unit": plan.unit, "location": plan.location(), "optional": optional, "writes": writes })
    };
    vec![("plan", outcome(planned.map(told)))]
}

#[test]
fn plans_are_as_recorded() {
    let update = std::env::var_os("CREEL_UPDATE_GOLDEN").is_some();
    let files = golden_files();
    assert!(files.len() >= 10, "golden files are missing: {files:?}");
    for path in files {
        let mut recorded: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        for (key, value) in actual(&recorded) {
            if update {
                recorded[key] = value;
            } else {
                assert_eq!(recorded.get(key), Some(&value), "{} {key}", path.display());
            }
        }
        if update {
            let text = serde_json::to_string_pretty(&recorded).expect("serialise");
            std::fs::write(&path, text + "\n").expect("write");
        }
    }
}

fn hierarchy(controllers: &[&str], mountpoint: &str, own: &str) -> Hierarchy {
    let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
    Hierarchy { controllers, mountpoint: mountpoint.into(), own: own.into() }
}

fn v1_facts() -> CgroupFacts {
    let v1 = vec![
        hierarchy(&["devices"], "/sys/fs/cgroup/devices", "/"),
        hierarchy(&["memory"], "/sys/fs/cgroup/memory", "/outer"),
    ];
    CgroupFacts { v1, ..CgroupFacts::default() }
}

fn v2_facts() -> CgroupFacts {
    let v2 = hierarchy(&["cpu", "memory", "pids"], "/sys/fs/cgroup", "/user.slice/session-1.scope");
    CgroupFacts { v2: Some(v2), ..CgroupFacts::default() }
}

fn linux(cgroups_path: &str, resources: Value) -> Linux {
    serde_json::from_value(json!({ "cgroupsPath": cgroups_path, "resources": resources })).expect("linux")
}

fn failure(linux: &Linux, facts: &CgroupFacts) -> Error {
    plan(linux, "c1", facts).expect_err("must be refused")
}

fn dirs(cgroups_path: &str, facts: &CgroupFacts) -> Vec<String> {
    let plan: CgroupPlan = plan(&linux(cgroups_path, json!({})), "c1", facts).expect("plan");
    let location = plan.location();
    assert_eq!(location.dirs().len(), plan.hierarchies.len());
    location.dirs().values().map(|dir| dir.display().to_string()).collect()
}

#[test]
fn absolute_paths_start_at_the_root_and_relative_ones_where_runc_starts_them() {
    let (memory, devices) = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/devices");
    assert_eq!(dirs("/a/b", &v1_facts()), [format!("{devices}/a/b"), format!("{memory}/a/b")]);
    assert_eq!(dirs("a/b", &v1_facts()), [format!("{devices}/a/b"), format!("{memory}/outer/a/b")]);
    assert_eq!(dirs("", &v1_facts()), [format!("{devices}/c1"), format!("{memory}/outer/c1")]);
    assert_eq!(dirs("/a/b", &v2_facts()), ["/sys/fs/cgroup/a/b"]);
    assert_eq!(dirs("", &v2_facts()), ["/sys/fs/cgroup/user.slice/c1"]);
}

#[test]
fn no_path_leads_out_of_a_hierarchy_or_to_a_cgroup_that_is_not_the_containers_own() {
    assert_eq!(dirs("/../../etc", &v2_facts()), ["/sys/fs/cgroup/etc"]);
    assert_eq!(dirs("../../../etc/./x//", &v2_facts()), ["/sys/fs/cgroup/user.slice/etc/x"]);
    assert_eq!(dirs("a/../../b", &v1_facts())[1], "/sys/fs/cgroup/memory/outer/b");
    for path in ["/", ".", "..", "/..", "a/..", "//./"] {
        let error = failure(&linux(path, json!({})), &v1_facts());
        assert_eq!(error.kind(), Kind::Invalid, "{path}");
        assert!(error.to_string().contains("linux.cgroupsPath"), "{error}");
    }
    assert!(plan(&Linux::default(), "..", &v2_facts()).is_err());
}

#[test]
fn a_limit_without_its_controller_is_an_error_that_names_the_field() {
    let cases = [
        (v1_facts(), json!({ "pids": { "limit": 10 } }), "linux.resources.pids.limit", "pids is not mounted"),
        (v1_facts(), json!({ "blockIO": { "weight": 10 } }), "linux.resources.blockIO.weight", "blkio is not mounted"),
        (
            v2_facts(),
            json!({ "cpu": { "cpus": "0" } }),
            "linux.resources.cpu.cpus",
            "cpuset controller is not available",
        ),
        (
            CgroupFacts { v1: v1_facts().v1.split_off(1), ..CgroupFacts::default() },
            json!({}),
            "linux.resources.devices",
            "devices is not",
        ),
        (CgroupFacts::default(), json!({}), "no cgroup hierarchy is mounted", "mount -t cgroup2"),
    ];
    for (facts, resources, field, why) in cases {
        let error = failure(&linux("", resources), &facts);
        assert_eq!(error.kind(), Kind::Unsupported);
        let text = error.to_string();
        assert!(text.contains(field) && text.contains(why), "{text}");
    }
}

#[test]
fn a_process_limit_of_zero_is_one_and_a_negative_one_none() {
    for (limit, value) in [(json!(-1), Some("max")), (json!(0), Some("1")), (json!(7), Some("7")), (json!(null), None)]
    {
        let resources: Resources = serde_json::from_value(json!({ "pids": { "limit": limit } })).expect("resources");
        let writes = v2::writes(&resources).expect("writes");
        assert_eq!(writes.first().map(|write| write.value.as_str()), value);
    }
}

#[test]
fn wrong_values_are_named() {
    for (resources, text) in [
        (json!({ "memory": { "swappiness": 101 } }), "linux.resources.memory.swappiness: 101"),
        (json!({ "cpu": { "shares": 1 } }), "linux.resources.cpu.shares: 1 is not between 2 and 262144"),
        (json!({ "unified": { "memory.high": "1" } }), "linux.resources.unified: \"memory.high\""),
        (
            json!({ "devices": [{ "allow": true, "type": "p", "access": "r" }] }),
            "linux.resources.devices[0].type: \"p\"",
        ),
        (json!({ "devices": [{ "allow": true, "type": "c" }] }), "linux.resources.devices[0].access"),
        (
            json!({ "devices": [{ "allow": true, "type": "c", "access": "xa" }] }),
            "linux.resources.devices[0].access: \"xa\"",
        ),
        (json!({ "devices": [{ "type": "c", "access": "r", "minor": -2 }] }), "linux.resources.devices[0].minor: -2"),
    ] {
        let resources: Resources = serde_json::from_value(resources).expect("resources");
        let error = v1::writes(&resources).expect_err(text);
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// What the kernel asks: kind, access, major, minor.
type Request = (DeviceKind, u8, u32, u32);

/// The meaning of the rules: for each kind of access, the last rule that matches decides.
fn meant(access: &DeviceAccess, (kind, bits, major, minor): Request) -> bool {
    let matches = |rule: &&Rule, bit: u8| {
        let same = |number: Option<u32>, asked: u32| number.is_none_or(|number| number == asked);
        rule.devices.kind == kind
            && same(rule.devices.major, major)
            && same(rule.devices.minor, minor)
            && rule.access & bit != 0
    };
    [READ, WRITE, MKNOD].iter().filter(|bit| bits & **bit != 0).all(|bit| {
        let last = access.rules.iter().rev().find(|rule| matches(rule, *bit));
        last.map_or(access.allowed_by_default, |rule| rule.allow)
    })
}

/// Runs the few operations that the assembler uses, on the encoded program.
fn run(program: &[Instruction], (kind, bits, major, minor): Request) -> bool {
    let context = [u32::from(bits) << 16 | kind as u32, major, minor];
    let mut registers = [0u32; 11];
    let mut next = 0;
    loop {
        let raw = program[next].encode().to_le_bytes();
        let (destination, source) = (usize::from(raw[1] & 15), usize::from(raw[1] >> 4));
        let offset = i16::from_le_bytes([raw[2], raw[3]]);
        let constant = u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]);
        next += 1;
        match raw[0] {
            0x61 => registers[destination] = context[offset as usize / 4],
            0xb4 => registers[destination] = constant,
            0xbc => registers[destination] = registers[source],
            0x54 => registers[destination] &= constant,
            0x74 => registers[destination] >>= constant,
            0x16 if registers[destination] == constant => next += offset as usize,
            0x56 if registers[destination] != constant => next += offset as usize,
            0x16 | 0x56 => {}
            0x95 => return registers[0] == 1,
            code => panic!("operation {code:#x}"),
        }
    }
}

fn rule(allow: bool, kind: &str, numbers: (Option<i64>, Option<i64>), access: &str) -> DeviceRule {
    DeviceRule { allow, kind: kind.to_owned(), major: numbers.0, minor: numbers.1, access: access.to_owned() }
}

fn rule_sets() -> Vec<Vec<DeviceRule>> {
    let deny_all = rule(false, "a", (None, None), "rwm");
    let allow_all = rule(true, "", (None, None), "rwm");
    let (all, disk, first) = ((None, None), (Some(8), None), (Some(8), Some(1)));
    vec![
        vec![],
        vec![deny_all.clone()],
        vec![allow_all.clone()],
        vec![rule(true, "b", disk, "r"), rule(true, "b", disk, "w")],
        vec![rule(true, "b", first, "rwm"), rule(false, "b", first, "w")],
        vec![rule(true, "b", first, "rwm"), rule(false, "b", disk, "wm")],
        vec![rule(true, "b", first, "rw"), deny_all.clone(), rule(true, "c", (Some(8), Some(0xffff_ffff)), "rw")],
        vec![allow_all.clone(), rule(false, "b", first, "w"), rule(false, "c", (Some(1), Some(3)), "rwm")],
        vec![allow_all.clone(), rule(false, "b", first, "rwm"), rule(true, "b", disk, "r")],
        vec![allow_all, rule(false, "b", all, "rw"), deny_all, rule(true, "b", (None, Some(1)), "r")],
        // Not to be had on v1:
        vec![rule(true, "b", disk, "rw"), rule(false, "b", first, "w")],
        vec![rule(true, "b", all, "rwm"), rule(false, "b", first, "w"), rule(true, "b", first, "m")],
    ]
}

fn requests() -> impl Iterator<Item = Request> {
    let numbers = [0, 1, 3, 8, 136, 0xffff_ffff];
    let kinds = [DeviceKind::Block, DeviceKind::Char].into_iter();
    let pairs = numbers.into_iter().flat_map(move |major| numbers.map(|minor| (major, minor)));
    kinds.flat_map(move |kind| {
        pairs.clone().flat_map(move |(major, minor)| (1..8).map(move |bits| (kind, bits, major, minor)))
    })
}

#[test]
fn the_program_means_what_the_rules_mean() {
    for rules in rule_sets() {
        let access = DeviceAccess::parse(&rules).expect("rules");
        let program = access.program();
        for request in requests() {
            assert_eq!(run(&program, request), meant(&access, request), "{request:?} with {rules:?}");
        }
    }
}

/// As the v1 kernel reads the lines: a default, and exceptions of which one has to cover the device.
fn v1_allows(writes: &[super::CgroupWrite], (kind, bit, major, minor): Request) -> bool {
    let default_allow = writes[0].file == "devices.allow";
    let excepted = writes[1..].iter().any(|write| {
        let fields: Vec<&str> = write.value.split([' ', ':']).collect();
        let same = |field: &str, number: u32| field == "*" || field == number.to_string();
        let letter = [(READ, "r"), (WRITE, "w"), (MKNOD, "m")].iter().find(|(one, _)| *one == bit).expect("bit").1;
        let same_kind = fields[0] == if kind == DeviceKind::Block { "b" } else { "c" };
        same_kind && same(fields[1], major) && same(fields[2], minor) && fields[3].contains(letter)
    });
    default_allow != excepted
}

#[test]
fn the_lines_for_v1_mean_what_the_rules_mean() {
    let mut possible = 0;
    for rules in rule_sets() {
        let access = DeviceAccess::parse(&rules).expect("rules");
        let Ok(writes) = access.v1_writes() else { continue };
        possible += 1;
        assert_eq!(writes[0].value, "a *:* rwm");
        for request in requests().filter(|(_, bits, _, _)| bits.count_ones() == 1) {
            assert_eq!(v1_allows(&writes, request), meant(&access, request), "{request:?} with {rules:?}");
        }
    }
    assert_eq!(possible, rule_sets().len() - 2);
}

#[test]
fn v1_refuses_a_hole_in_a_wildcard() {
    let rules = [rule(true, "b", (Some(8), None), "rw"), rule(false, "b", (Some(8), Some(1)), "w")];
    let error = DeviceAccess::parse(&rules).and_then(|access| access.v1_writes()).expect_err("a hole");
    let text = "linux.resources.devices[1]: cgroup v1 cannot deny b 8:1 while all of b 8:* is allowed";
    assert!(error.to_string().starts_with(text), "{error}");
}
