//! The foreground with ordinary children in the place of a container's process.
#![allow(clippy::zombie_processes)] // the foreground waits for them

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, kill_process, pidfd_open, test_kill_process};

use super::relay::tests::terminal_pair;
use super::*;

fn launched(child: &Child, console: Option<OwnedFd>) -> Launched {
    let pid = Pid::from_child(child);
    Launched {
        pid,
        pidfd: pidfd_open(pid, PidfdFlags::empty()).expect("pidfd"),
        console,
        start_time: 0,
        notify: None,
        warnings: vec![],
    }
}

/// Without blocked signals, as they would have to be for the whole test process.
fn foreground() -> Foreground {
    Foreground { signals: signals::signalfd().expect("signalfd"), reaps_orphans: false }
}

fn attend(script: &str) -> Result<u8> {
    let child = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().expect("sh");
    foreground().attend(launched(&child, None), &Log::default())
}

#[test]
fn the_status_is_the_processes_own() {
    assert_eq!(attend("exit 7").expect("a status"), 7);
    assert_eq!(attend("exit 0").expect("a status"), 0);
    assert_eq!(attend("kill -KILL $$").expect("a status"), 128 + 9);
    assert_eq!(attend("kill -TERM $$").expect("a status"), 128 + 15);
}

#[test]
fn a_process_whose_terminal_cannot_be_relayed_is_killed() {
    let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep");
    let not_a_terminal = std::fs::File::open("/dev/null").expect("null").into();
    let launched = launched(&child, Some(not_a_terminal));
    let pid = launched.pid;
    let error = foreground().attend(launched, &Log::default()).expect_err("no terminal");
    assert!(format!("{error:#}").contains("terminal"), "{error:#}");
    assert_eq!(test_kill_process(pid), Err(Errno::SRCH), "killed and collected");
}

/// This test program once more, to play the runtime: signals and the subreaper attribute belong to a whole process.
/// libtest's own threads must not take the signals, so that all are born with every signal blocked (env(1) of GNU). A
/// session of its own has no controlling terminal to find.
fn runtime(script: &str, terminal: bool) -> Runtime {
    let mut command = Command::new("setsid");
    command.args(["--wait", "env", "--block-signal"]).arg(std::env::current_exe().expect("this program"));
    command.args(["--exact", "foreground::tests::role_runtime", "--ignored", "--nocapture"]);
    // libtest leaves a line unfinished.
    let script = format!("read go; echo; echo runtime $PPID; {script}");
    command.env("CREEL_TEST_SCRIPT", script).env("CREEL_TEST_TERMINAL", if terminal { "yes" } else { "no" });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // One stream is enough for the terminal that it has to sit on.
    let sits_on = terminal.then(terminal_pair).map(|(master, slave)| {
        command.stderr(Stdio::from(slave));
        master
    });
    let mut child = command.spawn().expect("setsid");
    child.stdin.take().expect("stdin").write_all(b"go\n").expect("write");
    let output = BufReader::new(child.stdout.take().expect("stdout"));
    let mut runtime = Runtime { child, output, pid: None, _sits_on: sits_on };
    runtime.pid = Some(runtime.pid_after("runtime "));
    runtime
}

struct Runtime {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    pid: Option<Pid>,
    _sits_on: Option<OwnedFd>,
}

impl Runtime {
    fn pid(&self) -> Pid {
        self.pid.expect("it has told its pid")
    }

    /// Reads the output up to a line that begins so; gives the rest of the line.
    fn read_after(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("read") > 0 {
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim().to_owned();
            }
            line.clear();
        }
        panic!("the runtime ended without saying {beginning:?}");
    }

    fn pid_after(&mut self, beginning: &str) -> Pid {
        Pid::from_raw(self.read_after(beginning).parse().expect("a number")).expect("a pid")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("kill");
    }

    /// setsid(1) exits as its program does.
    fn status(&mut self) -> Option<i32> {
        self.child.wait().expect("wait").code()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // After a failed test it may still be there; SIGTERM also ends its child.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.pid.into_iter().for_each(|pid| {
                let _ = kill_process(pid, Signal::TERM);
            });
            let _ = self.child.wait();
        }
    }
}

#[test]
#[ignore = "a part that other tests play in a process of its own"]
fn role_runtime() {
    let Ok(script) = std::env::var("CREEL_TEST_SCRIPT") else { return };
    let terminal = std::env::var("CREEL_TEST_TERMINAL").is_ok_and(|value| value == "yes");
    let log = Log::default();
    let foreground = Foreground::prepare(true, &log).expect("prepare");
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let console = terminal.then(|| {
        let (master, slave) = terminal_pair();
        let stdio = || Stdio::from(slave.try_clone().expect("dup"));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        master
    });
    // A new program inherits the mask; the library empties it for a container's process. The shell waits for its input, so
    // that no signal comes while they are not blocked, and no output before the terminal is attached.
    if console.is_none() {
        command.stdin(Stdio::piped());
    }
    signals::unblock_all().expect("unblock");
    let mut child = command.spawn().expect("sh");
    signals::block_all().expect("block");
    drop(child.stdin.take()); // the end of the file will do
    drop(command); // it holds the terminal open
    let status = foreground.attend(launched(&child, console), &log).expect("a status");
    std::process::exit(status.into());
}

#[test]
fn signals_are_passed_on_except_those_that_are_our_own() {
    let script = "trap 'echo usr1' USR1; trap 'exit 42' TERM; trap 'exit 1' PIPE URG; echo ready; \
                  while :; do sleep 0.05; done";
    let mut runtime = runtime(script, false);
    runtime.read_after("ready");
    for ours in [Signal::PIPE, Signal::URG, Signal::CHILD] {
        runtime.signal(ours);
    }
    runtime.signal(Signal::USR1);
    runtime.read_after("usr1");
    runtime.signal(Signal::TERM);
    assert_eq!(runtime.status(), Some(42));
}

#[test]
fn a_real_time_signal_is_passed_on() {
    let mut runtime = runtime("echo ready; exec sleep 60", false);
    runtime.read_after("ready");
    let pidfd = pidfd_open(runtime.pid(), PidfdFlags::empty()).expect("pidfd");
    signals::send(&pidfd, 40).expect("signal");
    assert_eq!(runtime.status(), Some(128 + 40));
}

#[test]
fn orphans_are_reaped_while_the_process_runs() {
    let mut runtime = runtime("(sh -c 'echo orphan $$; exec sleep 0.1' &); exec sleep 60", false);
    let orphan = runtime.pid_after("orphan ");
    let deadline = Instant::now() + Duration::from_secs(10);
    // A zombie can still be signalled.
    while test_kill_process(orphan).is_ok() {
        assert!(Instant::now() < deadline, "{orphan:?} was not reaped");
        std::thread::sleep(Duration::from_millis(10));
    }
    runtime.signal(Signal::TERM);
    assert_eq!(runtime.status(), Some(128 + 15));
}

#[test]
fn the_terminals_output_is_complete_and_the_status_known() {
    let mut runtime = runtime("seq 1 20000; exit 3", true);
    let mut output = String::new();
    runtime.output.read_to_string(&mut output).expect("read");
    assert_eq!(runtime.status(), Some(3));
    let numbers: Vec<u32> =
        output.lines().map(|line| line.trim_end_matches('\r')).map(|line| line.parse().expect("a number")).collect();
    assert_eq!(numbers, (1..=20000).collect::<Vec<_>>());
}
