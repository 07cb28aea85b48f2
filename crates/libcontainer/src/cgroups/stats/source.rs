//! A cgroup's directory as a source of figures: each file is opened once, below the directory's descriptor.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::cgroups::dir;
use crate::error::{Result, SysContext};

use super::parse;

/// An open directory.
pub(super) struct Source<'a> {
    directory: OwnedFd,
    path: &'a Path,
}

impl<'a> Source<'a> {
    /// `None` if there is no such cgroup.
    pub(super) fn open(path: &'a Path) -> Result<Option<Source<'a>>> {
        match dir::open(path) {
            Err(errno) if dir::is_gone(errno) => Ok(None),
            directory => Ok(Some(Source { directory: directory.sys("open", path.display())?, path })),
        }
    }

    /// The content of a file; `None` if there is none, or if the kernel was told not to keep it (pressure).
    pub(super) fn text(&self, file: &str) -> Result<Option<String>> {
        match dir::read(self.directory.as_fd(), file) {
            Err(errno) if dir::is_gone(errno) || errno == Errno::OPNOTSUPP => Ok(None),
            text => text.sys("read", self.path.join(file).display()).map(Some),
        }
    }

    /// What `parse` makes of a file.
    pub(super) fn parsed<T>(&self, file: &str, parse: impl FnOnce(&str) -> T) -> Result<Option<T>> {
        Ok(self.text(file)?.map(|text| parse(&text)))
    }

    /// A file with one number.
    pub(super) fn number(&self, file: &str) -> Result<Option<u64>> {
        Ok(self.parsed(file, parse::number)?.flatten())
    }

    /// A file with a name and a number per line; empty if there is none.
    pub(super) fn table(&self, file: &str) -> Result<BTreeMap<String, u64>> {
        Ok(self.parsed(file, parse::table)?.unwrap_or_default())
    }

    /// How many processes are in it.
    pub(super) fn processes(&self) -> Result<u64> {
        let processes = dir::processes(self.directory.as_fd());
        processes.map(|list| list.len() as u64).sys("read", self.path.join(dir::PROCESSES).display())
    }
}
