//! Mounts of another user namespace, whose attributes are locked. A thread cannot enter a user namespace, so the second
//! half of the test is this same executable, run again by unshare(1).

use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, mount};
use serde_json::json;

use super::super::{HostTree, MapNamespaces, Sources, prepare, prepare_with};
use super::{Bundle, at, with_bundle};
use crate::error::Kind;

const BUNDLE: &str = "CREEL_TEST_BUNDLE";
const TREE: &str = "CREEL_TEST_TREE";

#[test]
fn attributes_that_are_locked_stay() {
    with_bundle("locked", |bundle| {
        let dir = bundle.directory("dir");
        let nosymfollow = MountFlags::from_bits_retain(libc::MS_NOSYMFOLLOW as u32);
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME | nosymfollow;
        mount("t", &dir, "tmpfs", flags, None).expect("tmpfs");
        bundle.directory("dev");
        run_in_a_user_namespace("in_a_user_namespace", bundle, -1);
    });
}

fn run_in_a_user_namespace(test: &str, bundle: &Bundle, tree: i32) {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--propagation", "unchanged", "--"])
        .arg(std::env::current_exe().expect("the test's executable"))
        .args(["--exact", &format!("rootfs::tests::locked::{test}"), "--ignored", "--nocapture"])
        .env(BUNDLE, &bundle.path)
        .env(TREE, tree.to_string())
        .output()
        .expect("unshare(1)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn a_closed_source_comes_from_outside() {
    with_bundle("closed", |bundle| {
        bundle.directory("dev");
        let source = bundle.directory("closed/dir");
        mount("t", &source, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
        // Somebody else's, whom the user namespace does not map.
        chown(bundle.path.join("closed"), Some(1234), Some(1234)).expect("chown");
        std::fs::set_permissions(bundle.path.join("closed"), PermissionsExt::from_mode(0o700)).expect("chmod");
        let tree = HostTree { path: source.clone(), recursive: true, nofollow: false, idmap: None };
        let tree = tree.open(&MapNamespaces::default()).expect("open");
        rustix::io::fcntl_setfd(&tree, rustix::io::FdFlags::empty()).expect("let the child have it");
        run_in_a_user_namespace("with_a_closed_source", bundle, tree.as_raw_fd());
        let missing = HostTree { path: source.join("none"), recursive: false, nofollow: false, idmap: None };
        assert_eq!(missing.open(&MapNamespaces::default()).expect_err("missing").kind(), Kind::NotFound);
    });
}

#[test]
#[ignore = "the test before this one runs it"]
fn with_a_closed_source() {
    let bundle = Bundle { path: PathBuf::from(std::env::var_os(BUNDLE).expect("run by the other test")) };
    let number: i32 = std::env::var(TREE).expect("run by the other test").parse().expect("a number");
    let config = json!({"mounts": [
        {"destination": "/dev", "source": "dev", "options": ["bind"]},
        {"destination": "/x", "source": "closed/dir", "options": ["rbind", "ro"]}
    ]});
    let plan = bundle.plan(config).expect("a plan");
    let error = prepare(&plan).expect_err("closed");
    assert!(error.to_string().contains("mounts[1].source: ") && error.to_string().contains("permission denied"));
    let path = format!("/proc/self/fd/{number}");
    let handed_in = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("the tree");
    let handed_in = std::cell::Cell::new(Some(handed_in));
    let outside = |tree: &HostTree| {
        assert_eq!((tree.path.as_path(), tree.recursive), (bundle.path.join("closed/dir").as_path(), true));
        Ok(handed_in.take().expect("asked for once"))
    };
    prepare_with(&plan, &Sources { outside: Some(&outside), ..Sources::default() }).expect("from outside");
    let there = at(bundle.root("x"));
    assert!(there.has("ro") && there.kind == "tmpfs", "{there:?}");
}

#[test]
#[ignore = "the other test of this file runs it"]
fn in_a_user_namespace() {
    let bundle = Bundle { path: PathBuf::from(std::env::var_os(BUNDLE).expect("run by the other test")) };
    let host_dev = json!({"destination": "/dev", "source": "dev", "options": ["bind"]});
    let mount =
        |options: &[&str]| bundle.mount(json!([host_dev, {"destination": "/x", "source": "dir", "options": options}]));
    mount(&["bind", "ro", "noexec"]).expect("the locked ones are kept");
    let mounted = at(bundle.root("x"));
    for option in ["ro", "noexec", "nosuid", "nodev", "noatime"] {
        assert!(mounted.has(option), "{mounted:?}");
    }
    assert!(!mounted.has("nosymfollow"), "it is not locked, and nobody asked for it: {mounted:?}");
    for options in [&["bind", "suid"][..], &["bind", "strictatime"], &["bind", "dev", "ro"]] {
        let error = mount(options).expect_err("locked");
        assert!(error.to_string().contains("attributes are locked"), "{error}");
    }
    let error = prepare(&bundle.plan(json!({})).expect("a plan")).expect_err("no device nodes here");
    assert!(error.kind() == Kind::System && error.to_string().contains("takes CAP_MKNOD"), "{error}");
    let sysfs = json!([host_dev, {"destination": "/sys", "type": "sysfs"}]);
    let error = bundle.mount(sysfs).expect_err("the network namespace is the host's");
    assert!(
        error.to_string().contains("it takes CAP_SYS_ADMIN in the user namespace that owns what it shows"),
        "{error}"
    );
}
