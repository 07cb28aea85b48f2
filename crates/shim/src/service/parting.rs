//! What a deleted process has left: output that is read yet, and a logger that writes it down. The answer to `Delete`
//! waits for both.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::backlog::Draining;
use crate::process::{Caller, Held};
use crate::shim::Shim;

/// How long a logger has to end by itself, at the end of its input; then it is told to, and has a while to write out
/// what it has, as containerd grants it; then it is killed.
const LOGGER_LIMITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(12)];

/// A process that is deleted.
#[derive(Debug)]
pub struct Parting {
    held: Held,
    caller: Caller,
    answer: Vec<u8>,
    stage: Stage,
}

/// What is waited for, in this order.
#[derive(Debug)]
enum Stage {
    /// The readers of its output.
    Draining(Draining),
    /// Its logger's end, since when, and how many of [`LOGGER_LIMITS`] are over.
    Logging(Instant, usize),
}

impl Parting {
    /// When it is to be looked after.
    pub fn deadline(&self) -> Instant {
        match self.stage {
            Stage::Draining(ref draining) => draining.deadline(),
            Stage::Logging(since, pressed) => {
                since + LOGGER_LIMITS.get(pressed).copied().unwrap_or(Duration::from_secs(3600))
            }
        }
    }
}

impl Shim {
    /// Answers when nothing of a process is left.
    pub(super) fn part(&mut self, caller: Caller, held: Held, answer: Vec<u8>) {
        held.pumps.iter().for_each(|pump| self.finish_pump(*pump));
        let now = Instant::now();
        self.partings.push(Parting { held, caller, answer, stage: Stage::Draining(Draining::begin(now)) });
        self.look_after_partings(now);
    }

    /// Answers where everything was read, and presses loggers that take too long.
    pub(crate) fn look_after_partings(&mut self, now: Instant) {
        for mut parting in std::mem::take(&mut self.partings) {
            if let Stage::Draining(draining) = &mut parting.stage {
                if self.still_drains(&mut parting.held, draining, now) {
                    self.partings.push(parting);
                    continue;
                }
                parting.stage = Stage::Logging(now, 0);
            }
            match parting.held.logger {
                Some(logger) => {
                    press(logger, &mut parting, now);
                    self.partings.push(parting);
                }
                None => self.answer(parting.caller, Ok(parting.answer)),
            }
        }
    }

    /// A child has ended: whether it was a logger.
    pub(crate) fn part_from(&mut self, pid: Pid) -> bool {
        let Some(parting) = self.partings.iter_mut().find(|parting| parting.held.logger == Some(pid)) else {
            return self.part_from_logger(pid);
        };
        // Nobody reads what it has left.
        parting.held.logger = None;
        parting.held.outputs.clear();
        self.look_after_partings(Instant::now());
        true
    }
}

fn press(logger: Pid, parting: &mut Parting, now: Instant) {
    if parting.deadline() > now {
        return;
    }
    if let Stage::Logging(_, pressed) = &mut parting.stage {
        let signal = if *pressed == 0 { Signal::TERM } else { Signal::KILL };
        let _ = kill_process(logger, signal);
        *pressed += 1;
    }
}
