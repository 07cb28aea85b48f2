//! Handing a filter's listener to the agent that answers for the container (config-linux.md "The Container Process
//! State").

use std::os::fd::BorrowedFd;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Listener;
use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::host::socket;
use crate::spec;

/// The spec's name of the one descriptor that goes along.
const SECCOMP_FD: &str = "seccompFd";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a RawValue,
}

/// Sends `fd`, the listener of the filter over process `pid`, with the container's `state` (JSON as runtime.md "State" has
/// it), on a connection of its own.
///
/// # Errors
/// If nobody listens there, or the agent is gone.
pub fn hand_over(listener: &Listener, fd: BorrowedFd<'_>, pid: i32, state: &[u8]) -> Result<()> {
    let garbled = |_| Error::new(Kind::System, "the container's state is not JSON").during(Phase::Seccomp);
    let state: &RawValue = serde_json::from_slice(state).map_err(garbled)?;
    let metadata = listener.metadata.as_str();
    let message = ContainerProcessState { oci_version: spec::VERSION, fds: [SECCOMP_FD], pid, metadata, state };
    let message = serde_json::to_vec(&message).map_err(garbled)?;
    let path = &listener.path;
    let connected = socket::connect(path).map_err(|error| {
        error
            .within("linux.seccomp.listenerPath")
            .cause("failed to connect with seccomp agent")
            .remedy("start the agent")
    });
    let connection = connected.during(Phase::Seccomp)?;
    socket::send(&connection, &message, fd).sys("sendmsg", path.display()).during(Phase::Seccomp)
}
