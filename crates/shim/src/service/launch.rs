//! What create and exec have in common once the streams are open: the worker's launch, and what the shim keeps of it.

use std::os::fd::OwnedFd;

use libcontainer::container::Launched;
use libcontainer::error::Result as Made;
use rustix::fs::OFlags;
use rustix::process::Pid;

use crate::io::logger::Logger;
use crate::io::pump::Pump;
use crate::io::{Opened, Role};
use crate::process::{Held, Name};
use crate::shim::Shim;
use crate::ttrpc::{Code, Status};
use crate::worker::{Outcome, Report};

/// In a worker: has `make` launch a process on streams that are open, and reports it. If it fails, its logger has
/// nothing to wait for.
pub(super) fn launch(opened: Opened, make: impl FnOnce() -> Made<Launched>) -> Outcome {
    let Opened { child, mut kept, logger } = opened;
    let launched = take_as_own(&child).and_then(|()| Ok(make()?));
    let launched = launched.inspect_err(|_| logger.iter().for_each(Logger::kill))?;
    kept.extend(launched.console.map(|console| (Role::Console, console)));
    Ok(Report {
        pid: launched.pid.as_raw_pid(),
        logger: logger.map(|logger| logger.pid.as_raw_pid()),
        warnings: launched.warnings,
        kept,
        ..Report::default()
    })
}

/// Makes streams those of the calling process, which what it launches inherits.
fn take_as_own(streams: &[OwnedFd; 3]) -> Result<(), Status> {
    let [stdin, stdout, stderr] = streams;
    let taken = rustix::stdio::dup2_stdin(stdin)
        .and_then(|()| rustix::stdio::dup2_stdout(stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr));
    taken.map_err(|errno| Status::new(Code::UNKNOWN, format!("dup2: {errno}")))
}

impl Shim {
    /// Keeps what a process leaves open here, and relays what has to be relayed.
    pub(super) fn hold(&mut self, name: &Name, report: Report) {
        let has_lost_logger = report.logger.is_some_and(|pid| self.take_stranger(pid).is_some());
        let logger = report.logger.filter(|_| !has_lost_logger).and_then(Pid::from_raw);
        let mut held = Held { logger, ..Held::default() };
        let (mut pumps, mut keys) = (Vec::new(), None);
        let (mut typed, mut screen, mut piped) = (None, None, None);
        for (role, fd) in report.kept {
            match role {
                Role::Output => held.outputs.push(fd),
                Role::Input => held.input = Some(fd),
                Role::Console => held.console = Some(fd),
                Role::Typed => typed = Some(fd),
                Role::Screen => screen = Some(fd),
                Role::Piped => piped = Some(fd),
                Role::File => pumps.extend(piped.take().map(|pipe| Pump::new(pipe, fd))),
            }
        }
        if let Some(console) = &held.console {
            let _ = rustix::fs::fcntl_setfl(console, OFlags::NONBLOCK);
            let master = || rustix::io::fcntl_dupfd_cloexec(console, 0).ok();
            pumps.extend(screen.zip(master()).map(|(screen, master)| Pump::new(master, screen)));
            keys = typed.zip(master()).map(|(typed, master)| Pump::new(typed, master));
        }
        held.typed = keys.map(|pump| self.add_pump(pump));
        held.pumps = pumps.into_iter().map(|pump| self.add_pump(pump)).collect();
        if let Some(process) = self.containers.get_mut(&name.container).and_then(|one| one.process_mut(&name.exec).ok())
        {
            process.held = held;
        }
        if has_lost_logger {
            self.lose_logger(name);
        }
    }
}
