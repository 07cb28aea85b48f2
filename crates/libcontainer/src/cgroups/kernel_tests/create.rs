//! Making cgroups and getting in.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Container, Running, layouts};
use crate::cgroups::{Cgroup, CgroupPlan, CgroupWrite};
use crate::error::Kind;
use crate::host::CgroupFacts;
use crate::sys::bpf;
use crate::testing::{eventually, is_root};

#[test]
fn limits_are_in_force_and_a_thread_joins_by_itself() {
    let facts = CgroupFacts::gather().expect("facts");
    if !is_root("cgroups: limits") || facts.v1.is_empty() {
        return println!("skipped: no cgroup v1 here");
    }
    let resources = json!({
        "memory": { "limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20 },
        "cpu": { "shares": 512, "quota": 20000, "period": 50000, "cpus": "0" },
        "pids": { "limit": 20 }, "devices": [{ "allow": true, "type": "c", "major": 5, "minor": 1, "access": "rw" }]
    });
    let container = Container::new(&facts, resources);
    assert_eq!(container.read("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(container.read("memory", "memory.memsw.limit_in_bytes"), (128 << 20).to_string());
    assert_eq!(container.read("memory", "memory.soft_limit_in_bytes"), (32 << 20).to_string());
    assert_eq!(container.read("cpu", "cpu.shares"), "512");
    assert_eq!(container.read("cpu", "cpu.cfs_quota_us"), "20000");
    assert_eq!(container.read("cpu", "cpu.cfs_period_us"), "50000");
    assert_eq!(container.read("cpuset", "cpuset.cpus"), "0");
    assert_eq!(container.read("pids", "pids.max"), "20");
    let devices = container.read("devices", "devices.list");
    let expected = "b *:* m\nc *:* m\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:1 rw\n\
        c 5:2 rwm\nc 10:200 rwm\nc 136:* rwm";
    assert_eq!(sorted(&devices), sorted(expected));

    // The thread alone goes in, and what it starts is born there.
    let (own, born) = std::thread::scope(|scope| {
        let joined = scope.spawn(|| {
            container.membership.join_self_v1().expect("join");
            let own = std::fs::read_to_string("/proc/thread-self/cgroup").expect("cgroup");
            (own, Running(Command::new("sleep").arg("1000").spawn().expect("sleep")))
        });
        joined.join().expect("thread")
    });
    let name = container.path.as_str();
    for text in [own, std::fs::read_to_string(format!("/proc/{}/cgroup", born.pid())).expect("cgroup")] {
        for hierarchy in &facts.v1 {
            let controllers = format!(":{}:", hierarchy.controllers.join(","));
            assert!(
                text.lines().any(|line| line.contains(&controllers) && line.ends_with(name)),
                "{controllers} {text}"
            );
        }
    }
    let outside = std::fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    assert!(!outside.lines().any(|line| line.ends_with(name)), "{outside}");
    // A thread that was joined is not quite gone.
    eventually("only what was born there is left", || container.cgroup.pids().expect("pids") == [born.pid()]);
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_process_is_born_in_the_v2_cgroup_and_joins_v1_by_itself() {
    use crate::sys::clone::{CloneArgs, Cloned, SingleThreaded, clone3, exit_now};
    if !is_root("cgroups: clone3") {
        return;
    }
    for facts in layouts() {
        let container = Container::new(&facts, json!({}));
        let membership = &container.membership;
        assert_eq!(membership.v2().is_some(), facts.v2.is_some());
        let args = CloneArgs { cgroup: membership.v2(), ..CloneArgs::default() };
        match clone3(&SingleThreaded::pretend(), args).expect("clone3") {
            Cloned::Child(_) => {
                let code = i32::from(membership.join_self_v1().is_err());
                if code == 0 {
                    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
                }
                exit_now(code)
            }
            Cloned::Parent(pid, pidfd) => {
                let options = rustix::process::WaitIdOptions::STOPPED | rustix::process::WaitIdOptions::EXITED;
                let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
                let status = rustix::process::waitid(id, options).expect("waitid").expect("status");
                assert!(status.stopped(), "joining failed");
                let text = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).expect("cgroup");
                for key in container.cgroup.dirs().keys() {
                    let there = |line: &str| line.contains(&format!(":{key}:")) && line.ends_with(&container.path);
                    assert!(text.lines().any(there), "{key:?} {text}");
                }
                container.cgroup.kill_all(libc::SIGKILL).expect("kill");
                let id = rustix::process::WaitId::PidFd(pidfd.as_fd());
                let status = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).expect("waitid");
                assert_eq!(status.expect("status").terminating_signal(), Some(libc::SIGKILL));
            }
        }
    }
}

#[test]
fn parents_are_made_and_what_was_made_goes_when_it_fails() {
    if !is_root("cgroups: parents") {
        return;
    }
    for facts in layouts() {
        let top = Container::unique();
        let plan = Container::plan(&facts, &format!("{top}/a/b"), json!({}));
        let (cgroup, _) = Cgroup::create(&plan).expect("create");
        if let Some(cpuset) = cgroup.dirs().get("cpuset") {
            let cpus = |dir: &Path| std::fs::read_to_string(dir.join("cpuset.cpus")).expect("cpus");
            let all = cpus(cpuset.ancestors().nth(3).expect("root"));
            assert!(cpuset.ancestors().take(3).all(|dir| cpus(dir) == all));
        }
        cgroup.remove().expect("remove");
        let tops: Vec<PathBuf> = plan.hierarchies.iter().map(|one| one.mountpoint.join(&top[1..])).collect();
        assert!(tops.iter().all(|top| top.exists()), "parents are not ours to remove: {tops:?}");
        for dir in &tops {
            std::fs::remove_dir(dir.join("a")).expect("rmdir a");
            std::fs::remove_dir(dir).expect("rmdir top");
        }

        let mut broken = plan.clone();
        let last = broken.hierarchies.iter_mut().rfind(|hierarchy| !hierarchy.optional).expect("one");
        last.writes = vec![CgroupWrite::new("cgroup.procs", "no pid", "linux.resources.test")];
        let error = Cgroup::create(&broken).expect_err("no pid").to_string();
        assert!(error.starts_with("setting up cgroups: linux.resources.test: \"no pid\" to /"), "{error}");
        assert!(tops.iter().all(|top| !top.exists()), "left behind in {tops:?}");

        last_write(&mut broken, CgroupWrite::new("cgroup.nothing", 1, "linux.resources.test"));
        assert_eq!(Cgroup::create(&broken).expect_err("no file").kind(), Kind::Unsupported);
        last_write(&mut broken, CgroupWrite::new("cgroup.nothing", 1, "x").ignored_if_missing());
        Cgroup::create(&broken).expect("ignored").0.remove().expect("remove");
        last_write(&mut broken, CgroupWrite::new("cgroup.nothing", 1, "x").or("notify_on_release", 1));
        if !facts.v1.is_empty() {
            let (cgroup, _) = Cgroup::create(&broken).expect("the other file");
            let last = broken.hierarchies.iter().rfind(|hierarchy| !hierarchy.optional).expect("one");
            assert_eq!(std::fs::read_to_string(last.dir().join("notify_on_release")).expect("read"), "1\n");
            cgroup.remove().expect("remove");
        }
        for dir in &tops {
            let _ = std::fs::remove_dir(dir.join("a"));
            let _ = std::fs::remove_dir(dir);
        }
    }
}

fn last_write(plan: &mut CgroupPlan, write: CgroupWrite) {
    let last = plan.hierarchies.iter_mut().rfind(|hierarchy| !hierarchy.optional).expect("one");
    last.writes = vec![write];
}

#[test]
fn a_limit_that_has_to_wait_for_another_is_tried_again() {
    let facts = CgroupFacts::gather().expect("facts");
    if !is_root("cgroups: order") || facts.v1.is_empty() {
        return println!("skipped: no cgroup v1 here");
    }
    let limits = |limit: u64| json!({ "memory": { "limit": limit << 20, "swap": limit << 20 } });
    let container = Container::new(&facts, limits(16));
    // Up and down again in the same directory, which is empty, so that it is taken: whichever goes first is refused once.
    for limit in [256u64, 8, 64] {
        let plan = Container::plan(&facts, &container.path, limits(limit));
        Cgroup::create(&plan).expect("again");
        assert_eq!(container.read("memory", "memory.limit_in_bytes"), (limit << 20).to_string());
        assert_eq!(container.read("memory", "memory.memsw.limit_in_bytes"), (limit << 20).to_string());
    }
    let plan = Container::plan(&facts, &container.path, json!({ "memory": { "limit": 512 << 20 } }));
    let error = Cgroup::create(&plan).expect_err("above memory and swap").to_string();
    assert!(error.contains("linux.resources.memory.limit: \"536870912\" to "), "{error}");
    assert_eq!(container.exists().len(), container.cgroup.dirs().len(), "what was there before stays");
}

#[test]
fn a_cgroup_in_use_or_frozen_is_refused_and_an_empty_one_is_taken() {
    if !is_root("cgroups: in use") {
        return;
    }
    for facts in layouts() {
        let container = Container::new(&facts, json!({}));
        let mut sleep = container.start(&["sleep", "1000"]);
        let error = Cgroup::create(&container.plan).expect_err("in use");
        assert_eq!(error.kind(), Kind::WrongState);
        assert!(error.to_string().contains(&format!("process {} is in it", sleep.pid())), "{error}");
        assert_eq!(container.cgroup.pids().expect("pids"), [sleep.pid()]);
        container.cgroup.kill_all(libc::SIGKILL).expect("kill");
        assert_eq!(sleep.end(), -libc::SIGKILL);

        container.cgroup.freeze().expect("freeze");
        let error = Cgroup::create(&container.plan).expect_err("frozen");
        assert!(
            error.kind() == Kind::WrongState && error.to_string().contains("container's cgroup unexpectedly frozen"),
            "{error}"
        );
        container.cgroup.thaw().expect("thaw");
        Cgroup::create(&container.plan).expect("left over");
    }
}

#[test]
fn devices_are_open_to_those_who_may() {
    if !is_root("cgroups: devices") {
        return;
    }
    for facts in layouts() {
        let can = |resources: Value, command: &str| {
            let container = Container::new(&facts, resources);
            container.start(&["sh", "-c", command]).end() == 0
        };
        let rule = |allow: bool, access: &str| json!({ "allow": allow, "type": "c", "major": 1, "minor": 11, "access": access });
        let all = json!({ "allow": true, "access": "rwm" });
        let open = "exec 3</dev/kmsg";
        assert!(can(json!({}), "exec 3</dev/null 4>/dev/zero 5</dev/urandom"));
        assert!(!can(json!({}), open), "denied by default");
        assert!(can(json!({ "devices": [rule(true, "r")] }), open));
        assert!(!can(json!({ "devices": [rule(true, "r")] }), "exec 3<>/dev/kmsg"));
        assert!(!can(json!({ "devices": [rule(true, "rw"), rule(false, "r")] }), open));
        assert!(can(json!({ "devices": [all] }), open));
        assert!(!can(json!({ "devices": [all, rule(false, "rw")] }), open));
        let node = format!("/tmp/creel-test-{}-node", std::process::id());
        assert!(can(json!({}), &format!("mknod {node} c 1 11; rm {node}")), "nodes may be made");
    }
}

#[test]
fn a_v2_cgroup_is_handed_over_with_what_the_kernel_lists_and_no_more() {
    use std::os::unix::fs::MetadataExt;
    let facts = layouts().into_iter().find(CgroupFacts::is_unified);
    let Some(facts) = facts.filter(|_| is_root("cgroups: owner")) else {
        return println!("skipped: no cgroup v2 here");
    };
    let plan = Container::plan(&facts, &Container::unique(), json!({})).delegated_to(Some(1234));
    let (cgroup, _) = Cgroup::create(&plan).expect("create");
    let dir = cgroup.dirs()[""].clone();
    let owner = |name: &str| std::fs::metadata(dir.join(name)).expect(name).uid();
    let owners = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "cgroup.freeze"].map(owner);
    cgroup.remove().expect("remove");
    assert_eq!(owners, [1234, 1234, 1234, 1234, 0]);
}

#[test]
fn a_left_over_device_program_is_replaced() {
    let facts = layouts().into_iter().find(CgroupFacts::is_unified);
    let Some(facts) = facts.filter(|_| is_root("cgroups: BPF")) else { return println!("skipped: no cgroup v2 here") };
    let container = Container::new(&facts, json!({}));
    let attached = || bpf::device_programs(container.membership.v2().expect("v2")).expect("query");
    let first = attached();
    assert_eq!(first.len(), 1);
    Cgroup::create(&container.plan).expect("again");
    assert_eq!(attached().len(), 1);
    assert_ne!(attached(), first);

    // A program that the verifier refuses comes with the verifier's words.
    let mut broken = container.plan.clone();
    broken.hierarchies[0].device_program.as_mut().expect("program").truncate(3);
    let error = Cgroup::create(&broken).expect_err("no end").to_string();
    assert!(error.contains("bpf(BPF_PROG_LOAD)") && error.contains("invalid argument: "), "{error}");
}

#[test]
fn controllers_are_passed_on_down_to_the_v2_cgroup() {
    let facts = CgroupFacts::gather().expect("facts");
    let v2 = facts.v2.clone().filter(|v2| v2.controllers.iter().any(|one| one == "hugetlb"));
    let Some(v2) = v2.filter(|_| is_root("cgroups: controllers")) else { return println!("skipped: no hugetlb on v2") };
    let control = v2.mountpoint.join("cgroup.subtree_control");
    let before = std::fs::read_to_string(&control).expect("subtree_control");

    let top = Container::unique();
    let resources = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }] });
    let plan = Container::plan(&facts, &format!("{top}/a/b"), resources);
    let created = Cgroup::create(&plan);
    let limit = std::fs::read_to_string(v2.mountpoint.join(format!("{}/a/b/hugetlb.2MB.max", &top[1..])));
    if let Ok((cgroup, _)) = &created {
        cgroup.remove().expect("remove");
    }
    for hierarchy in &plan.hierarchies {
        let _ = std::fs::remove_dir(hierarchy.mountpoint.join(format!("{}/a", &top[1..])));
        let _ = std::fs::remove_dir(hierarchy.mountpoint.join(&top[1..]));
    }
    if !before.contains("hugetlb") {
        let _ = std::fs::write(&control, "-hugetlb");
    }
    created.expect("create");
    assert_eq!(limit.expect("hugetlb.2MB.max").trim(), (4 << 20).to_string());
}
