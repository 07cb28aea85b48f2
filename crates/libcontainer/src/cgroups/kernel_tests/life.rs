//! What is done to all processes, and the end.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::{Container, Running, layouts};
use crate::cgroups::dir;
use crate::error::Kind;
use crate::testing::eventually;
use crate::testing::is_root;

#[test]
fn frozen_processes_stop_go_on_and_die() {
    if !is_root("cgroups: freezer") {
        return;
    }
    for facts in layouts() {
        let container = Container::new(&facts, json!({}));
        let cgroup = &container.cgroup;
        assert!(!cgroup.is_frozen().expect("state"));
        let mut busy = container.start(&["sh", "-c", "while :; do :; done"]);
        let used = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", busy.pid())).expect("stat");
            stat.rsplit(')').next().expect("fields").split(' ').nth(12).expect("utime").parse::<u64>().expect("number")
        };
        eventually("it computes", || used() > 0);
        cgroup.freeze().expect("freeze");
        assert!(cgroup.is_frozen().expect("state"));
        let before = used();
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(used(), before, "it computes though it is frozen");
        cgroup.freeze().expect("freezing twice is nothing");
        cgroup.thaw().expect("thaw");
        assert!(!cgroup.is_frozen().expect("state"));
        eventually("it goes on", || used() > before);

        cgroup.freeze().expect("freeze");
        cgroup.kill_all(libc::SIGUSR1).expect("kill");
        assert!(cgroup.is_frozen().expect("state"), "a signal must not resume a paused container");
        cgroup.thaw().expect("thaw");
        assert_eq!(busy.end(), -libc::SIGUSR1);

        let mut sleep = container.start(&["sleep", "1000"]);
        cgroup.freeze().expect("freeze");
        cgroup.kill_all(libc::SIGKILL).expect("kill");
        assert_eq!(sleep.end(), -libc::SIGKILL);
        cgroup.remove().expect("remove");
        assert!(!cgroup.is_frozen().expect("gone is not frozen"));
        assert_eq!(cgroup.freeze().expect_err("gone").kind(), Kind::NotFound);
    }
}

#[test]
fn all_processes_are_found_and_signalled_in_sub_cgroups_too() {
    if !is_root("cgroups: kill") {
        return;
    }
    for facts in layouts() {
        let container = Container::new(&facts, json!({}));
        for dir in container.cgroup.dirs().values() {
            std::fs::create_dir_all(dir.join("sub/deep")).expect("mkdir");
            // v1 wants them to be set; on v2 the sub-cgroup does not have the controller.
            for file in ["cpuset.cpus", "cpuset.mems"].into_iter().filter(|file| dir.join("sub").join(file).exists()) {
                if let Ok(value) = std::fs::read(dir.join(file)) {
                    std::fs::write(dir.join("sub").join(file), &value).expect("sub");
                    std::fs::write(dir.join("sub/deep").join(file), &value).expect("deep");
                }
            }
        }
        let places = |place: &str| vec![(String::new(), place.to_owned())];
        let all = match facts.v1.is_empty() {
            true => places("sub/../sub/deep"),
            false => facts
                .v1
                .iter()
                .map(|one| (one.controllers[0].clone(), "/sub/deep".to_owned()))
                .chain(places("sub/deep"))
                .collect(),
        };
        let inner = container.cgroup.sub(&all).expect("sub");
        assert!(inner.dirs().values().all(|dir| dir.ends_with("sub/deep")), "{inner:?}");
        assert_eq!(container.cgroup.sub(&places("sub/none")).expect_err("none").kind(), Kind::NotFound);
        assert_eq!(container.cgroup.sub(&places("../x")).expect_err("out").kind(), Kind::Invalid);
        assert_eq!(container.cgroup.sub(&[("nothing".into(), "sub".into())]).expect_err("none").kind(), Kind::Invalid);

        let mut above = container.start(&["sleep", "1000"]);
        let mut below = container.start(&["sleep", "1000"]);
        for dir in inner.dirs().values() {
            std::fs::write(dir.join("cgroup.procs"), below.pid().to_string()).expect("cgroup.procs");
        }
        let mut expected = vec![above.pid(), below.pid()];
        expected.sort_unstable();
        assert_eq!(container.cgroup.pids().expect("pids"), expected);
        assert_eq!(inner.pids().expect("pids"), [below.pid()]);
        inner.membership().expect("membership of what exists");
        let moved = container.cgroup.of_member(below.pid(), &facts).expect("of_member");
        assert_eq!(moved, if facts.v1.is_empty() { inner.clone() } else { container.cgroup.clone() });

        let error = container.cgroup.remove().expect_err("in use");
        assert_eq!(error.kind(), Kind::WrongState);
        let named = expected.iter().any(|pid| error.to_string().contains(&format!("process {pid} is still in it")));
        assert!(named, "{error}");
        assert_eq!(above.0.try_wait().expect("wait"), None, "removing kills nobody");

        container.cgroup.kill_all(libc::SIGTERM).expect("kill");
        assert_eq!((above.end(), below.end()), (-libc::SIGTERM, -libc::SIGTERM));
        container.cgroup.remove().expect("remove");
        assert_eq!(container.exists(), Vec::<&PathBuf>::new());
        container.cgroup.remove().expect("remove twice");
        assert_eq!(container.cgroup.pids().expect("pids"), Vec::<i32>::new());
        container.cgroup.kill_all(libc::SIGKILL).expect("nobody");
        assert_eq!(container.cgroup.membership().expect_err("gone").kind(), Kind::NotFound);
    }
}

#[test]
fn what_forks_without_end_is_killed() {
    if !is_root("cgroups: forks") {
        return;
    }
    for facts in layouts() {
        let limited =
            !facts.v1.is_empty() || facts.v2.as_ref().is_some_and(|v2| v2.controllers.contains(&"pids".into()));
        let resources = if limited { json!({ "pids": { "limit": 30 } }) } else { json!({}) };
        let container = Container::new(&facts, resources);
        // Each generation starts the next and ends, so that every list of pids is out of date when it is read.
        let script = "f() { (f) & }; i=0; while [ $i -lt 8 ]; do (while :; do (sleep 0.001) & wait; done) & i=$((i+1)); done; wait";
        let _forks = container.start(&["sh", "-c", script]);
        eventually("it forks", || container.cgroup.pids().expect("pids").len() > 8);
        container.cgroup.kill_all(libc::SIGKILL).expect("kill");
        assert_eq!(container.cgroup.pids().expect("pids"), Vec::<i32>::new());
        container.cgroup.remove().expect("remove");
    }
}

#[test]
fn deep_nests_are_walked_and_removed() {
    if !is_root("cgroups: deep") {
        return;
    }
    for facts in layouts() {
        let container = Container::new(&facts, json!({}));
        let main = container.cgroup.main().expect("main").to_owned();
        let mut deep = dir::open(&main).expect("open");
        for _ in 0..300 {
            rustix::fs::mkdirat(&deep, "d", rustix::fs::Mode::from_raw_mode(0o755)).expect("mkdir");
            deep = dir::open_below(deep.as_fd(), "d").expect("open");
        }
        let sleep = Running(Command::new("sleep").arg("1000").spawn().expect("sleep"));
        dir::write(deep.as_fd(), "cgroup.procs", &sleep.pid().to_string()).expect("join");
        assert_eq!(container.cgroup.pids().expect("pids"), [sleep.pid()]);
        container.cgroup.kill_all(libc::SIGKILL).expect("kill");
        container.cgroup.remove().expect("remove");
        assert!(!main.exists());
    }
}
