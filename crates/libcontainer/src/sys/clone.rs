//! clone3(2): new processes, born in their cgroup and held by a pidfd.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::process::Pid;

use super::check;

/// linux/sched.h; libc's own constant has lost its upper half.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Proof that this process has one thread, which is what makes [`clone3`] sound: in the copy, locks that other threads
/// held (the allocator's among them) would stay locked for ever. Not `Send`, so it cannot outlive that by being moved
/// into a thread.
#[derive(Debug)]
pub struct SingleThreaded(PhantomData<*const ()>);

impl SingleThreaded {
    /// Counts the threads (the links of /proc/self/task); `EAGAIN` if there are several.
    pub fn prove() -> Result<SingleThreaded, Errno> {
        let tasks = rustix::fs::statat(CWD, c"/proc/self/task", AtFlags::empty())?;
        // A directory for each thread; the other two links are its own `.` and the entry in its parent.
        if tasks.st_nlink == 3 { Ok(SingleThreaded(PhantomData)) } else { Err(Errno::AGAIN) }
    }
}

#[cfg(test)]
impl SingleThreaded {
    /// For tests, which have threads: the copy may only make system calls, take no lock and not allocate.
    pub fn pretend() -> SingleThreaded {
        SingleThreaded(PhantomData)
    }
}

/// What the new process is to be born with.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` flags.
    pub namespaces: u64,
    /// Make the caller's parent its parent (`CLONE_PARENT`); its exit is then the caller's parent's to collect.
    pub sibling: bool,
    /// A cgroup v2 directory to be born in (`CLONE_INTO_CGROUP`, since Linux 5.7). A kernel that does not know it says
    /// `EINVAL`, `E2BIG` or `ENOSYS`.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Which side of the clone the caller finds itself on.
#[derive(Debug)]
pub enum Cloned {
    /// In the new process, which begins with one thread.
    Child(SingleThreaded),
    /// In the old one: the new process's pid, as the caller's PID namespace numbers it, and its pidfd (close-on-exec).
    Parent(Pid, OwnedFd),
}

/// Makes a new process that is a copy of this one, as fork(2) does.
pub fn clone3(_proof: &SingleThreaded, args: CloneArgs<'_>) -> Result<Cloned, Errno> {
    // SAFETY: the proof says that no other thread holds a lock.
    Ok(match unsafe { copy(args) }? {
        None => Cloned::Child(SingleThreaded(PhantomData)),
        Some((pid, pidfd)) => Cloned::Parent(pid, pidfd),
    })
}

/// The copy itself: by clone3(2), since Linux 5.3, or where that is missing by clone(2). `None` in the child.
///
/// # Safety
/// In the child, no lock may be taken that another thread of the parent may have held.
unsafe fn copy(args: CloneArgs<'_>) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    let mut pidfd: RawFd = -1;
    let parent = if args.sibling { libc::CLONE_PARENT as u64 } else { 0 };
    let into_cgroup = if args.cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    // SAFETY: clone_args is a plain C struct for which all zeroes is a valid value.
    let mut raw: libc::clone_args = unsafe { std::mem::zeroed() };
    raw.flags = args.namespaces | parent | into_cgroup | libc::CLONE_PIDFD as u64;
    raw.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the signal is the caller's own; the kernel wants 0 here.
    raw.exit_signal = if args.sibling { 0 } else { libc::SIGCHLD as u64 };
    raw.cgroup = args.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64);
    // SAFETY: no stack and no CLONE_VM, so the child runs on a copy of this stack; `raw` outlives the call; the caller
    // promises the rest.
    let pid = match check(unsafe { libc::syscall(libc::SYS_clone3, &raw const raw, size_of::<libc::clone_args>()) }) {
        // clone(2) cannot put the child into a cgroup: the caller learns that, and asks again without.
        Err(Errno::NOSYS) if args.cgroup.is_none() => {
            let (flags, none) = (raw.flags | raw.exit_signal, std::ptr::null_mut::<libc::c_void>());
            // SAFETY: as above; the third argument is where CLONE_PIDFD (since Linux 5.2) puts its descriptor, and
            // the last two, whose order machines disagree about, are not used.
            check(unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) })
        }
        result => result,
    }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(Pid::from_raw(pid as i32).map(|pid| (pid, unsafe { OwnedFd::from_raw_fd(pidfd) })))
}

/// Makes a process that only holds new namespaces (`CLONE_NEW*` flags): it waits to be killed, and dies with its parent.
pub fn hold(namespaces: u64) -> Result<(Pid, OwnedFd), Errno> {
    let parent = rustix::process::getpid();
    clone_plainly(namespaces, || wait_to_be_killed(parent))
}

/// Makes a process that goes into a namespace (`kind` its one `CLONE_NEW*` flag) and ends, with the error number of that as
/// its status: until it is collected, its files in /proc tell of the namespace.
pub fn visit(namespace: BorrowedFd<'_>, kind: u64) -> Result<(Pid, OwnedFd), Errno> {
    clone_plainly(0, || exit_now(enter(namespace, kind).map_or_else(Errno::raw_os_error, |()| 0)))
}

/// Whoever has CAP_SYS_PTRACE in a user namespace may trace what enters it, and would have this program's memory and
/// descriptors, if it sees it (by the host's PID namespace); but not what cannot be dumped (CVE-2016-9962).
fn enter(namespace: BorrowedFd<'_>, kind: u64) -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    super::namespace::setns(namespace, kind)
}

/// It needs no proof that the caller is alone: `child` makes system calls and touches nothing that a lock could guard.
fn clone_plainly(namespaces: u64, child: impl FnOnce()) -> Result<(Pid, OwnedFd), Errno> {
    // SAFETY: the child runs nothing but the system calls of `child`.
    match unsafe { copy(CloneArgs { namespaces, ..CloneArgs::default() }) }? {
        None => {
            child();
            exit_now(0)
        }
        Some(made) => Ok(made),
    }
}

fn wait_to_be_killed(parent: Pid) {
    // SAFETY: none of these calls takes memory; a parent that is gone already cannot kill us by its death.
    unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        while libc::syscall(libc::SYS_getppid) == libc::c_long::from(parent.as_raw_pid()) {
            libc::syscall(libc::SYS_pause);
        }
    }
}

/// Ends a cloned process at once: nothing of the copied program (buffers, exit handlers) may run twice.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::process::{
        DumpableBehavior, Signal, WaitId, WaitIdOptions, dumpable_behavior, pidfd_send_signal, waitid,
    };

    use super::*;
    use crate::testing::is_root;

    #[test]
    fn who_visits_a_user_namespace_cannot_be_dumped_there() {
        if !is_root("who_visits_a_user_namespace_cannot_be_dumped_there") {
            return;
        }
        let (pid, holder) = hold(libc::CLONE_NEWUSER as u64).expect("a namespace");
        let path = format!("/proc/{}/ns/user", pid.as_raw_pid());
        let namespace = openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("open");
        let look = || {
            let entered = enter(namespace.as_fd(), libc::CLONE_NEWUSER as u64);
            let hidden = matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
            exit_now(if entered.is_ok() && hidden { 7 } else { 8 })
        };
        let (_, visitor) = clone_plainly(0, look).expect("a visitor");
        let end = |pidfd: &OwnedFd| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).expect("waitid");
        assert_eq!(end(&visitor).and_then(|ended| ended.exit_status()), Some(7));
        pidfd_send_signal(&holder, Signal::KILL).expect("kill");
        end(&holder);
    }
}
