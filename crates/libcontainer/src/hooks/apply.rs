//! Running hooks, in the runtime or in the container's init.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open, pidfd_send_signal, waitid,
};

use super::output::{self, Output};
use super::outputs::Outputs;
use super::plan::HookPlan;
use crate::error::{Error, Kind, Phase, Result, SysContext};
use crate::sys::spawn::{Program, spawn};

/// How hooks of one list run.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The list's name in the spec (`createRuntime`), for the message.
    pub kind: &'a str,
    /// Where they start, `None` the caller's own directory. runc's are: the bundle for those in the runtime's namespaces,
    /// the root file system for createContainer, the process's cwd for startContainer.
    pub cwd: Option<&'a Path>,
    /// Where they print to.
    pub outputs: &'a Outputs,
    /// A process that they do not outlive: a hook that hangs must not keep a container that somebody has killed.
    pub init: Option<&'a OwnedFd>,
}

/// Runs `hooks` in order, each to its end, and stops at the first that fails; `state_json` is what each finds on its stdin.
///
/// SIGCHLD gets its default action: were it ignored, the kernel would collect the exit status in our place.
///
/// # Errors
/// If a hook cannot be executed, exits with another status than 0, is killed by a signal or exceeds its timeout; the
/// message has the end of its output. If the process that it must not outlive is gone.
pub fn run(hooks: &[HookPlan], state_json: &[u8], setting: Setting<'_>) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| run_numbered(hook, index, state_json, setting))
}

/// Like [`run`], but runs them all, whichever fail: what runtime.md demands for poststop. Gives the failures, for a
/// warning each.
pub fn run_all(hooks: &[HookPlan], state_json: &[u8], setting: Setting<'_>) -> Vec<Error> {
    let results = hooks.iter().enumerate().map(|(index, hook)| run_numbered(hook, index, state_json, setting));
    results.filter_map(Result::err).collect()
}

fn run_numbered(hook: &HookPlan, index: usize, state: &[u8], setting: Setting<'_>) -> Result<()> {
    crate::sys::signal::reset(libc::SIGCHLD);
    run_one(hook, state, setting)
        .map_err(|error| error.within(format!("error running {} hook #{index}", setting.kind)).during(Phase::Hooks))
}

fn run_one(hook: &HookPlan, state: &[u8], setting: Setting<'_>) -> Result<()> {
    let (mut stdout, stdout_writer) = Output::new(setting.outputs.stdout.as_ref())?;
    let (mut stderr, stderr_writer) = Output::new(setting.outputs.stderr.as_ref())?;
    let pidfd = start(hook, setting.cwd, [output::stdin(state)?, stdout_writer, stderr_writer])?;
    let deadline = hook.timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let watched = watch(&pidfd, setting.init, deadline, &mut stdout, &mut stderr);
    if !matches!(watched, Ok(Seen::Exit)) {
        // It may have exited by now, which is just as well.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
    let status = wait(&pidfd, &hook.path)?;
    let seen = watched?;
    stdout.read_rest()?;
    stderr.read_rest()?;
    if seen == Seen::Exit && status.exit_status() == Some(0) {
        return Ok(());
    }
    let how = match (seen, status.exit_status(), status.terminating_signal()) {
        (Seen::EndOfInit, ..) => "it was ended, since the container's init is gone".to_owned(),
        (Seen::Deadline, ..) => format!("hook ran past specified timeout of {}.0s", hook.timeout.unwrap_or_default()),
        (Seen::Exit, Some(code), _) => format!("exit status {code}"),
        (Seen::Exit, None, signal) => format!("signal: {}", signal_words(signal.unwrap_or_default())),
    };
    let cause = format!("{how}, stdout: {}, stderr: {}", stdout.text(), stderr.text());
    Err(Error::new(Kind::System, hook.path.clone()).cause(cause))
}

/// What a signal that ends a process means, in the words of Go's runtime, which runc's users know.
fn signal_words(signal: i32) -> String {
    let words = match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        libc::SIGSYS => "bad system call",
        other => return format!("signal {other}"),
    };
    words.to_owned()
}

/// Starts the hook; its ends of the three descriptors are closed here, so that end of file can be seen.
fn start(hook: &HookPlan, cwd: Option<&Path>, stdio: [OwnedFd; 3]) -> Result<OwnedFd> {
    let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Error::invalid(&hook.path, "has a null byte"));
    let c_strings =
        |strings: &[String]| strings.iter().map(|string| c_string(string.as_bytes())).collect::<Result<Vec<_>>>();
    let cwd = cwd.map(|cwd| c_string(cwd.as_os_str().as_bytes())).transpose()?;
    let program = Program {
        path: &c_string(hook.path.as_bytes())?,
        args: &c_strings(&hook.args)?,
        env: &c_strings(&hook.env)?,
        stdio: stdio.each_ref().map(AsFd::as_fd),
        others: &[],
        cwd: cwd.as_deref(),
    };
    let pid = spawn(&program).sys("posix_spawn", &hook.path)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| {
        abandon(pid);
        Error::system("pidfd_open", &hook.path, errno)
    })
}

/// Ends a child that cannot be watched, so that nothing of it stays.
fn abandon(pid: Pid) {
    let _ = kill_process(pid, Signal::KILL);
    let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED));
}

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Exit,
    Deadline,
    EndOfInit,
}

/// Reads the output until the hook exits, the deadline has passed or init is gone. Processes that the hook leaves behind
/// may hold its output open; nobody waits for them.
fn watch(
    pidfd: &OwnedFd,
    init: Option<&OwnedFd>,
    deadline: Option<Instant>,
    stdout: &mut Output,
    stderr: &mut Output,
) -> Result<Seen> {
    loop {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if timeout == Some(Duration::ZERO) {
            return Ok(Seen::Deadline);
        }
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        let (exited, gone, out, err) = {
            // Without an init to look after, the hook is looked at twice.
            let mut fds = vec![PollFd::new(pidfd, PollFlags::IN), PollFd::new(init.unwrap_or(pidfd), PollFlags::IN)];
            let readers = [stdout.reader(), stderr.reader()];
            fds.extend(readers.iter().flatten().map(|reader| PollFd::from_borrowed_fd(*reader, PollFlags::IN)));
            match poll(&mut fds, timeout.as_ref()) {
                Err(Errno::INTR) => continue,
                result => result.sys("poll", "a hook's output")?,
            };
            let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
            let [exited, gone] = [(); 2].map(|()| ready.next().unwrap_or(false));
            let [out, err] = readers.map(|reader| reader.is_some() && ready.next().unwrap_or(false));
            // It may have exited between the two looks.
            (exited, gone && init.is_some(), out, err)
        };
        match (exited, gone) {
            (true, _) => return Ok(Seen::Exit),
            (false, true) => return Ok(Seen::EndOfInit),
            (false, false) => {}
        }
        for (output, ready) in [(&mut *stdout, out), (&mut *stderr, err)] {
            if ready {
                output.read()?;
            }
        }
    }
}

fn wait(pidfd: &OwnedFd, path: &str) -> Result<WaitIdStatus> {
    let waited = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
    waited.and_then(|status| status.ok_or(Errno::CHILD)).sys("waitid", path)
}
