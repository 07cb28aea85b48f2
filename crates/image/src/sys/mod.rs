//! What the language cannot check.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves this process into a new user namespace, and a new mount namespace that belongs to that.
///
/// # Errors
/// EINVAL if the process has more than one thread.
pub fn unshare_user_and_mounts() -> Result<(), Errno> {
    // SAFETY: descriptors stay shared; only CLONE_FILES could take one from under another thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
}

/// Has the kernel kill what `command` starts when the thread that starts it ends.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe and allocates nothing.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) }
}
