//! Hooks that really run.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;
use crate::error::{Kind, Result};
use crate::testing::in_own_thread;

/// A hook that a shell carries out.
fn shell(script: &str) -> HookPlan {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    HookPlan { path: "/bin/sh".into(), args, env: vec!["PATH=/usr/bin:/bin".into()], timeout: None }
}

const NO_FILES: &Outputs = &Outputs { stdout: None, stderr: None };

fn setting<'a>(kind: &'a str, cwd: Option<&'a Path>) -> Setting<'a> {
    Setting { kind, cwd, outputs: NO_FILES, init: None }
}

fn run_one(hook: HookPlan, state: &[u8]) -> Result<()> {
    run(&[hook], state, setting("prestart", None))
}

/// What the hook says on stderr, by way of the error.
fn said(script: &str, state: &[u8]) -> String {
    let error = run_one(shell(&format!("{{ {script}; }} >&2; exit 3")), state).expect_err("exits with 3").to_string();
    let (_, said) = error.split_once("exit status 3, stdout: , stderr: ").expect("the hook ran");
    said.to_owned()
}

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("creel-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("mkdir");
        Scratch(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_state_is_on_stdin_whatever_its_size() {
    let pipe_limit: usize =
        std::fs::read_to_string("/proc/sys/fs/pipe-max-size").expect("limit").trim().parse().expect("number");
    for size in [0, 1, 65_536, 65_537, pipe_limit, pipe_limit + 1, 3 * pipe_limit + 7] {
        let state: Vec<u8> = (0..size).map(|index| b'a' + (index % 23) as u8).collect();
        let scratch = Scratch::new(&format!("stdin-{size}"));
        run_one(shell(&format!("cat > {}", scratch.file("state"))), &state).expect("run");
        assert!(std::fs::read(scratch.file("state")).expect("state") == state, "{size} bytes");
        run_one(shell("cat /dev/stdin > /dev/null"), &state).expect("stdin can be opened again");
    }
}

#[test]
fn a_hook_may_leave_its_stdin_alone() {
    for size in [2, 100_000, 8 << 20] {
        let started = Instant::now();
        run_one(shell("exec 0<&-; true"), &vec![b' '; size]).expect("closed unread");
        run_one(shell("true"), &vec![b' '; size]).expect("not read");
        assert!(started.elapsed() < Duration::from_secs(20), "{size} bytes");
    }
}

#[test]
fn arguments_and_environment_are_exactly_as_given() {
    let args = ["name", "-c", r#"echo "$0|$1|$2" >&2; exit 3"#, "zero", "one two", ""].map(str::to_owned).to_vec();
    let hook = HookPlan { path: "/bin/sh".into(), args, ..HookPlan::default() };
    let error = run_one(hook, b"").expect_err("exits with 3").to_string();
    assert!(error.ends_with("stderr: zero|one two|"), "{error}");

    let environment = |env: &[&str]| {
        let scratch = Scratch::new(&format!("env-{}", env.len()));
        let script =
            format!("while IFS= read -r -d '' v; do echo \"$v\"; done </proc/$$/environ >{}", scratch.file("env"));
        let mut hook = shell(&script);
        hook.path = "/bin/bash".into();
        hook.env = env.iter().map(|&entry| entry.to_owned()).collect();
        run_one(hook, b"").expect("run");
        std::fs::read_to_string(scratch.file("env")).expect("env")
    };
    assert_eq!(environment(&[]), "");
    assert_eq!(environment(&["B=2", "A=1=1", "no equals sign", "B=3"]), "B=2\nA=1=1\nno equals sign\nB=3\n");
}

#[test]
fn hooks_run_in_order_up_to_the_first_that_fails() {
    let scratch = Scratch::new("order");
    let log = scratch.file("log");
    let say = |what: &str| format!("echo {what} >>{log}");
    let hooks = [shell(&say("a")), shell(&format!("{}; echo out; echo err >&2; exit 9", say("b"))), shell(&say("c"))];
    let error = run(&hooks, b"{}", setting("createRuntime", None)).expect_err("the second fails");
    assert_eq!(
        error.to_string(),
        "running hooks: error running createRuntime hook #1: /bin/sh: exit status 9, stdout: out, stderr: err"
    );
    assert_eq!(error.kind(), Kind::System);
    assert_eq!(std::fs::read_to_string(&log).expect("log"), "a\nb\n");

    let errors = run_all(&hooks, b"{}", setting("poststop", None));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("error running poststop hook #1"), "{}", errors[0]);
    assert_eq!(std::fs::read_to_string(&log).expect("log"), "a\nb\na\nb\nc\n");
}

#[test]
fn a_hook_that_cannot_be_executed_is_named() {
    let cases = [("/nonexistent/hook", "no such file or directory"), ("/etc/passwd", "permission denied")];
    for (path, why) in cases {
        let hook = HookPlan { path: path.into(), args: vec![path.into()], ..HookPlan::default() };
        let error = run_one(hook, b"{}").expect_err(path).to_string();
        assert_eq!(error, format!("running hooks: error running prestart hook #0: {path}: posix_spawn: {why}"));
    }
}

#[test]
fn a_hook_killed_by_a_signal_is_told() {
    for (signal, words) in [("TERM", "terminated"), ("SYS", "bad system call"), ("USR1", "signal 10")] {
        let error = run_one(shell(&format!("kill -{signal} $$")), b"").expect_err("killed").to_string();
        assert!(error.contains(&format!("/bin/sh: signal: {words}, stdout: , stderr: ")), "{error}");
    }
}

#[test]
fn a_hook_past_its_timeout_is_killed() {
    let scratch = Scratch::new("timeout");
    let mut hook = shell(&format!("echo $$ >{}; trap '' TERM; echo begun >&2; exec sleep 60", scratch.file("pid")));
    hook.timeout = Some(1);
    let started = Instant::now();
    let error = run_one(hook, b"").expect_err("too slow").to_string();
    assert!(error.ends_with("hook ran past specified timeout of 1.0s, stdout: , stderr: begun"), "{error}");
    let took = started.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&took), "{took:?}");
    let pid = std::fs::read_to_string(scratch.file("pid")).expect("pid");
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "neither the hook nor its zombie is left");

    let mut quick = shell("sleep 0.1");
    quick.timeout = Some(30);
    run_one(quick, b"").expect("within its timeout");
}

#[test]
fn a_process_left_behind_is_not_waited_for() {
    let scratch = Scratch::new("daemon");
    let script = format!("sleep 60 & echo $! >{}; echo said; exit 1", scratch.file("pid"));
    let started = Instant::now();
    let error = run_one(shell(&script), b"").expect_err("exits with 1").to_string();
    let took = started.elapsed();
    let pid: i32 = std::fs::read_to_string(scratch.file("pid")).expect("pid").trim().parse().expect("number");
    let pid = rustix::process::Pid::from_raw(pid).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it still runs, and is ours");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(error.ends_with("exit status 1, stdout: said, stderr: "), "{error}");
}

#[test]
fn only_the_end_of_much_output_is_kept() {
    let error = run_one(shell("seq 1 200000; seq 1 200000 >&2; exit 1"), b"").expect_err("exits with 1").to_string();
    assert!(error.ends_with("\n199999\n200000"), "the end of stderr");
    assert!(error.contains("\n200000, stderr: "), "the end of stdout");
    assert!(error.len() < 10_000, "{}", error.len());
}

#[test]
fn hooks_print_to_the_files_that_annotations_name() {
    let scratch = Scratch::new("files");
    let annotations = [("run.oci.hooks.stdout", scratch.file("out")), ("run.oci.hooks.stderr", "err".to_owned())];
    let annotations = annotations.map(|(name, path)| (name.to_owned(), path)).into();
    let mut container =
        HookState { oci_version: String::new(), id: "c1".into(), bundle: scratch.0.clone(), annotations };
    for _ in 0..2 {
        let outputs = Outputs::open(&container).expect("two files");
        let setting = Setting { outputs: &outputs, ..setting("poststop", None) };
        run(&[shell("echo out; echo err >&2")], b"", setting).expect("run");
        let error = run(&[shell("echo why >&2; exit 4")], b"", setting).expect_err("it fails").to_string();
        assert!(error.ends_with("exit status 4, stdout: , stderr: "), "{error}");
    }
    assert_eq!(std::fs::read_to_string(scratch.file("out")).expect("out"), "out\nout\n");
    assert_eq!(std::fs::read_to_string(scratch.file("err")).expect("err"), "err\nwhy\nerr\nwhy\n");
    container.annotations.insert("run.oci.hooks.stderr".into(), "none/err".into());
    let error = Outputs::open(&container).expect_err("no such directory").to_string();
    assert!(error.starts_with("running hooks: annotations[\"run.oci.hooks.stderr\"]: /"), "{error}");
}

#[test]
fn a_hook_starts_where_it_is_told_to() {
    let scratch = Scratch::new("cwd");
    run(&[shell("pwd -P >here")], b"", setting("prestart", Some(&scratch.0))).expect("run");
    let here = std::fs::read_to_string(scratch.file("here")).expect("here");
    assert_eq!(Path::new(here.trim()), std::fs::canonicalize(&scratch.0).expect("canonicalize"));
    let own = std::env::current_dir().expect("cwd").display().to_string();
    assert_eq!(said("pwd", b""), own);
}

#[test]
fn a_hook_has_no_signal_blocked_or_ignored_and_no_descriptor_of_ours() {
    in_own_thread(|| {
        crate::sys::signal::block_all().expect("block");
        // Rust ignores SIGPIPE in every program, which a child inherits unless it is reset. The C library's own two
        // signals (32 and 33), which it leaves ignored in whatever posix_spawn starts, concern nobody else.
        let masks = said("sed -nE 's/^Sig(Blk|Ign):.//p' /proc/self/status", b"");
        let masks: Vec<u64> = masks.lines().map(|mask| u64::from_str_radix(mask, 16).expect("mask")).collect();
        assert_eq!((masks[0], masks[1] & !(0b11 << 31)), (0, 0));
        let scratch = Scratch::new("descriptors");
        let file = std::fs::File::create(scratch.0.join("ours")).expect("create");
        let listed = said("ls -l /proc/self/fd", b"");
        drop(file);
        assert!(listed.contains(" 2 -> pipe:"), "{listed}");
        assert!(!listed.contains("ours"), "{listed}");
    });
}
