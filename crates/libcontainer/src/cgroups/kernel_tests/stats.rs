//! What is counted, and lack of memory.

use rustix::event::{PollFd, Timespec, poll};
use serde_json::json;

use super::{Container, eventually, layouts};
use crate::cgroups::{OomWatch, stats};
use crate::error::Kind;
use crate::host::CgroupFacts;
use crate::testing::is_root;

const LIMIT: u64 = 8 << 20;

/// Takes more memory than there may be.
const GREEDY: [&str; 3] = ["sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=64M count=1"];

fn has(facts: &CgroupFacts, controller: &str) -> bool {
    facts.v1.iter().chain(&facts.v2).any(|one| one.controllers.iter().any(|name| name == controller))
}

/// Layouts in which memory can be limited, without swap where there is any.
fn with_memory() -> Vec<CgroupFacts> {
    layouts().into_iter().filter(|facts| has(facts, "memory")).collect()
}

fn limited(facts: &CgroupFacts) -> Container {
    let counts_swap = std::path::Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
    let swap = if counts_swap || facts.v1.is_empty() { json!(LIMIT) } else { json!(null) };
    Container::new(facts, json!({ "memory": { "limit": LIMIT, "swap": swap } }))
}

/// Whether it becomes ready within this time.
fn is_ready(watch: &OomWatch, seconds: i64) -> bool {
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut fds = [PollFd::new(watch, watch.interest())];
    poll(&mut fds, Some(&timeout)).expect("poll") == 1
}

#[test]
fn what_is_used_is_counted() {
    if !is_root("cgroups: stats") {
        return;
    }
    for facts in layouts() {
        let container = Container::new(&facts, json!({}));
        let mut busy = container.start(&["sh", "-c", "while :; do :; done"]);
        eventually("it computes", || {
            let usage = container.cgroup.stats().expect("stats").cpu.usage;
            usage.total.is_some_and(|time| time > 0) && usage.user.is_some_and(|time| time > 0)
        });
        let used = container.cgroup.stats().expect("stats");
        assert_eq!(used.cpu.usage.per_cpu.is_empty(), facts.v1.is_empty());
        assert_eq!(used.pids.current, Some(1), "counted by the controller, or without it");
        if has(&facts, "pids") {
            assert_eq!(used.pids.limit, Some(stats::UNLIMITED));
        }
        if has(&facts, "cpuset") {
            assert!(!used.cpuset.cpus.is_empty() && !used.cpuset.mems.is_empty());
        }
        if has(&facts, "memory") {
            assert!(used.memory.usage.usage.is_some_and(|bytes| bytes > 0));
            assert!(used.memory.cache.is_some() && used.memory.stat.len() > 10);
            assert_eq!(used.memory.oom_control.is_some(), used.memory.events.is_none());
        }
        let psi = std::path::Path::new("/proc/pressure/cpu").exists() && facts.v2.is_some();
        assert_eq!(used.cpu.pressure.is_some(), psi);

        container.cgroup.kill_all(libc::SIGKILL).expect("kill");
        busy.end();
        let after = container.cgroup.stats().expect("of one that has ended");
        assert_eq!(after.pids.current, Some(0));
        assert!(after.cpu.usage.total >= used.cpu.usage.total);
        container.cgroup.remove().expect("remove");
        assert_eq!(container.cgroup.stats().expect_err("gone").kind(), Kind::NotFound);
    }
}

#[test]
fn throttling_and_refused_processes_are_counted() {
    if !is_root("cgroups: stats of limits") {
        return;
    }
    for facts in layouts().iter().filter(|facts| has(facts, "cpu") && has(facts, "pids")) {
        let resources = json!({ "cpu": { "quota": 2000, "period": 10000 }, "pids": { "limit": 2 } });
        let container = Container::new(facts, resources);
        let _busy = container.start(&["sh", "-c", "(:; while :; do :; done) & while :; do (:) & done"]);
        eventually("both limits are met", || {
            let stats = container.cgroup.stats().expect("stats");
            stats.cpu.throttling.throttled_time.is_some_and(|time| time > 0)
                && stats.cpu.throttling.throttled_periods.is_some_and(|count| count > 0)
                && stats.pids.max_events.is_some_and(|count| count > 0)
        });
        assert_eq!(container.cgroup.stats().expect("stats").pids.limit, Some(2));
    }
}

#[test]
fn lack_of_memory_is_told_at_once_and_afterwards() {
    if !is_root("cgroups: OOM") {
        return;
    }
    for facts in with_memory() {
        let container = limited(&facts);
        assert_eq!(container.cgroup.out_of_memory().expect("none"), None);
        let mut watch = container.cgroup.watch_oom().expect("watch").expect("there is a memory cgroup");
        assert_eq!(watch.read().expect("read"), Default::default());
        assert!(!is_ready(&watch, 0), "nothing has happened");

        // All is over before it is looked at for the first time.
        assert_eq!(container.start(&GREEDY).end(), -libc::SIGKILL);
        assert!(is_ready(&watch, 10));
        let seen = watch.read().expect("read");
        assert!(seen.oom && !seen.gone);
        assert!(!is_ready(&watch, 0) && !watch.read().expect("read").oom, "told once");

        let oom = container.cgroup.out_of_memory().expect("count").expect("killed");
        assert_eq!((oom.kills, oom.limit, oom.at_limit), (1, Some(LIMIT), Some(true)));
        assert!(oom.peak.is_none_or(|peak| (LIMIT / 2..=LIMIT).contains(&peak)), "{oom:?}");

        assert_eq!(container.start(&GREEDY).end(), -libc::SIGKILL);
        assert!(is_ready(&watch, 10) && watch.read().expect("read").oom, "and again");
        assert_eq!(container.cgroup.out_of_memory().expect("count").map(|oom| oom.kills), Some(2));
        let late = container.cgroup.watch_oom().expect("watch").expect("there").read().expect("read");
        assert!(!late.oom, "what happened before is not told");
    }
}

#[test]
fn removal_is_not_taken_for_lack_of_memory() {
    if !is_root("cgroups: OOM watch of removed cgroups") {
        return;
    }
    for facts in with_memory() {
        for greedy in [false, true] {
            let container = limited(&facts);
            let mut watch = container.cgroup.watch_oom().expect("watch").expect("there is a memory cgroup");
            if greedy {
                assert_eq!(container.start(&GREEDY).end(), -libc::SIGKILL);
            }
            container.cgroup.remove().expect("remove");
            eventually("the removal is noticed", || {
                let seen = watch.read().expect("read");
                // v2 takes its count along; v1's eventfd has it.
                assert_eq!(seen.oom, seen.gone && greedy && !facts.v1.is_empty());
                seen.gone
            });
            assert!(container.cgroup.watch_oom().expect("gone").is_none());
            assert_eq!(container.cgroup.out_of_memory().expect("gone"), None);
        }
    }
}

#[test]
fn lack_of_memory_in_a_sub_cgroup_counts() {
    if !is_root("cgroups: OOM below") {
        return;
    }
    for facts in with_memory() {
        let container = Container::new(&facts, json!({ "memory": { "limit": 64 << 20 } }));
        let mut watch = container.cgroup.watch_oom().expect("watch").expect("there is a memory cgroup");
        let v1 = !facts.v1.is_empty();
        let sub = container.cgroup.dir_of("memory").expect("memory").join("sub");
        if !v1 {
            std::fs::write(sub.with_file_name("cgroup.subtree_control"), "+memory").expect("subtree_control");
        }
        std::fs::create_dir(&sub).expect("mkdir");
        std::fs::write(sub.join(if v1 { "memory.limit_in_bytes" } else { "memory.max" }), LIMIT.to_string())
            .expect("max");
        let script =
            format!("echo $$ > {}/cgroup.procs; exec dd if=/dev/zero of=/dev/null bs=32M count=1", sub.display());
        let mut greedy = std::process::Command::new("sh").args(["-c", &script]).spawn().expect("sh");
        assert!(!greedy.wait().expect("wait").success());
        eventually("it is seen", || watch.read().expect("read").oom);
        assert_eq!(container.cgroup.out_of_memory().expect("count").map(|oom| oom.kills), Some(1));
    }
}
