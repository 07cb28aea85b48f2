//! Units of a real systemd: skipped where none is running, as on most build machines. Root tests the system's manager,
//! anybody else his own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Pid;
use serde_json::{Value as Json, json};

use super::{Property, plan_unit, unit_properties};
use crate::cgroups::{Cgroup, CgroupPlan, Membership, plan_update};
use crate::dbus::{Manager, Value};
use crate::error::{Error, Kind, Result};
use crate::host::{CgroupFacts, SystemdFacts};
use crate::spec::{Linux, Resources};
use crate::testing::{eventually, patience};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What there is to test with; tells why if there is nothing.
fn facts(test: &str, root: bool) -> Option<(CgroupFacts, SystemdFacts)> {
    if rustix::process::geteuid().is_root() != root {
        println!("skipped: {test} is for {}", if root { "root" } else { "users other than root" });
        return None;
    }
    let cgroups = CgroupFacts::gather().expect("facts");
    match SystemdFacts::gather(&cgroups) {
        Ok(systemd) => Some((cgroups, systemd)),
        Err(error) => {
            println!("skipped: {test}: {error}");
            None
        }
    }
}

/// A unit of a test; stopped and removed when the test ends, however it ends.
struct Container {
    unit: String,
    user: bool,
    cgroup: Cgroup,
    membership: Option<Membership>,
    processes: Vec<Child>,
}

fn name() -> String {
    format!("t{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn planned(
    facts: &(CgroupFacts, SystemdFacts),
    path: &str,
    resources: Json,
    annotations: &[(&str, &str)],
) -> CgroupPlan {
    let linux = json!({ "cgroupsPath": path, "resources": resources });
    let linux: Linux = serde_json::from_value(linux).expect("linux");
    let annotations: BTreeMap<String, String> =
        annotations.iter().map(|(name, value)| (format!("org.systemd.property.{name}"), (*value).to_owned())).collect();
    plan_unit(&linux, &annotations, "c1", &facts.0, &facts.1).expect("plan")
}

impl Container {
    fn create(plan: &CgroupPlan) -> Result<Container> {
        let (cgroup, membership) = Cgroup::create(plan)?;
        assert_eq!(cgroup, plan.location());
        let unit = cgroup.unit().expect("unit").name.clone();
        let user = !rustix::process::geteuid().is_root();
        Ok(Container { unit, user, cgroup, membership: Some(membership), processes: Vec::new() })
    }

    fn new(facts: &(CgroupFacts, SystemdFacts), resources: Json) -> Container {
        Container::create(&planned(facts, &format!(":creel-test:{}", name()), resources, &[])).expect("create")
    }

    /// Starts a command that is in all cgroups before it executes; the first one settles the unit.
    fn start(&mut self, command: &[&str]) -> &mut Child {
        let script = ["-c", "read _; exec \"$0\" \"$@\""];
        let mut shell = Command::new("sh");
        let mut child =
            shell.args(script).args(command).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh");
        for dir in self.cgroup.dirs().values() {
            std::fs::write(dir.join("cgroup.procs"), child.id().to_string()).expect("cgroup.procs");
        }
        if let Some(membership) = self.membership.take() {
            membership.settle(Pid::from_child(&child)).expect("settle");
        }
        drop(child.stdin.take());
        self.processes.push(child);
        self.processes.last_mut().expect("child")
    }

    fn can(&mut self, command: &str) -> bool {
        self.start(&["sh", "-c", command]).wait().expect("wait").success()
    }

    fn show(&self, property: &str) -> String {
        show(&self.unit, property, self.user)
    }

    fn read(&self, controller: &str, file: &str) -> String {
        let path = self.cgroup.dir_of(controller).expect(controller).join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    }

    /// Every file that a limit may be in.
    fn limits(&self) -> BTreeMap<PathBuf, String> {
        let files = self.cgroup.dirs().values().flat_map(|dir| std::fs::read_dir(dir).expect("dir").flatten());
        let is_limit = |name: &str| {
            let counts = ["usage", "effective", "pressure", "failcnt"];
            let limits =
                ["max", "min", "low", "high", "weight", "limit", "quota", "period", "shares", "cpus", "mems", "list"];
            let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
            has(&limits) && !has(&counts)
        };
        let paths =
            files.map(|file| file.path()).filter(|path| is_limit(&path.file_name().expect("name").to_string_lossy()));
        paths.filter_map(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?))).collect()
    }

    fn end(mut self) {
        self.cgroup.kill_all(libc::SIGKILL).expect("kill");
        self.processes.iter_mut().for_each(|child| drop(child.wait()));
        assert_eq!(self.cgroup.stop_unit().expect("stop"), None, "no warning");
        self.cgroup.remove().expect("remove");
        // Slices are made up on demand, even by asking.
        let (property, gone) =
            if self.unit.ends_with(".slice") { ("ActiveState", "inactive") } else { ("LoadState", "not-found") };
        assert_eq!(self.show(property), gone);
        assert!(self.cgroup.dirs().values().all(|dir| !dir.exists()));
        // It does not wait long for a systemd that is busy.
        eventually("forgotten", || self.cgroup.unit_result().is_ok_and(|result| result.is_none()));
        assert_eq!(self.cgroup.stop_unit().expect("stop twice"), None);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.membership.take());
        let _ = self.cgroup.kill_all(libc::SIGKILL);
        self.processes.iter_mut().for_each(|child| drop(child.wait()));
        let _ = self.cgroup.stop_unit();
        let _ = self.cgroup.remove();
    }
}

fn systemctl(user: bool, arguments: &[&str]) -> String {
    let user = if user { &["--user"][..] } else { &[] };
    let output = Command::new("systemctl").args(user).args(arguments).output().expect("systemctl");
    assert!(output.status.success(), "systemctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn show(unit: &str, property: &str, user: bool) -> String {
    systemctl(user, &["show", "--value", "--property", property, unit])
}

fn limited() -> Json {
    json!({
        "memory": { "limit": 64 << 20, "reservation": 32 << 20 },
        "cpu": { "shares": 2048, "quota": 33333, "period": 100_000, "cpus": "0", "mems": "0" },
        "pids": { "limit": 50 },
        "devices": [{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" }],
    })
}

#[test]
fn a_scope_has_its_limits_and_keeps_them() {
    let Some(facts) = facts("a_scope_has_its_limits_and_keeps_them", true) else { return };
    let mut container = Container::new(&facts, limited());
    assert_eq!(container.cgroup.pids().expect("pids").len(), 1, "what holds it open");
    let sleeping = container.start(&["sleep", "1000"]).id();
    assert_eq!(container.cgroup.pids().expect("pids"), [sleeping as i32]);

    let v2 = facts.0.is_unified();
    for (property, value) in [
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("Description", "creel container c1"),
        ("TasksMax", "50"),
        ("DevicePolicy", "strict"),
        ("CPUQuotaPerSecUSec", "340ms"),
        ("AllowedCPUs", "0"),
        ("Result", "success"),
        (if v2 { "MemoryMax" } else { "MemoryLimit" }, "67108864"),
        (if v2 { "CPUWeight" } else { "CPUShares" }, if v2 { "174" } else { "2048" }),
    ] {
        assert_eq!(container.show(property), value, "{property}");
    }
    assert!(container.show("DeviceAllow").contains("/dev/char/1:11 r"), "{}", container.show("DeviceAllow"));
    assert_eq!(container.read("pids", "pids.max"), "50");
    assert_eq!(container.read("cpuset", "cpuset.cpus"), "0");
    if v2 {
        assert_eq!(container.read("", "cpu.max"), "34000 100000");
        assert_eq!(container.read("memory", "memory.max"), (64 << 20).to_string());
        assert_eq!(container.read("memory", "memory.low"), (32 << 20).to_string());
    } else {
        assert_eq!(container.read("cpu", "cpu.cfs_quota_us"), "34000");
        assert_eq!(container.read("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
        assert_eq!(container.read("memory", "memory.soft_limit_in_bytes"), (32 << 20).to_string());
    }
    let devices =
        "exec 3</dev/kmsg 4<>/dev/null && ! (exec 5>/dev/kmsg) && ! (exec 5</dev/vda || exec 5</dev/loop-control)";
    assert!(container.can(devices));

    let before = container.limits();
    systemctl(false, &["daemon-reload"]);
    assert_eq!(container.limits(), before, "what daemon-reload has changed");
    assert!(container.can(devices), "after daemon-reload");
    assert_eq!(container.cgroup.pids().expect("pids"), [sleeping as i32]);
    container.end();
}

#[test]
fn one_process_may_be_all_that_is_allowed() {
    let Some(facts) = facts("one_process_may_be_all_that_is_allowed", true) else { return };
    let mut container = Container::new(&facts, json!({ "pids": { "limit": 1 } }));
    container.start(&["sleep", "1000"]);
    assert_eq!((container.read("pids", "pids.max").as_str(), container.show("TasksMax").as_str()), ("1", "1"));
    container.end();
}

#[test]
fn devices_that_systemd_cannot_express_are_limited_all_the_same() {
    let Some(facts) = facts("devices_that_systemd_cannot_express", true) else { return };
    let rules = json!({ "devices": [{ "allow": true, "access": "rwm" }, { "allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwm" }] });
    let mut container = Container::new(&facts, rules);
    container.start(&["sleep", "1000"]);
    assert!(container.can("exec 3</dev/loop-control && ! (exec 3</dev/kmsg)"));
    systemctl(false, &["daemon-reload"]);
    assert!(container.can("! (exec 3</dev/kmsg)"), "after daemon-reload");
    if facts.0.is_unified() {
        assert!(container.can("exec 3</dev/loop-control"), "after daemon-reload");
    }
    container.end();
}

#[test]
fn a_unit_that_runs_is_refused_and_one_that_failed_is_replaced() {
    let Some(facts) = facts("a_unit_that_runs_is_refused", true) else { return };
    let name = name();
    // Its process must be in before that is over, or systemd has sent its signal to the placeholder alone.
    let seconds = (3.0 + 2.0 * patience()).to_string();
    let first = planned(&facts, &format!(":creel-test:{name}"), json!({}), &[("RuntimeMaxSec", &seconds)]);
    let mut container = Container::create(&first).expect("create");
    let plan = planned(&facts, &format!("machine.slice:creel-test:{name}"), json!({}), &[]);
    let refused = Cgroup::create(&plan).map(drop).expect_err("it exists");
    assert_eq!(refused.kind(), Kind::WrongState, "{refused}");
    assert!(refused.to_string().contains(&format!("systemd has a unit creel-test-{name}.scope already")), "{refused}");
    let refused = Cgroup::create(&first).map(drop).expect_err("it is used");
    assert!(refused.to_string().contains("is not empty"), "{refused}");
    container.start(&["sleep", "1000"]);
    eventually("it fails after that time", || container.show("ActiveState") == "failed");
    eventually("how", || container.cgroup.unit_result().is_ok_and(|result| result.as_deref() == Some("timeout")));

    let again = Container::create(&first).expect("create");
    assert_eq!(again.show("ActiveState"), "active");
    again.end();
}

#[test]
fn what_systemd_does_not_take_is_told() {
    let Some(facts) = facts("what_systemd_does_not_take_is_told", true) else { return };
    for (property, value) in [("NoSuchProperty", "1"), ("MemoryMax", "'much'")] {
        let plan = planned(&facts, &format!(":creel-test:{}", name()), json!({}), &[(property, value)]);
        let error: Error = Cgroup::create(&plan).map(drop).expect_err(property);
        let text = error.to_string();
        assert!(text.contains("StartTransientUnit") && text.contains("annotations org.systemd.property"), "{text}");
        assert_eq!(error.kind(), Kind::Invalid, "{text}");
        assert!(plan.location().dirs().values().all(|dir| !dir.exists()));
    }
}

#[test]
fn sub_cgroups_go_with_the_unit_but_no_process_does() {
    let Some(facts) = facts("sub_cgroups_go_with_the_unit", true) else { return };
    let mut container = Container::new(&facts, json!({}));
    container.start(&["sleep", "1000"]);
    let inner = container.start(&["sleep", "1000"]).id();
    for dir in container.cgroup.dirs().values() {
        let deep = dir.join("sub/deep");
        std::fs::create_dir_all(&deep).expect("mkdir");
        for file in ["cpuset.cpus", "cpuset.mems"].into_iter().filter(|file| dir.join("sub").join(file).exists()) {
            let Ok(value) = std::fs::read(dir.join(file)) else { continue };
            let _ = std::fs::write(dir.join("sub").join(file), &value);
            let _ = std::fs::write(deep.join(file), &value);
        }
        std::fs::write(deep.join("cgroup.procs"), inner.to_string()).expect("deep");
    }
    assert_eq!(container.cgroup.stop_unit().expect("stop"), None);
    assert_eq!(container.show("ActiveState"), "active", "stopping it would kill processes");
    assert_eq!(container.cgroup.remove().expect_err("in use").kind(), Kind::WrongState);
    container.end();
}

#[test]
fn limits_can_change_without_disturbing_devices() {
    let Some(facts) = facts("limits_can_change", true) else { return };
    let mut container = Container::new(&facts, limited());
    let reader = "while :; do exec 3</dev/null || exit 1; done";
    container.start(&["sh", "-c", reader]);
    let resources = json!({ "memory": { "limit": 128 << 20 }, "pids": { "limit": 60 } });
    let properties = unit_properties(&serde_json::from_value(resources).expect("resources"), &facts.0, &facts.1)
        .expect("properties");
    for _ in 0..5 {
        container.cgroup.set_unit_properties(&properties).expect("set");
    }
    assert_eq!(container.show("TasksMax"), "60");
    assert_eq!(container.read("pids", "pids.max"), "60");
    let file = if facts.0.is_unified() { "memory.max" } else { "memory.limit_in_bytes" };
    assert_eq!(container.read("memory", file), (128 << 20).to_string());
    assert_eq!(container.processes[0].try_wait().expect("wait"), None, "it could always open the device");
    let error = container.cgroup.set_unit_properties(&[Property::new("TasksMax", "many")]).expect_err("text");
    assert!(error.to_string().contains("SetUnitProperties"), "{error}");
    container.end();
}

#[test]
fn an_update_outlives_a_reload_and_is_taken_back_as_a_whole() {
    let Some(facts) = facts("an_update_outlives_a_reload", true) else { return };
    let resources = |value: Json| serde_json::from_value::<Resources>(value).expect("resources");
    let mut container = Container::new(&facts, limited());
    container.start(&["sleep", "1000"]);
    let v2 = facts.0.is_unified();
    let given = json!({ "memory": { "limit": 96 << 20 }, "pids": { "limit": 60 }, "cpu": { "quota": 70000 } });
    let plan = plan_update(&container.cgroup, &resources(limited()), &resources(given), &facts.0, Some(&facts.1));
    let in_force = plan.as_ref().expect("plan").resources.clone();
    container.cgroup.update(plan.as_ref().expect("plan")).expect("update");
    let read = |container: &Container| {
        let (memory, quota) = match v2 {
            true => ("memory.max", container.read("cpu", "cpu.max")),
            false => ("memory.limit_in_bytes", container.read("cpu", "cpu.cfs_quota_us")),
        };
        [container.read("memory", memory), container.read("pids", "pids.max"), quota, container.show("TasksMax")]
    };
    let after = read(&container);
    assert_eq!(after[..2], [(96 << 20).to_string(), "60".to_owned()]);
    assert!(after[2].starts_with("70000") && after[3] == "60", "{after:?}");
    systemctl(false, &["daemon-reload"]);
    assert_eq!(read(&container), after);

    if v2 {
        let given = json!({ "pids": { "limit": 70 }, "unified": { "memory.nothing": "1", "memory.high": "1000000" } });
        let plan = plan_update(&container.cgroup, &in_force, &resources(given), &facts.0, Some(&facts.1));
        assert_eq!(container.cgroup.update(&plan.expect("plan")).expect_err("no file").kind(), Kind::Unsupported);
        assert_eq!((read(&container), container.show("MemoryHigh").as_str()), (after, "infinity"));
        assert_eq!(container.read("memory", "memory.high"), "max");
    }
    container.end();
}

#[test]
fn the_unit_tells_that_memory_ran_out() {
    let Some(facts) = facts("the_unit_tells_that_memory_ran_out", true) else { return };
    if !facts.0.is_unified() || facts.1.version < 253 {
        return println!("skipped: scopes tell it since systemd 253, on cgroup v2");
    }
    let limits = json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 }, "unified": { "memory.oom.group": "1" } });
    let mut container = Container::new(&facts, limits);
    assert!(!container.can("x=a; while :; do x=$x$x; done"), "it is killed");
    eventually("oom-kill", || container.cgroup.unit_result().expect("result").as_deref() == Some("oom-kill"));
    container.end();
}

#[test]
fn a_slice_can_be_a_containers_unit() {
    let Some(facts) = facts("a_slice", true) else { return };
    let plan = planned(
        &facts,
        &format!("::creeltest{}.slice", name().replace('-', "x")),
        json!({ "pids": { "limit": 9 } }),
        &[],
    );
    let mut container = Container::create(&plan).expect("create");
    container.start(&["sleep", "1000"]);
    assert_eq!((container.show("ActiveState").as_str(), container.read("pids", "pids.max").as_str()), ("active", "9"));
    container.end();
}

#[test]
fn what_was_begun_is_undone() {
    let Some(facts) = facts("what_was_begun_is_undone", true) else { return };
    let mut plan = planned(&facts, &format!(":creel-test:{}", name()), json!({ "pids": { "limit": 9 } }), &[]);
    for write in plan.hierarchies.iter_mut().flat_map(|hierarchy| &mut hierarchy.writes) {
        if write.file == "pids.max" {
            write.file = "pids.nothing".into();
        }
    }
    let error = Cgroup::create(&plan).map(drop).expect_err("no such file");
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    let unit = &plan.unit.as_ref().expect("unit").unit.name;
    assert_eq!(show(unit, "LoadState", false), "not-found");
    assert!(plan.location().dirs().values().all(|dir| !dir.exists()));
}

#[test]
fn a_user_has_a_manager_of_his_own() {
    let Some(facts) = facts("a_user_has_a_manager_of_his_own", false) else { return };
    if !facts.0.is_unified() {
        return println!("skipped: a user's manager needs cgroup v2");
    }
    let resources = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 20 }, "cpu": { "shares": 2048 } });
    let mut plan = planned(&facts, &format!(":creel-test:{}", name()), resources, &[]);
    // Attaching a device program needs rights on the host, whoever has made the cgroup.
    plan.hierarchies[0].device_program = None;
    let mut container = Container::create(&plan).expect("create");
    let held = container.cgroup.pids().expect("pids");
    assert_eq!(held.len(), 1);
    assert_eq!((container.show("MemoryMax").as_str(), container.show("Slice").as_str()), ("67108864", "user.slice"));
    assert_eq!(container.read("memory", "memory.max"), (64 << 20).to_string());
    assert_eq!(container.read("cpu", "cpu.weight"), "174");
    assert_eq!(container.read("pids", "pids.max"), "max", "until the container's first process is in");
    // A login session's processes are not this manager's to move: it asks the system's.
    let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
    let (pid, first, unit) = (child.id(), Pid::from_child(&child), container.unit.clone());
    container.processes.push(child);
    let arguments = [unit.as_str().into(), "/".into(), Value::array("u", [pid])];
    Manager::connect(facts.1.manager).expect("manager").call("AttachProcessesToUnit", &arguments).expect("attach");
    container.membership.take().expect("membership").settle(first).expect("settle");
    assert_eq!(container.cgroup.pids().expect("pids"), [pid as i32]);
    assert_eq!(container.read("pids", "pids.max"), "20");
    systemctl(true, &["daemon-reload"]);
    assert_eq!(
        (container.read("pids", "pids.max").as_str(), container.read("cpu", "cpu.weight").as_str()),
        ("20", "174")
    );
    container.end();
}
