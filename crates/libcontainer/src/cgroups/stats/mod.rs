//! Statistics: what a container has used, as the kernel counts it.
//!
//! | file | what |
//! |---|---|
//! | `types` | the figures and their units |
//! | `v1`, `v2` | which figure is in which file |
//! | `parse` | the files' formats |
//! | `source` | reading them |

pub(super) mod parse;
mod source;
mod types;
mod v1;
mod v2;

pub use types::*;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;

use crate::error::{During, Error, Kind, Phase, Result};

use super::Cgroup;
use source::Source;

impl Cgroup {
    /// What the container has used so far. Each hierarchy tells of the controllers that are in it, so that on a hybrid
    /// host v1's figures stand beside v2's.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the cgroup is gone; [`Kind::System`] if a file cannot be read. That a file does not exist is
    /// no error.
    pub fn stats(&self) -> Result<Stats> {
        let read = || {
            let v2 = self.dirs.get("").map_or(Ok(None), |path| Source::open(path))?;
            Reader { cgroup: self, found: Cell::new(v2.is_some()), v2 }.stats()
        };
        read().during(Phase::Stats)
    }
}

struct Reader<'a> {
    cgroup: &'a Cgroup,
    v2: Option<Source<'a>>,
    /// Whether any directory is there.
    found: Cell<bool>,
}

impl Reader<'_> {
    fn stats(&self) -> Result<Stats> {
        let mut stats = Stats {
            cpu: self.read("cpu", v1::throttling, v2::cpu)?,
            cpuset: self.read("cpuset", v1::cpuset, v2::cpuset)?,
            memory: self.read("memory", v1::memory, v2::memory)?,
            pids: self.read("pids", v1::pids, v2::pids)?,
            io: self.read("blkio", v1::blkio, v2::io)?,
            hugetlb: self.read("hugetlb", |files| hugetlb(files, v1::hugetlb), |files| hugetlb(files, v2::hugetlb))?,
            rdma: self.read("rdma", rdma, rdma)?,
            misc: self.v2.as_ref().map_or(Ok(BTreeMap::new()), v2::misc)?,
        };
        if let Some(usage) = self.read("cpuacct", |files| v1::usage(files).map(Some), |_| Ok(None))? {
            stats.cpu.usage = usage;
        }
        if let Some(files) = &self.v2 {
            v2::add_pressure(files, &mut stats)?;
        }
        let gone = || Error::new(Kind::NotFound, "the container's cgroup is gone");
        if self.found.get() { Ok(stats) } else { Err(gone()) }
    }

    /// A controller's figures from the hierarchy that it is in; none if the container has no directory there.
    fn read<T: Default>(
        &self,
        controller: &str,
        v1: impl FnOnce(&Source<'_>) -> Result<T>,
        v2: impl FnOnce(&Source<'_>) -> Result<T>,
    ) -> Result<T> {
        let Some(path) = self.cgroup.legacy_dir_of(controller) else {
            return self.v2.as_ref().map_or(Ok(T::default()), v2);
        };
        let Some(files) = Source::open(path)? else { return Ok(T::default()) };
        self.found.set(true);
        v1(&files)
    }
}

/// The page sizes are the host's; whether the first has files tells of all.
fn hugetlb(
    files: &Source<'_>,
    read: impl Fn(&Source<'_>, &str) -> Result<Option<HugetlbStats>>,
) -> Result<BTreeMap<String, HugetlbStats>> {
    let mut stats = BTreeMap::new();
    for size in page_sizes() {
        let Some(counted) = read(files, &size)? else { break };
        stats.insert(size, counted);
    }
    Ok(stats)
}

/// As the kernel's cgroups name them, from directories such as `hugepages-2048kB`.
fn page_sizes() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    entries.filter_map(|entry| page_size(&entry.ok()?.file_name())).collect()
}

fn page_size(directory: &OsStr) -> Option<String> {
    let kib: u64 = directory.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kib {
        1_048_576.. => format!("{}GB", kib >> 20),
        1_024.. => format!("{}MB", kib >> 10),
        _ => format!("{kib}KB"),
    })
}

/// The files are the same in v1 and v2.
fn rdma(files: &Source<'_>) -> Result<RdmaStats> {
    let Some(current) = files.parsed("rdma.current", parse::rdma)? else { return Ok(RdmaStats::default()) };
    Ok(RdmaStats { current, limit: files.parsed("rdma.max", parse::rdma)?.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::page_size;

    #[test]
    fn page_sizes_as_cgroups_name_them() {
        let sizes = ["hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB", "hugepages-2048", "other"];
        let named: Vec<_> = sizes.iter().map(|name| page_size(name.as_ref())).collect();
        assert_eq!(named, [Some("64KB".to_owned()), Some("2MB".to_owned()), Some("1GB".to_owned()), None, None]);
    }
}
