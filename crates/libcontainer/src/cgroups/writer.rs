//! Carries [`CgroupWrite`]s out, and takes them back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Kind, Result};

use super::{CgroupWrite, IfMissing, dir};

/// A file that was written to, and what puts it back to what it was.
#[derive(Debug, PartialEq)]
pub(super) struct Before {
    file: String,
    value: String,
}

/// Carries writes out in order; a file that is written several times in a row is opened once. With a `log`, what each
/// file was before is noted there, also on failure.
pub(super) fn write_all(
    fd: BorrowedFd<'_>,
    path: &Path,
    writes: &[CgroupWrite],
    log: Option<&mut Vec<Before>>,
) -> Result<()> {
    let mut writer = Writer { fd, opened: None, log };
    let mut waiting = Vec::new();
    for write in writes {
        match (writer.put(&write.file, &write.value), &write.if_missing) {
            (Ok(()), _) | (Err(Errno::NOENT), IfMissing::Ignore) => {}
            (Err(Errno::NOENT), IfMissing::Use { file, value }) => {
                writer.put(file, value).map_err(|errno| refused(write, file, value, (fd, path), errno))?;
            }
            (Err(Errno::INVAL), _) if write.may_wait => waiting.push(write),
            (Err(errno), _) => return Err(refused(write, &write.file, &write.value, (fd, path), errno)),
        }
    }
    for write in waiting {
        let written = writer.put(&write.file, &write.value);
        written.map_err(|errno| refused(write, &write.file, &write.value, (fd, path), errno))?;
    }
    Ok(())
}

struct Writer<'a, 'log> {
    fd: BorrowedFd<'a>,
    opened: Option<(&'a str, OwnedFd)>,
    log: Option<&'log mut Vec<Before>>,
}

impl<'a> Writer<'a, '_> {
    fn put(&mut self, file: &'a str, value: &str) -> Result<(), Errno> {
        let before = self.log.as_ref().and_then(|_| Before::read(self.fd, file, value));
        let open = match self.opened.take() {
            Some((name, open)) if name == file => open,
            _ => dir::open_to_write(self.fd, file)?,
        };
        let written = dir::put(open.as_fd(), value);
        self.opened = Some((file, open));
        written?;
        if let Some(log) = &mut self.log {
            log.extend(before);
        }
        Ok(())
    }
}

impl Before {
    /// None if that cannot be known, or be written.
    fn read(fd: BorrowedFd<'_>, file: &str, written: &str) -> Option<Before> {
        let value = former(file, written, &dir::read(fd, file).ok()?)?;
        Some(Before { file: file.to_owned(), value })
    }
}

/// Puts files back, the last one first: the kernel has accepted every state on the way. Gives the first failure.
pub(super) fn take_back(fd: BorrowedFd<'_>, path: &Path, log: &[Before]) -> Result<(), String> {
    let mut outcome = Ok(());
    for Before { file, value } in log.iter().rev() {
        if let Err(errno) = dir::write(fd, file, value) {
            let failure = format!("{} could not be put back to \"{value}\": {errno}", path.join(file).display());
            outcome = outcome.and(Err(failure));
        }
    }
    outcome
}

/// What has to be written to a file that reads `text`, to undo `written`.
fn former(file: &str, written: &str, text: &str) -> Option<String> {
    let key = written.split(' ').next().unwrap_or_default();
    let first = text.lines().next().unwrap_or_default().trim_end();
    match file {
        "memory.oom_control" => Some(first.rsplit(' ').next().unwrap_or_default().to_owned()),
        _ if is_keyed(file, key) => {
            let same = text.lines().find(|line| line.split(' ').next() == Some(key));
            Some(same.map_or_else(|| unset(file, written), |line| line.trim_end().to_owned()))
        }
        "cgroup.subtree_control" => None,
        // An empty write does not reach the kernel.
        _ if first.is_empty() => Some("\n".to_owned()),
        _ => Some(first.to_owned()),
    }
}

/// Whether the file has a line for each device or interface, of which one is written at a time.
fn is_keyed(file: &str, key: &str) -> bool {
    let by_device = (file.starts_with("io.") || file.starts_with("blkio.")) && key.contains(':');
    by_device || matches!(file, "rdma.max" | "misc.max" | "net_prio.ifpriomap")
}

/// A line that takes away what `written` sets.
fn unset(file: &str, written: &str) -> String {
    let mut words = written.split(' ');
    let mut line = words.next().unwrap_or_default().to_owned();
    for word in words {
        line.push(' ');
        match word.split_once('=') {
            Some((name, _)) => line.extend([name, "=max"]),
            None if file.contains("weight") => line.push_str("default"),
            None if file == "misc.max" => line.push_str("max"),
            None => line.push('0'),
        }
    }
    line
}

pub(super) fn refused(
    write: &CgroupWrite,
    file: &str,
    value: &str,
    (fd, path): (BorrowedFd<'_>, &Path),
    errno: Errno,
) -> Error {
    let call = if errno == Errno::NOENT { "open" } else { "write" };
    let subject = format!("\"{value}\" to {}", path.join(file).display());
    let error = Error::system(call, subject, errno).within(&write.field);
    match errno {
        Errno::NOENT => error
            .of_kind(Kind::Unsupported)
            .cause(format!("this kernel, or this cgroup's {} controller, has no such limit", write.controller())),
        Errno::INVAL | Errno::RANGE => {
            error.of_kind(Kind::Invalid).cause(format!("the kernel does not take this value{}", condition(file)))
        }
        Errno::NODEV | Errno::NXIO => error.of_kind(Kind::Invalid).cause("there is no such device"),
        Errno::BUSY if write.controller() == "cpuset" => error.cause("a sub-cgroup has more than that"),
        Errno::BUSY => error.cause(format!("more than that is in use{}", usage(fd, file))),
        Errno::PERM if write.controller() == "devices" => error.cause("the parent cgroup does not allow this device"),
        Errno::ACCESS | Errno::NOSPC if write.controller() == "cpuset" => {
            error.cause("the parent does not have them all")
        }
        _ => error,
    }
}

/// What a value has to agree with besides its own range.
fn condition(file: &str) -> &'static str {
    match file {
        "memory.limit_in_bytes" => ", which must not be above that of memory and swap together",
        "memory.memsw.limit_in_bytes" => ", which must not be below that of memory alone",
        "cpu.shares" | "cpu.weight" => ", and none at all while cpu.idle is 1",
        "cpu.max" | "cpu.cfs_quota_us" | "cpu.cfs_period_us" => {
            ", which must be no less than the burst, and within what the parent cgroup has"
        }
        "cpu.max.burst" | "cpu.cfs_burst_us" => ", which must not be above the quota",
        _ => "",
    }
}

/// How much is in use, where the file of a limit of v1 has such neighbours.
fn usage(fd: BorrowedFd<'_>, file: &str) -> String {
    let Some(prefix) = file.strip_suffix("limit_in_bytes") else { return String::new() };
    let read = |name: &str| dir::read(fd, &format!("{prefix}{name}"));
    match (read("usage_in_bytes"), read("max_usage_in_bytes")) {
        (Ok(now), Ok(most)) => format!(" ({} bytes, at most {})", now.trim_end(), most.trim_end()),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_can_be_put_back() {
        for (file, written, text, wanted) in [
            ("memory.max", "1048576", "max\n", "max"),
            ("cpu.max", "5000 10000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0-6:1/3", "\n", "\n"),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "0"),
            ("io.bfq.weight", "500", "default 100\n8:0 200\n", "default 100"),
            ("io.bfq.weight", "8:0 300", "default 100\n8:0 200\n", "8:0 200"),
            ("io.bfq.weight", "8:16 300", "default 100\n8:0 200\n", "8:16 default"),
            (
                "io.max",
                "8:0 rbps=7",
                "8:0 rbps=5 wbps=max riops=max wiops=max\n",
                "8:0 rbps=5 wbps=max riops=max wiops=max",
            ),
            ("io.max", "8:0 rbps=7 wiops=9", "", "8:0 rbps=max wiops=max"),
            ("blkio.throttle.read_bps_device", "8:0 7", "8:16 5\n", "8:0 0"),
            ("blkio.throttle.read_bps_device", "8:0 7", "8:0 5\n", "8:0 5"),
            ("rdma.max", "mlx hca_handle=3", "", "mlx hca_handle=max"),
            ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 2\n", "eth0 2"),
        ] {
            assert_eq!(former(file, written, text).as_deref(), Some(wanted), "{file} {written}");
        }
        assert_eq!(former("cgroup.subtree_control", "+pids", "cpu\n"), None);
    }
}
