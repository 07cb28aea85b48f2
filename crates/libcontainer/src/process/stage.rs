//! The stage: a process in between, for what only takes effect in children. It joins the PID namespace, clones the
//! container's process as its sibling, tells the parent and is gone.

use std::os::fd::AsFd;

use super::channel::{Channel, Message};
use super::launch;
use crate::error::{During, Phase, Result, SysContext};
use crate::sys::clone::{CloneArgs, Cloned, SingleThreaded, clone3};

/// Which of the two the caller is after [`divide`].
pub(crate) enum Side {
    /// The container's process.
    Child,
    /// The stage, with nothing left to do but to exit.
    Stage,
}

/// Clones the container's process and tells the parent of it. PID namespaces were joined before.
pub(crate) fn divide(proof: &SingleThreaded, channel: &Channel) -> Result<Side> {
    let args = CloneArgs { sibling: true, ..CloneArgs::default() };
    match clone3(proof, args).sys("clone3", "the container's process").during(Phase::Launch)? {
        Cloned::Child(_) => {
            // The stage's message must be the first: who this is.
            launch::await_proceed(channel)?;
            Ok(Side::Child)
        }
        Cloned::Parent(pid, pidfd) => {
            channel.send(&Message::Cloned(pid.as_raw_pid()), Some(pidfd.as_fd()))?;
            Ok(Side::Stage)
        }
    }
}
