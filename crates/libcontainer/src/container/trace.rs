//! What a launch has come to, for `--debug`: the steps have the names that runc's log has for them, since people and their
//! scripts look for those.

use rustix::process::Pid;

use crate::attributes::Cpus;
use crate::seccomp::Filter;
use crate::sys::sched::sched_getaffinity;

/// Is given a line for every step; none is made if nobody wants it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace(pub Option<fn(&str)>);

impl Trace {
    fn tell(self, line: impl FnOnce() -> String) {
        if let Some(tell) = self.0 {
            tell(&line());
        }
    }

    /// The process was cloned, on these CPUs.
    pub(super) fn cloned(self, pid: Pid, cpus: &Cpus) {
        let pid = pid.as_raw_nonzero();
        self.tell(|| format!("nsexec container setup: cloned process {pid}"));
        self.tell(|| {
            let mask = match cpus {
                Cpus::Only(bits) => hexadecimal(bits),
                Cpus::Unchanged | Cpus::All => hexadecimal(&sched_getaffinity().unwrap_or_default()),
            };
            format!("nsexec[{pid}]: affinity: {mask}")
        });
    }

    /// It has its namespaces and, if it is a container's first one, its root filesystem.
    pub(super) fn is_set_up(self) {
        self.tell(|| "child process in init(): namespaces, root filesystem and terminal are ready".to_owned());
    }

    /// It is about to get its filter and to go on.
    pub(super) fn lets_go(self, filter: Option<&Filter>) {
        if let Some(filter) = filter {
            self.tell(|| format!("seccomp filter flags: {}", filter.flags));
        }
    }

    /// It waits for `start`, or has executed the container's process.
    pub(super) fn is_complete(self, starts: bool) {
        let then = if starts { "its process is executed" } else { "it waits for start" };
        self.tell(|| format!("init: closing the pipe to signal completion: {then}"));
    }

    /// A joining process has nothing left to do but to execute this.
    pub(super) fn executes(self, args: &[String]) {
        self.tell(|| format!("setns_init: about to exec {args:?}"));
    }
}

/// The bits as one number; the first byte has the lowest.
fn hexadecimal(bits: &[u8]) -> String {
    let digits: String = bits.iter().rev().map(|byte| format!("{byte:02x}")).collect();
    let digits = digits.trim_start_matches('0');
    format!("0x{}", if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_of_cpus_is_one_number() {
        assert_eq!(hexadecimal(&[]), "0x0");
        assert_eq!(hexadecimal(&[0b101, 0, 0, 0]), "0x5");
        assert_eq!(hexadecimal(&[0, 0x10, 0xa, 0]), "0xa1000");
    }
}
