//! Waiting for a container's process as a shell waits for its job: signals are passed on, the terminal is relayed, orphans
//! are reaped, and the status is ours. One thread, one poll loop.

mod relay;
mod terminal;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use libcontainer::container::{Launched, NotifyRelay};
use libcontainer::process::signals;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus};

use self::relay::Relay;
use self::terminal::Terminal;
pub use self::terminal::size;
use crate::logging::Log;
use crate::signal_names;

/// What a shell adds to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// Ready to wait: from here on every signal is ours to handle.
#[derive(Debug)]
pub struct Foreground {
    signals: OwnedFd,
    reaps_orphans: bool,
}

impl Foreground {
    /// Must come before the launch, so that no signal is lost in between.
    ///
    /// # Errors
    /// If signals cannot be blocked.
    pub fn prepare(subreaper: bool, log: &Log) -> Result<Foreground> {
        if subreaper && let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            log.warning(format_args!("cannot become a subreaper: {error}"));
        }
        signals::block_all()?;
        Ok(Foreground { signals: signals::signalfd()?, reaps_orphans: subreaper })
    }

    /// Waits for the process; gives its status, or 128 and the number of the signal that ended it.
    ///
    /// # Errors
    /// If its terminal cannot be relayed. The process is then killed.
    pub fn attend(self, launched: Launched, log: &Log) -> Result<u8> {
        let Launched { pid, pidfd, console, notify, warnings, .. } = launched;
        log.warnings(&warnings);
        let watch = Watch { foreground: self, pid, pidfd, log };
        let outcome = watch.wait(console, notify);
        if outcome.is_err() {
            watch.kill();
        }
        outcome
    }
}

/// The process that is waited for.
struct Watch<'a> {
    foreground: Foreground,
    pid: Pid,
    pidfd: OwnedFd,
    log: &'a Log,
}

/// Where the descriptors stand in the list that is polled.
#[derive(Clone, Copy)]
struct Ready {
    signals: bool,
    process: bool,
    console: PollFlags,
    input: bool,
    output: bool,
    notify: bool,
}

impl Watch<'_> {
    fn wait(&self, console: Option<OwnedFd>, mut notify: Option<NotifyRelay>) -> Result<u8> {
        let terminal = console.map(Terminal::attach).transpose().context("cannot relay the container's terminal")?;
        let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        let mut relay = terminal.as_ref().map(|terminal| Relay::new(terminal.console(), stdin, stdout));
        let status = loop {
            let ready = self.poll(relay.as_ref(), notify.as_ref()).context("poll")?;
            if ready.notify
                && let Some(payload) = notify.take()
            {
                match payload.forward() {
                    Ok(true) => {}
                    Ok(false) => notify = Some(payload),
                    Err(error) => self.log.warning(error),
                }
            }
            if ready.signals
                && let Some(status) = self.handle_signals(terminal.as_ref())
            {
                break status;
            }
            if let Some(relay) = &mut relay {
                relay.serve(ready.console, ready.input, ready.output);
            }
            if ready.process {
                break self.collect()?;
            }
        };
        if let Some(relay) = &mut relay {
            relay.drain();
        }
        self.log.debug(|| format!("process {} exited with {status}", self.pid.as_raw_nonzero()));
        Ok(status)
    }

    fn poll(&self, relay: Option<&Relay<'_>>, notify: Option<&NotifyRelay>) -> Result<Ready, Errno> {
        let signals = self.foreground.signals.as_fd();
        let watch = |interest| watched(interest, signals);
        let mut fds = [
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN),
            watch(relay.and_then(Relay::console_interest)),
            watch(relay.and_then(Relay::input_interest)),
            watch(relay.and_then(Relay::output_interest)),
            watch(notify.map(|payload| (payload.as_fd(), PollFlags::IN))),
        ];
        let timeout = relay.and_then(Relay::timeout);
        rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))?;
        let is_ready = |index: usize| !fds[index].revents().is_empty();
        let [signals, process, input, output, notify] = [0, 1, 3, 4, 5].map(is_ready);
        Ok(Ready { signals, process, console: fds[2].revents(), input, output, notify })
    }

    /// Gives the process's status if it was found among the children that have exited.
    fn handle_signals(&self, terminal: Option<&Terminal>) -> Option<u8> {
        let mut status = None;
        while let Some(signal) = signals::read_signal(&self.foreground.signals) {
            match Signal::from_named_raw(signal) {
                Some(Signal::CHILD) if self.foreground.reaps_orphans => status = status.or(self.reap()),
                Some(Signal::WINCH) => terminal.into_iter().for_each(Terminal::resize),
                // SIGPIPE and SIGURG are about our own descriptors.
                Some(Signal::CHILD | Signal::PIPE | Signal::URG) => {}
                _ => self.forward(signal),
            }
        }
        status
    }

    fn forward(&self, signal: i32) {
        self.log.debug(|| {
            let name = signal_names::name(signal);
            format!("forwarding signal {signal} ({name}) to {}", self.pid.as_raw_nonzero())
        });
        match signals::send(&self.pidfd, signal) {
            Err(error) if error.errno() != Some(Errno::SRCH) => self.log.warning(error),
            _ => {}
        }
    }

    /// Processes whose parents have died are our children then.
    fn reap(&self) -> Option<u8> {
        let mut status = None;
        while let Ok(Some((pid, exit))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                status = Some(shell_status(exit.exit_status(), exit.terminating_signal()));
            } else {
                self.log.debug(|| format!("reaped {}: {}", pid.as_raw_nonzero(), describe(exit)));
            }
        }
        status
    }

    fn collect(&self) -> Result<u8> {
        let exit = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        let exit = exit.context("waitid")?.context("waitid: the process has not exited")?;
        Ok(shell_status(exit.exit_status(), exit.terminating_signal()))
    }

    fn kill(&self) {
        if signals::send(&self.pidfd, Signal::KILL.as_raw()).is_ok()
            && let Err(error) = self.collect()
        {
            self.log.debug(|| error);
        }
    }
}

/// To poll for what is of interest, if anything is; nothing ever happens on `idle`, which is polled for nothing.
fn watched<'a>(interest: Option<(BorrowedFd<'a>, PollFlags)>, idle: BorrowedFd<'a>) -> PollFd<'a> {
    let (fd, flags) = interest.unwrap_or((idle, PollFlags::empty()));
    PollFd::from_borrowed_fd(fd, flags)
}

fn describe(exit: WaitStatus) -> String {
    match (exit.exit_status(), exit.terminating_signal()) {
        (_, Some(signal)) => signal_names::name(signal),
        (status, None) => format!("status {}", status.unwrap_or_default()),
    }
}

fn shell_status(status: Option<i32>, signal: Option<i32>) -> u8 {
    let number = signal.map_or(status.unwrap_or_default(), |signal| SIGNALLED + signal);
    number.to_le_bytes()[0]
}
