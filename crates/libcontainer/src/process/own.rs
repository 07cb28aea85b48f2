//! What a long-running caller of this library, such as containerd's shim, does with its own process: it has copies of
//! itself do what may block or fail, and starts programs beside itself.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{During, Error, Phase, Result, SysContext};
use crate::host;
use crate::sys;
use crate::sys::clone::{CloneArgs, Cloned, SingleThreaded, clone3};
use crate::sys::spawn::Program;

/// Above every number that [`spawn`] gives away.
const ASIDE: RawFd = 16;

/// Which side of [`fork`] the caller finds itself on.
#[derive(Debug)]
pub enum Forked {
    /// In the copy, which ends by [`exit`]: what the original owns must not be dropped twice.
    Child,
    /// In the original, with the copy's pid and pidfd.
    Parent(Pid, OwnedFd),
}

/// Makes a copy of this process.
///
/// # Errors
/// If this process has more than one thread: what they held would stay locked in the copy.
pub fn fork() -> Result<Forked> {
    let proof = alone()?;
    Ok(match clone3(&proof, CloneArgs::default()).sys("clone3", "a worker").during(Phase::Launch)? {
        Cloned::Child(_) => Forked::Child,
        Cloned::Parent(pid, pidfd) => Forked::Parent(pid, pidfd),
    })
}

/// Ends a copy at once: no destructor of the copied program runs.
pub fn exit(status: u8) -> ! {
    sys::clone::exit_now(i32::from(status))
}

/// Closes, in a copy, every descriptor but stdio and those in `keep`: a copy that hangs must not keep the original's
/// connections and pipes open. Whoever owned the others in the original must not be used, or dropped, in the copy.
///
/// # Errors
/// If there is neither close_range(2) (before Linux 5.9) nor /proc.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    sys::fd::close_all_but(2, &keep, host::own_descriptors)
        .sys("close_range", "descriptors of the original")
        .during(Phase::Launch)
}

/// Removes variables from this process's environment, which hooks and payloads would get to see.
///
/// # Errors
/// As [`fork`].
pub fn forget_environment(names: &[&str]) -> Result<()> {
    let proof = alone()?;
    names.iter().for_each(|name| sys::env::remove(&proof, name));
    Ok(())
}

/// Gives this process and its process group a core scheduling cookie of their own: only tasks with the same one run on
/// the siblings of a core at the same time (kernel doc core-scheduling.rst, since Linux 5.14).
///
/// # Errors
/// If the kernel cannot, or the processor has no siblings to share.
pub fn own_core_cookie() -> Result<()> {
    sys::sched::create_core_cookie().sys("prctl", "PR_SCHED_CORE_CREATE").during(Phase::Launch)
}

/// Starts a program with the descriptors of `stdio` as 0 to 2 and those of `others` from 3 on, and with no others.
///
/// # Errors
/// If it cannot be executed.
pub fn spawn(
    path: &Path,
    args: &[String],
    env: &[String],
    stdio: [BorrowedFd<'_>; 3],
    others: &[BorrowedFd<'_>],
) -> Result<Pid> {
    // Out of the way: giving one its number must not close another that is still to be given one.
    let aside = |fd: &BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, ASIDE);
    let held: Vec<OwnedFd> = others.iter().map(aside).collect::<Result<_, Errno>>().sys("fcntl", "F_DUPFD_CLOEXEC")?;
    let others: Vec<BorrowedFd<'_>> = held.iter().map(AsFd::as_fd).collect();
    let text = |text: &str| CString::new(text).map_err(|_| Error::invalid(path.display(), "it contains NUL"));
    let strings = |list: &[String]| list.iter().map(|string| text(string)).collect::<Result<Vec<_>>>();
    let (args, env) = (strings(args)?, strings(env)?);
    let path_text = text(&path.to_string_lossy())?;
    let program = Program { path: &path_text, args: &args, env: &env, stdio, others: &others, cwd: None };
    sys::spawn::spawn(&program).sys("execve", path.display())
}

fn alone() -> Result<SingleThreaded> {
    SingleThreaded::prove()
        .sys("stat", "/proc/self/task: the caller of libcontainer must have one thread")
        .during(Phase::Launch)
}
