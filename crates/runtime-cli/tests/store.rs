//! What commands say of containers that are not there.
#![allow(clippy::expect_used)] // clippy.toml's exemption does not reach helpers

use std::path::PathBuf;
use std::process::{Command, Output};

/// An empty root directory, removed at the end.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Root {
        let path = std::env::temp_dir().join(format!("creel-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Root(path)
    }

    /// Status, stdout and stderr.
    fn creel(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut creel = Command::new(env!("CARGO_BIN_EXE_creel"));
        let Output { status, stdout, stderr } =
            creel.arg("--root").arg(&self.0).args(args).output().expect("creel runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status.code(), text(stdout), text(stderr))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_empty_store_is_listed_as_runc_lists_it() {
    let root = Root::new("empty");
    let done = |stdout: &str| (Some(0), stdout.to_owned(), String::new());
    assert_eq!(root.creel(&["list"]), done("ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"));
    assert_eq!(root.creel(&["list", "-f", "json"]), done("null\n"));
    assert_eq!(root.creel(&["list", "--quiet"]), done(""));
    let (status, stdout, stderr) = root.creel(&["list", "--format", "nonsense"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.ends_with("level=error msg=\"invalid format option\"\n"), "{stderr}");
}

#[test]
fn a_root_that_was_named_must_exist() {
    let root = Root::new("missing-root");
    std::fs::remove_dir(&root.0).expect("rmdir");
    let (status, _, stderr) = root.creel(&["list"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains(&format!("open {}: no such file or directory", root.0.display())), "{stderr}");
    assert!(!root.0.exists(), "asking must not make it");
}

#[test]
fn engines_can_tell_that_a_container_is_missing() {
    let root = Root::new("missing");
    for args in [
        &["state", "c1"][..],
        &["start", "c1"],
        &["kill", "c1", "KILL"],
        &["kill", "--all", "c1", "9"],
        &["delete", "c1"],
        &["pause", "c1"],
        &["resume", "c1"],
        &["ps", "c1"],
        &["ps", "-f", "json", "c1"],
    ] {
        let (status, stdout, stderr) = root.creel(args);
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{args:?}: {stderr}");
        assert!(stderr.contains("level=error") && stderr.contains("does not exist"), "{args:?}: {stderr}");
    }
    let (status, _, stderr) = root.creel(&["exec", "c1", "ls"]);
    assert_eq!(status, Some(255));
    assert!(stderr.contains("exec failed: ") && stderr.contains("does not exist"), "{stderr}");
    assert_eq!(root.creel(&["delete", "--force", "c1"]), (Some(0), String::new(), String::new()));
    assert_eq!(std::fs::read_dir(&root.0).expect("root").count(), 0, "nothing was left behind");
}

#[test]
fn an_id_is_no_path() {
    let root = Root::new("ids");
    for id in ["../x", "a/b", ".", "..", "a b"] {
        for command in ["state", "delete", "run", "create"] {
            let (status, _, stderr) = root.creel(&[command, id]);
            assert_eq!(status, Some(1), "{command} {id}: {stderr}");
            assert!(stderr.contains("id"), "{command} {id}: {stderr}");
        }
    }
    assert_eq!(std::fs::read_dir(&root.0).expect("root").count(), 0, "nothing was left behind");
}

#[test]
fn a_bundle_without_a_configuration_leaves_nothing() {
    let root = Root::new("bundle");
    for command in ["run", "create"] {
        let bundle = root.0.display().to_string();
        let (status, _, stderr) = root.creel(&[command, "--bundle", &bundle, "c1"]);
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains(&format!("creel {command} failed: ")), "{stderr}");
        assert!(stderr.contains("config.json") && stderr.contains("no such file or directory"), "{stderr}");
    }
    assert_eq!(std::fs::read_dir(&root.0).expect("root").count(), 0, "nothing was left behind");
}
