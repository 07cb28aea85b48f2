//! posix_spawn(3): another program beside this one, from any thread and whatever signals it blocks.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use super::exec::pointers;

/// What to execute, and with what.
#[derive(Debug)]
pub struct Program<'a> {
    /// The executable; no search in `PATH`.
    pub path: &'a CStr,
    /// From argv[0] on.
    pub args: &'a [CString],
    /// The whole environment.
    pub env: &'a [CString],
    /// Its descriptors 0, 1 and 2. It gets every other one too that is not close-on-exec.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Its descriptors from 3 on; each must have a number above all of those.
    pub others: &'a [BorrowedFd<'a>],
    /// The directory to start in, if not this process's.
    pub cwd: Option<&'a CStr>,
}

/// Starts `program` with no signal blocked and every signal at its default; gives its pid, for the caller to wait for.
///
/// It costs no copy of the page tables (`CLONE_VM | CLONE_VFORK`), and a failed execve is reported here.
pub fn spawn(program: &Program<'_>) -> Result<Pid, Errno> {
    let (args, env) = (pointers(program.args), pointers(program.env));
    let actions = Actions::new(program)?;
    let attributes = Attributes::new()?;
    let mut pid: libc::pid_t = 0;
    // SAFETY: path and both arrays are null-terminated, actions and attributes initialised; all outlive the call, which
    // does not change the strings (its `*mut` is historical).
    succeeded(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            args.as_ptr().cast(),
            env.as_ptr().cast(),
        )
    })?;
    Pid::from_raw(pid).ok_or(Errno::INVAL)
}

/// The posix_spawn family returns the error number instead of setting errno.
fn succeeded(result: libc::c_int) -> Result<(), Errno> {
    if result == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(result)) }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new(program: &Program<'_>) -> Result<Self, Errno> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the call initialises what it points to, or fails.
        succeeded(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: just initialised.
        let mut actions = Actions(unsafe { actions.assume_init() });
        if let Some(cwd) = program.cwd {
            // SAFETY: the path is null-terminated and copied by the call.
            succeeded(unsafe { libc::posix_spawn_file_actions_addchdir_np(&raw mut actions.0, cwd.as_ptr()) })?;
        }
        for (target, source) in program.stdio.iter().chain(program.others).enumerate() {
            let (source, target) = (source.as_raw_fd(), target as libc::c_int);
            // SAFETY: only numbers are recorded; the descriptors live until the spawn, being borrowed by `program`.
            succeeded(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions.0, source, target) })?;
        }
        Ok(actions)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, and used no more.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> Result<Self, Errno> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the call initialises what it points to, or fails.
        succeeded(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: just initialised.
        let mut attributes = Attributes(unsafe { attributes.assume_init() });
        let (mut none, mut all) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: both calls initialise the set that they are given, and cannot fail.
        let (none, all) = unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigfillset(all.as_mut_ptr());
            (none.assume_init(), all.assume_init())
        };
        let flags = (libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF) as libc::c_short;
        // SAFETY: the attributes are initialised; the sets are copied.
        unsafe {
            succeeded(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, &raw const none))?;
            succeeded(libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, &raw const all))?;
            succeeded(libc::posix_spawnattr_setflags(&raw mut attributes.0, flags))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, and used no more.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}
