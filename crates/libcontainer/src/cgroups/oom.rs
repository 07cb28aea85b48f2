//! Whether a container ran out of memory. The kernel keeps the count until the cgroup is removed, so nothing of it is
//! stored.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::error::{During, Phase, Result, SysContext};

use super::stats::parse;
use super::{Cgroup, dir};

/// v1 shows "no limit" as the highest page of a signed number, whatever the size of a page is; v2's `max` is more.
const V1_UNLIMITED: u64 = i64::MAX as u64 - (1 << 20);

/// How close to its limit the kernel leaves a cgroup when it finds nothing more to give: it takes 64 pages at a time.
const BATCH: u64 = 64 * 4096;

/// The controller, and its files that count.
pub(super) const MEMORY: &str = "memory";
pub(super) const V1_COUNTS: &str = "memory.oom_control";
pub(super) const V2_COUNTS: &str = "memory.events";

/// That processes of a container were killed for lack of memory, as one says it to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// How many, since the cgroup was made; those of sub-cgroups included.
    pub kills: u64,
    /// The container's limit in bytes, if it has one.
    pub limit: Option<u64>,
    /// How many bytes it used at most, where the kernel knows (v1; v2 since Linux 5.19).
    pub peak: Option<u64>,
    /// Whether it was the container's own limit; otherwise that of a cgroup above or below it, or the host's memory.
    /// `None` if the cgroup is gone, and only systemd remembers that there was a kill.
    pub at_limit: Option<bool>,
}

impl Cgroup {
    /// Whether, and how, the OOM killer has killed a process of this container; `None` as well if nothing is left that
    /// could tell.
    ///
    /// A systemd scope vanishes with its last process, so systemd is asked then.
    ///
    /// # Errors
    /// [`Kind::System`](crate::error::Kind::System) if the cgroup is there and cannot be read.
    pub fn out_of_memory(&self) -> Result<Option<OutOfMemory>> {
        let Some(path) = self.dir_of(MEMORY) else { return Ok(None) };
        let v1 = self.legacy_dir_of(MEMORY).is_some();
        let read = || {
            let directory = dir::open(path)?;
            match kills(directory.as_fd(), v1)? {
                0 => Ok(None),
                kills => OutOfMemory::read(directory.as_fd(), v1, kills).map(Some),
            }
        };
        match read() {
            Err(errno) if dir::is_gone(errno) => self.remembered(),
            found => found.sys("read", path.display()).during(Phase::Stats),
        }
    }

    fn remembered(&self) -> Result<Option<OutOfMemory>> {
        let killed = self.unit_result()?.is_some_and(|result| result == "oom-kill");
        Ok(killed.then_some(OutOfMemory { kills: 1, limit: None, peak: None, at_limit: None }))
    }

    /// The container's own memory limit in bytes, as the kernel has it.
    pub fn memory_limit(&self) -> Option<u64> {
        let read = |path: &Path| {
            let file = if self.legacy_dir_of(MEMORY).is_some() { "memory.limit_in_bytes" } else { "memory.max" };
            finite(number(dir::open(path).ok()?.as_fd(), file))
        };
        self.dir_of(MEMORY).and_then(read)
    }
}

impl OutOfMemory {
    fn read(directory: BorrowedFd<'_>, v1: bool, kills: u64) -> Result<OutOfMemory, Errno> {
        let number = |file| number(directory, file);
        if v1 {
            let (limit, peak) = (finite(number("memory.limit_in_bytes")), number("memory.max_usage_in_bytes"));
            // Where swap is limited too, newer kernels (seen on 6.18) do not count the failure.
            let reached = limit.zip(peak).is_some_and(|(limit, peak)| peak.saturating_add(BATCH) >= limit);
            let at_limit = reached || number("memory.failcnt").is_some_and(|count| count > 0);
            return Ok(OutOfMemory { kills, limit, peak, at_limit: Some(at_limit) });
        }
        let counts = dir::read(directory, "memory.events.local").or_else(|_| dir::read(directory, V2_COUNTS))?;
        Ok(OutOfMemory {
            kills,
            limit: finite(number("memory.max")),
            peak: number("memory.peak"),
            at_limit: Some(parse::value_of(&counts, "oom").is_some_and(|count| count > 0)),
        })
    }

    /// What helps.
    pub fn remedy(&self) -> &'static str {
        match (self.at_limit, self.limit) {
            (Some(true), Some(_)) => "raise the limit",
            _ => "see the kernel's log for what used the memory",
        }
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kills {
            1 => f.write_str("the kernel killed a process of the container for lack of memory"),
            kills => write!(f, "the kernel killed {kills} processes of the container for lack of memory"),
        }?;
        match (self.at_limit, self.limit) {
            (Some(true), Some(limit)) => write!(f, ": the limit (linux.resources.memory.limit) is {limit} bytes"),
            (None, _) => Ok(()),
            _ => f.write_str(": not its own limit was met, but another cgroup's, or the host has no more"),
        }?;
        self.peak.map_or(Ok(()), |peak| write!(f, ", and it used up to {peak}"))
    }
}

fn finite(limit: Option<u64>) -> Option<u64> {
    limit.filter(|limit| *limit < V1_UNLIMITED)
}

fn number(directory: BorrowedFd<'_>, file: &str) -> Option<u64> {
    parse::number(&dir::read(directory, file).ok()?)
}

/// How many processes in this cgroup and below it the OOM killer has killed. v2 adds them up; v1 counts in the cgroup
/// that the process was in.
pub(super) fn kills(directory: BorrowedFd<'_>, v1: bool) -> Result<u64, Errno> {
    if !v1 {
        return dir::read(directory, V2_COUNTS).map(|text| kills_in(&text));
    }
    let mut sum = 0;
    let add = |directory: BorrowedFd<'_>| {
        sum += kills_in(&dir::read(directory, V1_COUNTS)?);
        Ok(())
    };
    dir::walk(directory, add, |_, _| Ok(()))?;
    Ok(sum)
}

/// The count in either version's file.
pub(super) fn kills_in(text: &str) -> u64 {
    parse::value_of(text, "oom_kill").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::stats::UNLIMITED;
    use super::*;

    #[test]
    fn it_is_told_with_limit_peak_and_remedy() {
        let one = OutOfMemory { kills: 1, limit: Some(1 << 20), peak: Some(1 << 20), at_limit: Some(true) };
        assert_eq!(
            one.to_string(),
            "the kernel killed a process of the container for lack of memory: the limit \
             (linux.resources.memory.limit) is 1048576 bytes, and it used up to 1048576"
        );
        assert_eq!(one.remedy(), "raise the limit");
        let two = OutOfMemory { kills: 2, limit: Some(1 << 30), peak: None, at_limit: Some(false) };
        assert_eq!(
            two.to_string(),
            "the kernel killed 2 processes of the container for lack of memory: not its own limit was met, but another \
             cgroup's, or the host has no more"
        );
        assert!(!two.remedy().contains("limit"));
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(finite(Some(9_223_372_036_854_771_712)), None); // v1 with pages of 4 KiB
        assert_eq!(finite(Some(9_223_372_036_854_710_272)), None); // with pages of 64 KiB
        assert_eq!(finite(Some(UNLIMITED)), None);
        assert_eq!(finite(Some(524_288)), Some(524_288));
    }
}
