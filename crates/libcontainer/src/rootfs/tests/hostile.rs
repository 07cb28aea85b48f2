//! Images that try to reach the host: whatever they do, the canary beside the root filesystem is untouched, and what
//! they were meant to swallow fails or stays inside.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::{enter, finish, prepare};
use super::{Bundle, mounted, with_bundle};
use crate::error::Kind;
use crate::paths::clean;

/// A tree beside the root filesystem, and what it looked like.
struct Canary(PathBuf);

impl Canary {
    fn new(bundle: &Bundle) -> Canary {
        bundle.directory("canary/dev");
        bundle.directory("canary/dev/pts");
        std::fs::write(bundle.path.join("canary/dev/ptmx"), "a file").expect("write");
        Canary(bundle.path.join("canary"))
    }

    fn listing(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let (mut all, mut todo) = (Vec::new(), vec![self.0.clone()]);
        while let Some(dir) = todo.pop() {
            for path in std::fs::read_dir(dir).expect("list").flatten().map(|entry| entry.path()) {
                if path.symlink_metadata().expect("stat").is_dir() {
                    todo.push(path.clone());
                }
                assert!(mounted(&path).is_none(), "{} is mounted on", path.display());
                all.push((path.clone(), std::fs::read(&path).ok()));
            }
        }
        all.sort();
        all
    }

    /// Prepares a root with this config; the outcome is the test's to judge, the canary is not.
    fn survives(&self, bundle: &Bundle, config: Value) -> crate::Result<()> {
        let before = self.listing();
        assert!(before.len() >= 4);
        let result = bundle.prepare(config).map(drop);
        assert_eq!(self.listing(), before);
        result
    }
}

fn dev_mounts() -> Value {
    json!([
        {"destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        {"destination": "/dev/shm", "type": "tmpfs"}
    ])
}

#[test]
fn dev_as_a_link_makes_nothing_outside() {
    with_bundle("dev-link", |bundle| {
        let canary = Canary::new(bundle);
        let outside = canary.0.join("dev");
        for target in [outside.clone(), Path::new("../canary/dev").to_owned(), Path::new("/proc/self/cwd").to_owned()] {
            symlink(&target, bundle.root("dev")).expect("symlink");
            // It leads nowhere inside, so what it names is made there.
            canary.survives(bundle, json!({})).expect("made inside");
            let inside = bundle.root("").join(clean(&target).strip_prefix("/").expect("absolute"));
            assert!(inside.join("null").symlink_metadata().is_ok(), "{}", inside.display());
            canary.survives(bundle, json!({"mounts": dev_mounts()})).expect("and with mounts");
            std::fs::remove_file(bundle.root("dev")).expect("remove");
        }
        // A link that stays inside is no crime.
        std::fs::create_dir(bundle.root("real")).expect("mkdir");
        symlink("/real", bundle.root("dev")).expect("symlink");
        canary.survives(bundle, json!({})).expect("inside");
        assert!(bundle.root("real/null").symlink_metadata().is_ok());
    });
}

#[test]
fn proc_and_sys_must_be_ordinary_directories() {
    with_bundle("proc-link", |bundle| {
        let canary = Canary::new(bundle);
        std::fs::create_dir(bundle.root("elsewhere")).expect("mkdir");
        for (name, kind) in [("proc", "proc"), ("sys", "sysfs")] {
            for target in [canary.0.to_str().expect("text"), "/elsewhere", "elsewhere", "/none"] {
                symlink(target, bundle.root(name)).expect("symlink");
                let destination = format!("/{name}");
                let config = json!({"mounts": [{"destination": destination, "type": kind}]});
                let error = canary.survives(bundle, config).expect_err("a symlink").to_string();
                let wanted =
                    "a symlink or a file is in its way; it must be mounted on ordinary directory, not through one";
                assert!(error.contains(&format!("mounts[0] ({destination})")), "{error}");
                assert!(error.contains(wanted), "{error}");
                std::fs::remove_file(bundle.root(name)).expect("remove");
            }
        }
        // And so must what leads there.
        symlink("elsewhere", bundle.root("way")).expect("symlink");
        let config = json!({"mounts": [{"destination": "/way/proc", "type": "proc"}]});
        canary.survives(bundle, config).expect_err("through a symlink");
        // The host's procfs, bound, is held to the same.
        symlink("elsewhere", bundle.root("proc")).expect("symlink");
        let config = json!({"mounts": [{"destination": "/proc", "source": "/proc", "options": ["bind"]}]});
        canary.survives(bundle, config).expect_err("a symlink");
    });
}

#[test]
fn mount_targets_do_not_leave_the_root() {
    with_bundle("target-link", |bundle| {
        let canary = Canary::new(bundle);
        bundle.directory("data");
        let links = [("abs", canary.0.clone()), ("dots", PathBuf::from("../../../../../..").join(&canary.0))];
        for (name, target) in links {
            symlink(target, bundle.root(name)).expect("symlink");
            for below in ["", "/dev", "/new/dir"] {
                let destination = format!("/{name}{below}");
                let bind = json!([{"destination": destination, "source": "data", "options": ["bind"]}]);
                canary.survives(bundle, json!({"mounts": bind})).expect("made inside");
                let tmpfs = json!([{"destination": destination, "type": "tmpfs"}]);
                canary.survives(bundle, json!({"mounts": tmpfs})).expect("there is one by now");
                assert!(bundle.root("").join(canary.0.strip_prefix("/").expect("absolute")).is_dir());
            }
        }
        symlink("/proc/self/root", bundle.root("magic")).expect("symlink");
        let mounts = json!([
            {"destination": "/proc", "type": "proc"},
            {"destination": "/magic/x", "source": "data", "options": ["bind"]}
        ]);
        canary.survives(bundle, json!({"mounts": mounts})).expect_err("a magic link");
    });
}

#[test]
fn a_link_does_not_turn_a_mount_into_one_below_proc_or_on_the_root() {
    with_bundle("into-proc", |bundle| {
        bundle.directory("data");
        symlink("/proc/sys", bundle.root("a")).expect("symlink");
        symlink("/", bundle.root("b")).expect("symlink");
        let proc = json!({"destination": "/proc", "type": "proc"});
        let bind = |to: &str| json!({"destination": to, "source": "data", "options": ["bind"]});
        let error = bundle.mount(json!([proc, bind("/a")])).expect_err("in /proc");
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("lead /a to procfs, where nothing may be mounted"), "{error}");
        let error = bundle.mount(json!([bind("/b")])).expect_err("the root");
        assert!(error.to_string().contains("lead /b to the root itself"), "{error}");
        // What lxcfs does is allowed.
        bundle.file("cpus", "few");
        let lxcfs = json!({"destination": "/proc/cpuinfo", "source": "cpus", "options": ["bind"]});
        let net = json!({"destination": "/proc/net/dev", "source": "cpus", "options": ["bind"]});
        bundle.mount(json!([proc, lxcfs, net])).expect("allowed");
        assert_eq!(std::fs::read_to_string(bundle.root("proc/cpuinfo")).expect("read"), "few");
    });
}

#[test]
fn a_device_that_is_something_else_is_told() {
    with_bundle("dev-file", |bundle| {
        std::fs::create_dir(bundle.root("dev")).expect("mkdir");
        symlink("/proc/version", bundle.root("dev/null")).expect("symlink");
        let error = bundle.prepare(json!({})).expect_err("not the null device");
        assert_eq!(
            error.to_string(),
            "making devices: device /dev/null: something else is there already (remove it from the image, or mount a \
             tmpfs on /dev)"
        );
        std::fs::remove_file(bundle.root("dev/null")).expect("remove");
        bundle.prepare(json!({})).expect("nodes are made");
        bundle.prepare(json!({})).expect("and accepted the second time");
    });
}

#[test]
fn a_null_device_that_is_none_does_not_become_a_mask() {
    with_bundle("mask-null", |bundle| {
        std::fs::write(bundle.root("secret"), "secret").expect("write");
        let config = json!({
            "mounts": [{"destination": "/proc", "type": "proc"}, {"destination": "/dev", "type": "tmpfs"}],
            "linux": {"maskedPaths": ["/none", "/secret"]}
        });
        let plan = bundle.plan(config).expect("a plan");
        enter(prepare(&plan).expect("prepare"), &plan).expect("enter");
        std::fs::remove_file("/dev/null").expect("a hook may do that");
        symlink("/proc/version", "/dev/null").expect("symlink");
        let error = finish(&plan).expect_err("not the null device");
        assert_eq!(
            error.to_string(),
            "masking paths: linux.maskedPaths: /dev/null in the container is not the null device (1:3)"
        );
        assert!(mounted("/secret").is_none());
    });
}

#[test]
fn masks_do_not_follow_magic_links() {
    with_bundle("mask-magic", |bundle| {
        symlink("/proc/self/root/etc", bundle.root("way")).expect("symlink");
        let config = json!({
            "mounts": [{"destination": "/proc", "type": "proc"}, {"destination": "/dev", "type": "tmpfs"}],
            "linux": {"maskedPaths": ["/way"]}
        });
        let plan = bundle.plan(config).expect("a plan");
        enter(prepare(&plan).expect("prepare"), &plan).expect("enter");
        // Not a path that does not exist, so not one that may be left unmasked.
        let error = finish(&plan).expect_err("a magic link");
        assert!(error.to_string().starts_with("masking paths: /way: openat2: "), "{error}");
    });
}
