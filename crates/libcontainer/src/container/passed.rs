//! Descriptors that the caller passes on to the payload: those of systemd's socket activation (`LISTEN_FDS`,
//! sd_listen_fds(3)), then those of `--preserve-fds`.

use std::os::fd::RawFd;

use crate::error::{During, Error, Phase, Result, SysContext};
use crate::spec::Process;
use crate::sys;

/// The first descriptor after stdio.
const FIRST: RawFd = 3;
/// More than any process can have open (fs.nr_open).
const MOST: u32 = 1 << 20;

/// How many descriptors the caller's manager passed to this process.
fn listening() -> u32 {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let is_for_us = number("LISTEN_PID") == Some(std::process::id());
    number("LISTEN_FDS").filter(|_| is_for_us).unwrap_or(0)
}

/// How many descriptors from 3 on the payload gets.
///
/// # Errors
/// If one of them is not open, or is the runtime's own (those are close-on-exec, the caller's are not): what takes its
/// place could be anything.
pub(crate) fn count(preserve: u32) -> Result<RawFd> {
    let total = listening().checked_add(preserve).filter(|total| *total <= MOST);
    let total = total.and_then(|total| RawFd::try_from(total).ok()).ok_or_else(|| {
        Error::invalid("--preserve-fds", format!("with LISTEN_FDS it asks for more than {MOST} descriptors"))
            .during(Phase::Launch)
    })?;
    for number in FIRST..FIRST + total {
        if !sys::fd::is_inherited(number) {
            return Err(Error::invalid("--preserve-fds", format!("descriptor {number} is not open"))
                .remedy("pass as many open descriptors, from 3 on, as the flag says")
                .during(Phase::Launch));
        }
    }
    // What the caller left open and did not pass on is not for hooks either.
    sys::fd::close_on_exec_from(FIRST, crate::host::own_descriptors)
        .sys("close_range", "descriptors of the caller")
        .during(Phase::Launch)?;
    Ok(total)
}

/// Tells the payload of the activated sockets: it will be process 1 of its PID namespace, as runc assumes too.
pub(crate) fn announce(process: &mut Process) {
    let sockets = listening();
    if sockets > 0 {
        process.env.push(format!("LISTEN_FDS={sockets}"));
        process.env.push("LISTEN_PID=1".to_owned());
    }
}
