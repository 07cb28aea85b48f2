//! The stage: a process in between, for what only takes effect in children. It joins namespaces, clones the container's
//! process as its sibling, tells the parent and is gone.

use std::os::fd::AsFd;

use super::channel::{Channel, Message};
use super::launch;
use crate::error::{During, Phase, Result, SysContext};
use crate::sys::clone::{CloneArgs, Cloned, SingleThreaded, clone3, exit_now};

/// Clones the container's process, with the `CLONE_NEW*` flags that it must be born with, and tells the parent of it;
/// namespaces were joined before. Returns in the clone, the stage exits here.
pub(crate) fn pass(alone: &SingleThreaded, channel: &Channel, namespaces: u64) -> Result<()> {
    let args = CloneArgs { sibling: true, namespaces, ..CloneArgs::default() };
    match clone3(alone, args).sys("clone3", "the container's process").during(Phase::Launch)? {
        Cloned::Child(_) => {
            launch::die_with_parent();
            // The stage's message must be the first: who this is.
            launch::await_proceed(channel)
        }
        Cloned::Parent(pid, pidfd) => {
            channel.send(&Message::Cloned(pid.as_raw_pid()), Some(pidfd.as_fd()))?;
            exit_now(0)
        }
    }
}
