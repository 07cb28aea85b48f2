//! The last steps, the same for a container's init and for exec: from a process in the right namespaces to the payload.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;

use super::channel::Channel;
use super::launch;
use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::host::HostProc;
use crate::plan::ProcessPlan;
use crate::seccomp::Filter;
use crate::sys::clone::SingleThreaded;
use crate::{attributes, capabilities, lsm, seccomp, sys};

/// The last descriptor that every program knows.
const LAST_STDIO: RawFd = 2;

/// A payload that only needs to be executed.
#[derive(Debug)]
pub(crate) struct Payload {
    executable: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    passed_fds: RawFd,
}

/// Joins the session keyring of the container. Best effort where there are no keyrings (kernel without CONFIG_KEYS, an
/// outer container's seccomp filter), since they protect little beyond what credentials do.
pub(crate) fn join_keyring(plan: &ProcessPlan, proc: &HostProc) -> Result<()> {
    let Some(name) = plan.keyring.as_deref().and_then(|name| CString::new(name).ok()) else { return Ok(()) };
    lsm::labelling_keys(&plan.lsm, proc, || join_session_keyring(&name))
}

fn join_session_keyring(name: &CStr) -> Result<()> {
    match sys::keyring::join_session_keyring(name) {
        Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        other => other
            .sys("keyctl", "a session keyring")
            .map_err(|error| match error.errno() {
                Some(Errno::DQUOT) => error
                    .cause("the user has no room for more keys")
                    .remedy("raise kernel.keys.maxkeys or use --no-new-keyring"),
                _ => error,
            })
            .during(Phase::Attributes),
    }
}

/// Becomes the user with the capabilities and filter of the plan, in its working directory, and finds its executable.
/// Nothing that needs a privilege can be done after this. To be done when [`let_go_of_the_host`] is.
pub(crate) fn confine(
    plan: &ProcessPlan,
    env: &[String],
    filter: Option<&Filter>,
    channel: &Channel,
) -> Result<Payload> {
    launch::outlive_parent();
    sys::signal::unblock_all().sys("rt_sigprocmask", "all signals").during(Phase::Exec)?;
    attributes::set_execution_domain(&plan.attributes)?;
    // The working directory is entered and checked before any filter: one may well deny getcwd(2).
    let entered = change_directory(plan)?;
    if entered {
        check_inside()?;
    }
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).sys("prctl", "PR_SET_NO_NEW_PRIVS").during(Phase::Attributes)?;
    } else if let Some(filter) = filter {
        // Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go.
        load(plan, filter, channel)?;
    }
    become_user(plan)?;
    if !entered {
        rustix::process::chdir(&plan.cwd).map_err(|errno| cwd_error(plan, errno))?;
        check_inside()?;
    }
    let payload = find_payload(plan, env)?;
    if let (true, Some(filter)) = (plan.no_new_privileges, filter) {
        load(plan, filter, channel)?;
    }
    Ok(payload)
}

/// Loads the filter; if there is an agent to ask, it has the listener before this process makes another system call.
fn load(plan: &ProcessPlan, filter: &Filter, channel: &Channel) -> Result<()> {
    let is_asked = plan.seccomp.as_ref().is_some_and(|seccomp| seccomp.listener.is_some());
    if plan.unprivileged && is_asked {
        // A parent who is not root takes nothing out of a process that hides.
        show()?;
    }
    match seccomp::load(filter)? {
        Some(listener) => launch::give_listener(channel, listener),
        None => Ok(()),
    }
}

/// Closes every descriptor but stdio, those that are passed on, and those in `keep`: the path of the working directory or
/// of the executable may lead through /proc/self/fd, and out of the container (CVE-2024-21626). A joining process does so
/// before it can be seen in there: one who may trace everything sees even what is not dumpable (CVE-2016-9962).
pub(crate) fn let_go_of_the_host(plan: &ProcessPlan, proc: &HostProc, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    sys::fd::close_all_but(LAST_STDIO + plan.passed_fds, &keep, || proc.own_descriptors())
        .sys("close_range", "descriptors of the runtime")
        .during(Phase::Exec)
}

fn become_user(plan: &ProcessPlan) -> Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(plan.attributes.umask));
    capabilities::drop_bounding(&plan.capabilities)?;
    attributes::own_stdio(plan.attributes.uid)?;
    let changes_user = plan.attributes.uid != 0;
    if changes_user {
        capabilities::keep_across_setuid(true)?;
    }
    attributes::become_user(&plan.attributes)?;
    if changes_user {
        capabilities::keep_across_setuid(false)?;
    }
    capabilities::apply_after_setuid(&plan.capabilities)
}

/// Enters the working directory while still root; what root may not enter (a user's own network share) is left for the
/// user. Whether it was entered.
fn change_directory(plan: &ProcessPlan) -> Result<bool> {
    match rustix::process::chdir(&plan.cwd) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(cwd_error(plan, errno)),
    }
}

fn cwd_error(plan: &ProcessPlan, errno: Errno) -> Error {
    let error = Error::system("chdir", plan.cwd.display(), errno).within("process.cwd").during(Phase::Exec);
    match errno {
        Errno::NOENT => error.remedy("make the directory in the root filesystem or change process.cwd"),
        _ => error,
    }
}

/// A working directory outside the container's root, reached through a descriptor of the host's (/proc/self/fd/7),
/// would open the host to the payload (CVE-2024-21626). getcwd(2) tells: such a path does not start with a slash.
fn check_inside() -> Result<()> {
    let cwd = rustix::process::getcwd(Vec::new());
    if cwd.as_ref().is_ok_and(|path| path.as_bytes().starts_with(b"/")) {
        return Ok(());
    }
    Err(Error::invalid("process.cwd", "it is outside the container's root filesystem").during(Phase::Exec))
}

/// The payload's environment, with HOME as the container's /etc/passwd has it where the plan says nothing. Looked up
/// before limits and filters bear on this process.
pub(crate) fn environment(plan: &ProcessPlan) -> Vec<String> {
    let mut env = plan.env.clone();
    if !env.iter().any(|line| line.starts_with("HOME=") && line.len() > "HOME=".len()) {
        env.retain(|line| !line.starts_with("HOME="));
        env.push(format!("HOME={}", attributes::home_of(plan.attributes.uid)));
    }
    env
}

fn find_payload(plan: &ProcessPlan, env: &[String]) -> Result<Payload> {
    let strings = |list: &[String]| list.iter().filter_map(|string| CString::new(string.as_str()).ok()).collect();
    let name = plan.args.first().map(String::as_str).unwrap_or_default();
    Ok(Payload {
        executable: find_executable(name, env).during(Phase::Exec)?,
        args: strings(&plan.args),
        env: strings(env),
        passed_fds: plan.passed_fds,
    })
}

/// As execvp(3) finds it: a name with a slash is a path, any other is looked for in PATH.
fn find_executable(name: &str, env: &[String]) -> Result<CString> {
    let terminated = |path: &[u8]| CString::new(path).map_err(|_| Error::invalid("process.args[0]", "it contains NUL"));
    if name.contains('/') {
        let path = terminated(name.as_bytes())?;
        return match check_executable(&path) {
            Ok(()) => Ok(path),
            Err(errno) => Err(executable_error(name, errno)),
        };
    }
    let search = env.iter().find_map(|line| line.strip_prefix("PATH=")).unwrap_or_default();
    let mut denied = false;
    for directory in search.split(':') {
        let directory = if directory.is_empty() { Path::new(".") } else { Path::new(directory) };
        let path = terminated(directory.join(name).as_os_str().as_bytes())?;
        match check_executable(&path) {
            Ok(()) => return Ok(path),
            Err(errno) => denied |= errno == Errno::ACCESS,
        }
    }
    // The words are the field's own: engines look for them to tell their users "command not found" (exit code 127).
    let error = Error::new(Kind::ExecNotFound, format!("exec: \"{name}\": executable file not found in $PATH"));
    Err(if denied {
        Error::new(Kind::ExecNotExecutable, format!("exec: \"{name}\": permission denied"))
            .cause("a file of that name in PATH is not executable for the user")
    } else if search.is_empty() {
        error.cause("process.env has no PATH")
    } else {
        error.cause(format!("PATH is {search}"))
    })
}

#[allow(clippy::disallowed_methods, reason = "in the container's root, with its user's rights: as execve will find it")]
fn check_executable(path: &CString) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // faccessat2(2) counts the capabilities of a user other than root, but a filter may be too old to allow it.
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()) {
        Err(Errno::ACCESS) => rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).or(Err(Errno::ACCESS)),
        other => other,
    }
}

fn executable_error(name: &str, errno: Errno) -> Error {
    let kind = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Kind::ExecNotFound,
        _ => Kind::ExecNotExecutable,
    };
    Error::system("stat", format!("exec: \"{name}\""), errno).of_kind(kind)
}

/// The beginning of every process: what it can only do before it hides, and then that.
pub(crate) fn begin(plan: &ProcessPlan, proc: &HostProc, alone: &SingleThreaded) -> Result<()> {
    if plan.unprivileged {
        attributes::score_own(&plan.attributes, proc)?;
        // It will be seen again, by `show`.
        sys::env::wipe(alone);
    }
    hide()
}

/// Makes this process invisible to those in the namespaces that it is about to enter: no ptrace, no /proc/PID/fd
/// (CVE-2016-9962).
fn hide() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .sys("prctl", "PR_SET_DUMPABLE")
        .during(Phase::Namespaces)
}

/// Makes a process that has given everything up visible again, for a user who is not root: to join a container whose init
/// waits at the gate he has no other way into its namespaces.
pub(crate) fn show() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .sys("prctl", "PR_SET_DUMPABLE")
        .during(Phase::Exec)
}

impl Payload {
    /// Its environment.
    pub(crate) fn env(&self) -> Vec<String> {
        self.env.iter().map(|line| line.to_string_lossy().into_owned()).collect()
    }

    /// Executes it; returns only on failure.
    pub(crate) fn execute(&self) -> Error {
        // Only now: hooks that ran in between have no business with them.
        if let Err(errno) = sys::fd::pass_on(LAST_STDIO + 1, self.passed_fds) {
            return Error::system("fcntl", "descriptors to pass on", errno).during(Phase::Exec);
        }
        let errno = sys::exec::execve(&self.executable, &self.args, &self.env);
        let name = self.executable.to_string_lossy();
        // "exec NAME: no such file or directory": the kernel's words beside the name, as runc prints and scripts look for them.
        let error = Error::failed(format!("exec {name}"), errno).of_kind(Kind::ExecNotExecutable).during(Phase::Exec);
        match errno {
            Errno::NOENT => error
                .of_kind(Kind::ExecNotFound)
                .cause("its interpreter or dynamic loader does not exist in the container"),
            Errno::NOEXEC => error.cause("it is neither a program of this architecture nor a script with a #! line"),
            _ => error,
        }
    }
}
