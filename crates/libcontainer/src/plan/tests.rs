//! Whole plans: tests/golden/plan has each `<name>.json` (a config.json) with its `<name>.plan.json`, for a host of fixed
//! facts. `CREEL_UPDATE_GOLDEN=1 cargo test -p libcontainer --lib plan` writes the plans anew; read the difference.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Plan, Request, plan, plan_exec};
use crate::attributes::Cpus;
use crate::error::{Kind, Result};
use crate::host::{CgroupFacts, Hierarchy, HostFacts, ProcessFacts};
use crate::spec::Spec;

fn facts() -> HostFacts {
    let controllers = ["cpu", "cpuset", "io", "memory", "pids"].map(str::to_owned).to_vec();
    let v2 = Hierarchy { controllers, mountpoint: "/sys/fs/cgroup".into(), own: "/user.slice".into() };
    HostFacts {
        process: ProcessFacts { last_capability: 40, ..ProcessFacts::default() },
        cgroups: CgroupFacts { v2: Some(v2), ..CgroupFacts::default() },
        systemd: None,
        resctrl: None,
    }
}

fn request() -> Request {
    Request { id: "c1".to_owned(), bundle: "/bundle".into(), ..Request::default() }
}

fn spec(config: &[u8]) -> Spec {
    Spec::parse(config, Path::new("config.json")).expect("a spec")
}

#[test]
fn golden_plans() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/plan");
    let files = std::fs::read_dir(&dir).expect("tests/golden/plan").flatten().map(|entry| entry.path());
    let inputs: Vec<PathBuf> = files.filter(|path| !path.to_string_lossy().ends_with(".plan.json")).collect();
    assert!(inputs.len() >= 3, "the inputs are there");
    for path in inputs {
        let plan = plan(&spec(&std::fs::read(&path).expect("read")), &request(), &facts()).expect("a plan");
        crate::testing::assert_golden(&path.with_extension("plan.json"), &plan);
    }
}

/// The smallest config, changed by `change`.
fn planned(change: impl FnOnce(&mut Value)) -> Result<Plan> {
    let mut config = json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    });
    change(&mut config);
    plan(&spec(config.to_string().as_bytes()), &request(), &facts())
}

#[test]
fn of_many_unknown_fields_some_are_told() {
    let warnings = |count: u32| {
        let mut config: Value = json!({
            "ociVersion": "1.3.0",
            "root": {"path": "rootfs"},
            "process": {"args": ["sh"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}]}
        });
        (0..count).for_each(|number| config[format!("x{number:04}")] = json!(1));
        let spec = Spec::parse_noting_unknown(config.to_string().as_bytes(), Path::new("config.json"));
        plan(&spec.expect("a spec"), &request(), &facts()).expect("a plan").warnings
    };
    let few = warnings(20);
    assert_eq!((few.len(), few[19].as_str()), (20, "config.json: x0019 is not known, and ignored"));
    let many = warnings(5000);
    assert_eq!((many.len(), many[20].as_str()), (21, "config.json: 4980 more fields are not known, and ignored"));
}

#[test]
fn what_cannot_be_planned_is_refused_by_field() {
    type Case = (&'static str, Value, Kind, &'static str);
    let cases: [Case; 12] = [
        ("/process", Value::Null, Kind::Invalid, "process: it is missing"),
        ("/process/args", json!([]), Kind::Invalid, "process.args: it must name an executable"),
        ("/process/args", json!(["a", "b\u{0}"]), Kind::Invalid, "process.args[1]: it contains a NUL character"),
        ("/process/cwd", json!("tmp"), Kind::Invalid, "process.cwd: \"tmp\" is not an absolute path"),
        ("/process/env", json!(["A=1", "B"]), Kind::Invalid, "process.env[1]: \"B\" is not NAME=value"),
        ("/process/scheduler", json!({"policy": "SCHED_X"}), Kind::Invalid, "process.scheduler.policy: \"SCHED_X\""),
        ("/process/apparmorProfile", json!("p"), Kind::Unsupported, "AppArmor is not active on this host"),
        ("/hostname", json!("h"), Kind::Invalid, "hostname: it cannot be set without a uts namespace"),
        ("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 1}]), Kind::Invalid, "linux.uidMappings"),
        (
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 1}}),
            Kind::Invalid,
            "linux.timeOffsets: they need a time namespace",
        ),
        ("/linux/namespaces", json!([{"type": "new"}]), Kind::Invalid, "linux.namespaces[0].type: \"new\""),
        ("/root", Value::Null, Kind::Invalid, "root: is missing"),
    ];
    for (pointer, value, kind, text) in cases {
        let error = planned(|config| {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            config.pointer_mut(parent).expect("the parent")[name] = value;
        })
        .expect_err(text);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().starts_with("planning the container: ") && error.to_string().contains(text),
            "{error}"
        );
    }
}

#[test]
fn a_user_other_than_root_needs_a_user_namespace() {
    let mut facts = facts();
    facts.process.euid = 1000;
    let config = json!({"ociVersion": "1.3.0", "root": {"path": "r"}, "process": {"args": ["sh"], "cwd": "/"}});
    let error = plan(&spec(config.to_string().as_bytes()), &request(), &facts).expect_err("not root");
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("without root"), "{error}");
}

#[test]
fn of_a_variable_that_is_given_twice_the_last_counts() {
    let plan = planned(|config| config["process"]["env"] = json!(["A=1", "B=2", "A=3"])).expect("a plan");
    assert_eq!(plan.process.env, ["B=2", "A=3"]);
}

#[test]
fn a_joining_process_shares_what_it_does_not_say_itself() {
    let config = json!({
        "ociVersion": "1.3.0",
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "oomScoreAdj": 77,
            "scheduler": {"policy": "SCHED_BATCH"}, "ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
            "execCPUAffinity": {"final": "0"}},
        "linux": {"personality": {"domain": "LINUX32"}, "memoryPolicy": {"mode": "MPOL_LOCAL"},
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}
    });
    let spec = spec(config.to_string().as_bytes());
    let mut process = json!({"args": ["id"], "cwd": "/", "terminal": true});
    let exec = |process: &Value| {
        let process = serde_json::from_value(process.clone()).expect("a process");
        plan_exec(&process, &spec, &request(), &facts().process).expect("a plan")
    };
    let plan = exec(&process);
    assert_eq!(plan.attributes.oom_score_adj, Some(77));
    assert_eq!(
        (plan.attributes.personality, plan.attributes.memory_policy.map(|policy| policy.mode)),
        (Some(8), Some(4))
    );
    let scheduling = &plan.attributes.scheduling;
    assert_eq!(scheduling.scheduler.map(|scheduler| scheduler.policy), Some(3));
    assert_eq!((scheduling.io_priority, &scheduling.final_cpus), (Some(0x6000), &Cpus::Only(vec![1])));
    process["execCPUAffinity"] = json!({"initial": "1"});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 1});
    let scheduling = exec(&process).attributes.scheduling;
    assert_eq!((scheduling.io_priority, scheduling.final_cpus), (Some(0x4001), Cpus::Unchanged));
    assert_eq!(plan.keyring.as_deref(), Some("_ses.c1"));
    assert!(plan.seccomp.is_some());
    assert!(plan.terminal.is_some_and(|terminal| !terminal.console), "/dev/console is init's");
}

#[test]
fn the_cgroup_belongs_to_the_user_who_divides_it() {
    let owner = |change: &dyn Fn(&mut Value)| {
        let plan = planned(|config| {
            config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "cgroup"}, {"type": "user"}]);
            config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100000, "size": 1000}]);
            config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
            config["mounts"] = json!([{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}]);
            change(config);
        });
        plan.expect("a plan").cgroup.hierarchies[0].owner
    };
    assert_eq!(owner(&|_| {}), Some(100_000));
    assert_eq!(owner(&|config| config["process"]["user"]["uid"] = json!(7)), Some(100_007));
    assert_eq!(owner(&|config| config["process"]["user"]["uid"] = json!(1000)), None, "nobody outside");
    assert_eq!(owner(&|config| config["mounts"][0]["options"] = json!(["ro"])), None, "it cannot be written to");
    assert_eq!(owner(&|config| config["mounts"] = json!([])), None);
    assert_eq!(owner(&|config| config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "user"}])), None);
    let without_userns = |uid: u32| {
        owner(&|config| {
            config["process"]["user"]["uid"] = json!(uid);
            config["linux"] = json!({"namespaces": [{"type": "mount"}, {"type": "cgroup"}]});
        })
    };
    assert_eq!((without_userns(7), without_userns(0)), (Some(7), None));
}
