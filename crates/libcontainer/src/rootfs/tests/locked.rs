//! Mounts of another user namespace, whose attributes are locked. A thread cannot enter a user namespace, so the second
//! half of the test is this same executable, run again by unshare(1).

use std::path::PathBuf;
use std::process::Command;

use rustix::mount::{MountFlags, mount};
use serde_json::json;

use super::super::prepare;
use super::{Bundle, at, with_bundle};
use crate::error::Kind;

const BUNDLE: &str = "CREEL_TEST_BUNDLE";

#[test]
fn attributes_that_are_locked_stay() {
    with_bundle("locked", |bundle| {
        let dir = bundle.directory("dir");
        mount("t", &dir, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME, None).expect("tmpfs");
        bundle.directory("dev");
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--propagation", "unchanged", "--"])
            .arg(std::env::current_exe().expect("the test's executable"))
            .args(["--exact", "rootfs::tests::locked::in_a_user_namespace", "--ignored", "--nocapture"])
            .env(BUNDLE, &bundle.path)
            .output()
            .expect("unshare(1)");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("1 passed"), "{text}");
    });
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
