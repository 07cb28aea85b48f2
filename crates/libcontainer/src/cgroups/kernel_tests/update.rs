//! Limits that change while the container lives.

use serde_json::{Value, json};

use super::{Container, eventually, layouts};
use crate::cgroups::{Cgroup, UpdatePlan, plan_update};
use crate::error::Kind;
use crate::host::CgroupFacts;
use crate::spec::Resources;
use crate::sys::bpf;
use crate::testing::is_root;

const MIB: u64 = 1 << 20;

fn planned(container: &Container, facts: &CgroupFacts, in_force: Value, given: Value) -> UpdatePlan {
    let resources = |value: Value| serde_json::from_value::<Resources>(value).expect("resources");
    plan_update(&container.cgroup, &resources(in_force), &resources(given), facts, None).expect("plan")
}

/// The host's own layout, if it has these controllers.
fn with_controllers(names: &[&str]) -> Option<CgroupFacts> {
    let facts = CgroupFacts::gather().expect("facts");
    let unified = facts.v2.iter().filter(|_| facts.is_unified());
    let there = |name: &str| {
        facts.v1.iter().chain(unified.clone()).any(|hierarchy| hierarchy.controllers.iter().any(|one| one == name))
    };
    let has = names.iter().all(|name| there(name)) && is_root("cgroups: update");
    if !has {
        println!("skipped: not root, or not all of {names:?} here");
    }
    has.then_some(facts)
}

/// Memory, memory and swap together as the layout counts it, processes, and the CPU quota, as the kernel tells them.
fn limits(container: &Container, facts: &CgroupFacts) -> [String; 4] {
    let read = |controller: &str, v1: &str, v2: &str| {
        let file = if facts.is_unified() { v2 } else { v1 };
        let path = container.cgroup.dir_of(controller).expect(controller).join(file);
        std::fs::read_to_string(path).unwrap_or_default().split_whitespace().next().unwrap_or_default().to_owned()
    };
    [
        read("memory", "memory.limit_in_bytes", "memory.max"),
        read("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
        read("pids", "pids.max", "pids.max"),
        read("cpu", "cpu.cfs_quota_us", "cpu.max"),
    ]
}

#[test]
fn limits_are_raised_lowered_and_taken_back_in_any_order() {
    let Some(facts) = with_controllers(&["memory", "pids", "cpu", "cpuset"]) else { return };
    let first = json!({
        "memory": { "limit": 64 * MIB, "swap": 64 * MIB }, "cpu": { "quota": 20000, "period": 10000, "burst": 5000 },
        "pids": { "limit": 7 },
    });
    let container = Container::new(&facts, first.clone());
    let mut in_force: Resources = serde_json::from_value(first).expect("resources");
    let steps = [(16, 16), (512, 600), (600, 600), (32, 600), (33, 40), (16, 1000)];
    for (number, (limit, swap)) in steps.into_iter().enumerate() {
        let before = limits(&container, &facts);
        let quota = 3000 * (number as u64 % 3 + 1);
        let given = json!({
            "memory": { "limit": limit * MIB, "swap": swap * MIB }, "pids": { "limit": number + 20 },
            "cpu": { "quota": quota, "burst": quota / 2, "period": 1000 * (number + 5) },
        });
        let as_json = |resources: &Resources| serde_json::to_value(resources).expect("JSON");
        let mut impossible = given.clone();
        impossible["cpu"]["cpus"] = json!("4096");
        let plan = planned(&container, &facts, as_json(&in_force), impossible);
        let error = container.cgroup.update(&plan).expect_err("no such processor");
        assert_eq!(error.kind(), Kind::Invalid);
        let text = error.to_string();
        assert!(text.contains("linux.resources.cpu.cpus: \"4096\" to ") && !text.contains("besides"), "{text}");
        assert_eq!(limits(&container, &facts), before, "taken back");

        let plan = planned(&container, &facts, as_json(&in_force), given);
        let updated = container.cgroup.update(&plan).expect("update");
        let swap = if facts.is_unified() { swap - limit } else { swap };
        let wanted =
            [(limit * MIB).to_string(), (swap * MIB).to_string(), (number + 20).to_string(), quota.to_string()];
        let now = limits(&container, &facts);
        assert_eq!((&now[0], &now[2], &now[3]), (&wanted[0], &wanted[2], &wanted[3]));
        assert!(now[1] == wanted[1] || now[1].is_empty(), "swap {now:?}, wanted {wanted:?}");
        if number % 2 == 0 {
            let error = updated.take_back(error).to_string();
            assert!(!error.contains("besides"), "{error}");
            assert_eq!(limits(&container, &facts), before, "taken back after success");
        } else {
            in_force = plan.resources.clone();
        }
    }
}

#[test]
fn a_frozen_container_is_updated_and_stays_frozen() {
    let Some(facts) = with_controllers(&["memory", "pids"]) else { return };
    let container = Container::new(&facts, json!({ "memory": { "limit": 64 * MIB } }));
    let _sleep = container.start(&["sleep", "1000"]);
    container.cgroup.freeze().expect("freeze");
    let given = json!({ "memory": { "limit": 32 * MIB }, "devices": [{ "allow": true, "access": "rwm" }] });
    let plan = planned(&container, &facts, json!({}), given);
    let updated = container.cgroup.update(&plan).map(drop);
    let frozen = container.cgroup.is_frozen();
    // Before anything fails: what is frozen on v1 cannot be killed, and the test would wait for it.
    container.cgroup.thaw().expect("thaw");
    updated.expect("update");
    assert!(frozen.expect("state"));
    assert_eq!(limits(&container, &facts)[0], (32 * MIB).to_string());
}

#[test]
fn device_rules_change_for_running_processes() {
    if !is_root("cgroups: devices") {
        return;
    }
    for facts in layouts() {
        let container = Container::new(&facts, json!({}));
        let none = json!({ "allow": false, "access": "rwm" });
        let all = json!({ "allow": true, "access": "rwm" });
        let kmsg = |allow: bool| json!({ "allow": allow, "type": "c", "major": 1, "minor": 11, "access": "r" });
        let opens = || container.start(&["sh", "-c", "exec 3</dev/kmsg 4</dev/null"]).end() == 0;
        assert!(!opens(), "denied by default");
        let mut in_force = json!([]);
        for (rules, allowed) in [
            (json!([none, kmsg(true)]), true),
            (json!([none]), false),
            (json!([all]), true),
            (json!([all, kmsg(false)]), false),
            (json!([none, kmsg(true)]), true),
        ] {
            let plan = planned(&container, &facts, json!({ "devices": in_force }), json!({ "devices": rules }));
            assert!(plan.device_lines.is_some() || plan.former_program.is_some());
            let updated = container.cgroup.update(&plan).expect("update");
            assert_eq!(opens(), allowed, "{rules}");
            let back = updated.take_back(crate::error::Error::new(Kind::System, "back"));
            assert_eq!(back.to_string(), "back");
            assert_eq!(opens(), !allowed, "taken back from {rules}");
            container.cgroup.update(&plan).expect("update");
            assert_eq!(opens(), allowed, "{rules}");
            in_force = rules;
            let same = planned(&container, &facts, json!({ "devices": in_force }), json!({ "devices": in_force }));
            assert!(same.device_lines.is_none() && same.hierarchies.is_empty(), "what means the same is left alone");
        }
        if let Some(v2) = container.membership.v2().filter(|_| facts.is_unified()) {
            assert_eq!(bpf::device_programs(v2).expect("query").len(), 1);
        }
    }
}

#[test]
fn no_process_is_denied_a_device_that_both_lists_allow() {
    if !is_root("cgroups: devices") {
        return;
    }
    for facts in layouts() {
        let container = Container::new(&facts, json!({}));
        let marks = std::env::temp_dir().join(Container::unique().trim_start_matches('/'));
        std::fs::create_dir(&marks).expect("mkdir");
        let script =
            format!("while :; do echo x 2>/dev/null >/dev/null || : >{0}/no; : >{0}/yes; done", marks.display());
        let endless = container.start(&["sh", "-c", &script]);
        eventually("it runs", || marks.join("yes").exists());
        let lists = [
            json!({ "devices": [{ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" }] }),
            json!({ "devices": [{ "allow": false, "access": "rwm" }] }),
            json!({ "devices": [{ "allow": true, "access": "rwm" }] }),
        ];
        for number in 0..60 {
            let (from, to) = (&lists[number % 3], &lists[(number + 1) % 3]);
            let plan = planned(&container, &facts, from.clone(), to.clone());
            if plan.device_lines.is_some() || plan.former_program.is_some() {
                container.cgroup.update(&plan).expect("update");
            }
        }
        drop(endless);
        let denied = marks.join("no").exists();
        std::fs::remove_dir_all(&marks).expect("clean");
        assert!(!denied, "/dev/null was denied for a moment");
    }
}

#[test]
fn memory_in_use_is_told_before_it_is_too_late() {
    let Some(facts) = with_controllers(&["memory"]) else { return };
    let container = Container::new(&facts, json!({ "memory": { "limit": 64 * MIB, "swap": 64 * MIB } }));
    let script = "a=$(head -c 20000000 /dev/zero | tr '\\0' x); echo ready >&0; while :; do sleep 1; done";
    let _sleep = container.start(&["sh", "-c", script]);
    let usage = if facts.is_unified() { "memory.current" } else { "memory.usage_in_bytes" };
    eventually("it uses memory", || container.read("memory", usage).parse::<u64>().expect("number") > 20_000_000);
    let given = json!({ "memory": { "limit": MIB, "swap": MIB, "checkBeforeUpdate": true } });
    let plan = planned(&container, &facts, json!({ "memory": { "limit": 64 * MIB, "swap": 64 * MIB } }), given);
    let before = limits(&container, &facts);
    let error = container.cgroup.update(&plan).expect_err("in use").to_string();
    match facts.is_unified() {
        true => assert!(error.contains("rejecting memory+swap limit 1048576 <= usage "), "{error}"),
        false => assert!(error.contains("memory.limit_in_bytes") && error.contains("in use ("), "{error}"),
    }
    assert_eq!(limits(&container, &facts), before);
}

#[test]
fn a_controller_that_was_not_needed_at_first_is_passed_on() {
    let facts = CgroupFacts::gather().expect("facts");
    let v2 = facts.v2.clone().filter(|v2| v2.controllers.iter().any(|one| one == "hugetlb"));
    let Some(v2) = v2.filter(|_| is_root("cgroups: controllers")) else { return println!("skipped: no hugetlb on v2") };
    let control = v2.mountpoint.join("cgroup.subtree_control");
    let before = std::fs::read_to_string(&control).expect("subtree_control");
    let top = Container::unique();
    let path = format!("{top}/a");
    let mut plan = Container::plan(&facts, &path, json!({}));
    plan.hierarchies.iter_mut().for_each(|hierarchy| hierarchy.controllers.clear());
    let (cgroup, membership) = Cgroup::create(&plan).expect("create");
    let container = Container { path, plan, cgroup, membership };
    let file = v2.mountpoint.join(format!("{}/a/hugetlb.2MB.max", &top[1..]));
    assert!(!file.exists());
    let given = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 * MIB }] });
    let plan = planned(&container, &facts, json!({}), given);
    let updated = container.cgroup.update(&plan).map(drop);
    let limit = std::fs::read_to_string(file);
    let hierarchies = container.plan.hierarchies.clone();
    drop(container);
    for hierarchy in hierarchies {
        let _ = std::fs::remove_dir(hierarchy.mountpoint.join(&top[1..]));
    }
    if !before.contains("hugetlb") {
        let _ = std::fs::write(&control, "-hugetlb");
    }
    updated.expect("update");
    assert_eq!(limit.expect("hugetlb.2MB.max").trim(), (4 * MIB).to_string());
}

#[test]
fn a_cgroup_that_is_gone_is_told() {
    let Some(facts) = with_controllers(&["pids"]) else { return };
    let container = Container::new(&facts, json!({}));
    let plan = planned(&container, &facts, json!({}), json!({ "pids": { "limit": 5 } }));
    container.cgroup.remove().expect("remove");
    let error = container.cgroup.update(&plan).expect_err("gone");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().starts_with("updating the container's limits: "), "{error}");
}
