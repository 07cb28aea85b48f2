//! The binary as its callers see it, where no container is needed.
#![allow(clippy::expect_used, clippy::print_stdout)] // clippy.toml's exemption does not reach helpers

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A directory that is removed at the end, whatever the end is.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("creel-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }

    fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("text").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn creel(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_creel")).args(args).env_remove("XDG_RUNTIME_DIR").output().expect("creel runs")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

#[track_caller]
fn assert_status(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "{}{}", stdout(output), stderr(output));
}

fn read_spec(bundle: &Path) -> (String, Value) {
    let text = std::fs::read_to_string(bundle.join("config.json")).expect("config.json");
    let value = serde_json::from_str(&text).expect("JSON");
    (text, value)
}

#[test]
fn the_version_is_told_in_runcs_lines() {
    for flag in ["--version", "-v"] {
        let output = creel(&[flag]);
        assert_status(&output, 0);
        let mut lines = stdout(&output).lines().filter(|line| !line.starts_with("commit: "));
        assert_eq!(lines.next(), Some(concat!("creel version ", env!("CARGO_PKG_VERSION"))));
        assert_eq!(lines.next(), Some("spec: 1.3.0"));
        assert!(lines.next().is_some_and(|line| line.starts_with("rust: 1.")));
        assert!(lines.next().is_some_and(|line| line.starts_with("libseccomp: 2.")));
        assert_eq!(lines.next(), None);
    }
}

#[test]
fn features_are_json_with_what_engines_ask_for() {
    let output = creel(&["features"]);
    assert_status(&output, 0);
    let features: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert_eq!(features["hooks"].as_array().map(Vec::len), Some(6));
    let has = |pointer: &str, name: &str| {
        features.pointer(pointer).and_then(Value::as_array).is_some_and(|list| list.iter().any(|item| item == name))
    };
    assert!(has("/mountOptions", "rro") && has("/linux/namespaces", "mount"));
    assert!(has("/linux/capabilities", "CAP_CHECKPOINT_RESTORE"));
    assert!(has("/linux/seccomp/actions", "SCMP_ACT_ERRNO") && has("/linux/seccomp/archs", "SCMP_ARCH_X86_64"));
    for switch in ["/linux/cgroup/v1", "/linux/cgroup/v2", "/linux/seccomp/enabled"] {
        assert_eq!(features.pointer(switch), Some(&Value::Bool(true)), "{switch}");
    }
    assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "false");
}

#[test]
fn spec_writes_a_bundles_configuration_once() {
    let bundle = Scratch::new("spec");
    let path = bundle.join("");
    assert_status(&creel(&["spec", "--bundle", &path]), 0);
    let (text, spec) = read_spec(&bundle.0);
    assert!(text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n\t\"process\": {\n\t\t\"terminal\": true,"), "{text}");
    assert!(text.ends_with('}'), "no end of line, as runc's");
    assert_eq!(spec["process"]["args"], serde_json::json!(["sh"]));
    assert_eq!(spec["root"], serde_json::json!({"path": "rootfs", "readonly": true}));

    let again = creel(&["spec", "-b", &path]);
    assert_status(&again, 1);
    assert!(stderr(&again).ends_with("level=error msg=\"File config.json exists. Remove it first\"\n"));
    assert_eq!(read_spec(&bundle.0).0, text);

    let nowhere = creel(&["spec", "-b", &bundle.join("nowhere")]);
    assert_status(&nowhere, 1);
    assert!(stderr(&nowhere).contains("no such file or directory"));
}

#[test]
fn a_rootless_spec_maps_the_callers_ids() {
    let bundle = Scratch::new("spec-rootless");
    assert_status(&creel(&["spec", "--rootless", "-b", &bundle.join("")]), 0);
    let (_, spec) = read_spec(&bundle.0);
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(spec["linux"]["uidMappings"], serde_json::json!([{"containerID": 0, "hostID": uid, "size": 1}]));
    let kinds: Vec<_> = spec["linux"]["namespaces"].as_array().expect("a list").iter().map(|n| &n["type"]).collect();
    assert!(kinds.contains(&&Value::from("user")) && !kinds.contains(&&Value::from("network")), "{kinds:?}");
}

/// The peer, where it is installed. Old ones write an older version.
#[test]
fn spec_equals_runcs() {
    for rootless in [false, true] {
        let (ours, theirs) = (Scratch::new("spec-ours"), Scratch::new("spec-runc"));
        let flags: &[&str] = if rootless { &["--rootless"] } else { &[] };
        let runc = Command::new("runc").arg("spec").args(flags).current_dir(&theirs.0).status();
        if !runc.is_ok_and(|status| status.success()) {
            println!("skipped: no runc to compare with");
            return;
        }
        assert_status(&creel(&[&["spec", "-b", &ours.join("")], flags].concat()), 0);
        let [(_, mut ours), (_, mut theirs)] = [read_spec(&ours.0), read_spec(&theirs.0)];
        let is_old = theirs["ociVersion"] != ours["ociVersion"];
        for spec in [&mut ours, &mut theirs].into_iter().filter(|_| is_old) {
            spec["ociVersion"] = Value::Null;
            // runc 1.1 lists ambient capabilities that cannot be raised.
            spec["process"]["capabilities"].as_object_mut().expect("sets").remove("ambient");
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn usage_errors_end_with_1_and_an_unknown_command_with_3() {
    let output = creel(&["run", "--nope", "c1"]);
    assert_status(&output, 1);
    assert!(stdout(&output).starts_with("Incorrect Usage: flag provided but not defined: -nope\n\n"));
    assert!(stdout(&output).contains("USAGE:\n   creel run [OPTIONS] <container-id>\n"));
    assert!(stderr(&output).ends_with("level=error msg=\"flag provided but not defined: -nope\"\n"));

    let output = creel(&["state"]);
    assert_status(&output, 1);
    assert!(stdout(&output).starts_with("Incorrect Usage.\n\n"));
    assert!(stderr(&output).contains("\\\"state\\\" requires exactly 1 argument(s)\""), "{}", stderr(&output));

    let output = creel(&["nope"]);
    assert_status(&output, 3);
    assert!(stderr(&output).contains("No help topic for 'nope'"));

    assert_status(&creel(&["exec"]), 1);
    assert_status(&creel(&[]), 0);
    assert_status(&creel(&["run", "--help"]), 0);
}

#[test]
fn commands_of_later_versions_say_so() {
    for command in ["checkpoint", "restore"] {
        let output = creel(&[command, "--some-flag", "c1"]);
        assert_status(&output, 1);
        assert!(stderr(&output).contains("not supported yet"), "{}", stderr(&output));
    }
}

#[test]
fn errors_reach_the_log_and_stderr() {
    let scratch = Scratch::new("log");
    let (json, text) = (scratch.join("log.json"), scratch.join("log"));
    let output = creel(&["--log", &json, "--log-format", "json", "kill", "c1", "NOSUCH"]);
    assert_status(&output, 1);
    assert_eq!(stderr(&output), "unknown signal \"NOSUCH\"\n");
    let entry: Value = serde_json::from_str(&std::fs::read_to_string(&json).expect("the log")).expect("JSON");
    assert_eq!((&entry["level"], &entry["msg"]), (&"error".into(), &"unknown signal \"NOSUCH\"".into()));
    let time = entry["time"].as_str().expect("a time");
    assert!(time.len() == 20 && time.starts_with("20") && time.ends_with('Z'), "{time}");

    for _ in 0..2 {
        creel(&["kill", "c1", "NOSUCH", "--log", &text]);
    }
    let lines = std::fs::read_to_string(&text).expect("the log");
    assert_eq!(lines.lines().count(), 2, "appended: {lines}");
    assert!(lines.lines().all(|line| line.starts_with("time=\"20") && line.contains("\" level=error msg=\"unknown")));

    let output = creel(&["--log-format", "xml", "list"]);
    assert_status(&output, 1);
    assert!(stderr(&output).contains("invalid log-format: xml"));
    assert_status(&creel(&["--log", &scratch.join("no/log"), "features"]), 1);
}

#[test]
fn wrong_values_are_refused_before_anything_is_done() {
    for (args, status, part) in [
        (&["--root", "/", "list"][..], 1, "should not be set to /"),
        (&["state", ""], 1, "container id cannot be empty"),
        (&["run", ""], 1, "creel run failed: container id cannot be empty"),
        (&["--rootless", "perhaps", "create", "c1"], 1, "creel create failed: --rootless"),
        (&["exec", "-p", "/nowhere/process.json", "c1"], 255, "exec failed: open /nowhere/process.json"),
    ] {
        let output = creel(args);
        assert_status(&output, status);
        assert!(stderr(&output).contains(part), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_process_file_that_cannot_be_parsed_is_told_with_its_place() {
    let scratch = Scratch::new("exec");
    let file = scratch.join("process.json");
    std::fs::write(&file, "{\"cwd\":}").expect("write");
    let output = creel(&["exec", "--process", &file, "c1"]);
    assert_status(&output, 255);
    assert!(stderr(&output).contains("process.json: cwd: expected value at line 1 column 8"), "{}", stderr(&output));
}

#[test]
fn a_full_stdout_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = Command::new(env!("CARGO_BIN_EXE_creel")).arg("features").stdout(full).output().expect("creel runs");
    assert_status(&output, 1);
    assert!(stderr(&output).contains("no space left on device"), "{}", stderr(&output));
}
