//! Compiled filters, kept for the next container with the same profile: libseccomp takes 20 ms for an engine's default one.
//!
//! An entry holds the whole of what it was compiled from, which is compared, so that nothing rests on hashes. Only the
//! runtime's user may have been at the directory and its files; whatever else is there is not read, and a damaged entry is
//! replaced. A cache that cannot be used costs time, never a container.

#![allow(clippy::disallowed_methods, reason = "the cache is the host's, and its owner's only")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use serde::Serialize;

use super::compile::{NATIVE, compile, library_version};
use super::filter::Filter;
use super::plan::{Action, Rule, SeccompPlan};
use super::validate;
use crate::error::Result;

/// The directory's name, below /run or a user's runtime directory.
const NAME: &str = "creel-filters";
/// What programs are like that come of the same plan: raised whenever `compile` makes another one.
const COMPILER: u32 = 1;
/// How an entry begins; raised with its form.
const MAGIC: &[u8; 8] = b"creelbp1";
/// From how many names on a profile is worth it: what has fewer is compiled in less time than it takes to write a file.
const WORTH: usize = 33;
/// The longest entry: a profile with all system calls that there are for a dozen architectures.
const LONGEST: usize = 256 * 1024;
/// How many entries there may be. An engine has a few profiles; what makes so many has them only once.
const MOST: usize = 64;
/// An entry's checksum, and the lengths in it.
const NUMBER: usize = size_of::<u64>();

/// As [`compile`], by what an earlier call has left on this host, and for later ones.
///
/// # Errors
/// Those of [`compile`].
pub fn compile_cached(plan: &SeccompPlan) -> Result<Filter> {
    compile_with(plan, &places())
}

/// For the host's root one for all; what else has a directory for itself. Neither is that of a store, whose
/// directories are containers.
fn places() -> Vec<PathBuf> {
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    [Some("/run".into()), of_user].into_iter().flatten().map(|parent| Path::new(&parent).join(NAME)).collect()
}

/// With the first of `places` that can be had.
fn compile_with(plan: &SeccompPlan, places: &[PathBuf]) -> Result<Filter> {
    let names: usize = plan.rules.iter().map(|rule| rule.names.len()).sum();
    let is_worth_it = plan.program.is_none() && names >= WORTH;
    let opened = if is_worth_it { places.iter().find_map(|place| open(place)) } else { None };
    let (Some(directory), Some(key)) = (opened, key(plan)) else { return compile(plan) };
    let name = format!("{:016x}", checksum(&key));
    if let Some(program) = read(&directory, &name).and_then(|entry| program(&entry, &key).map(<[u8]>::to_vec)) {
        return Ok(Filter { program, flags: plan.flags });
    }
    let filter = compile(plan)?;
    // Most likely a full file system; the next one tries again.
    let _ = write(&directory, &name, &entry(&key, &filter.program));
    Ok(filter)
}

/// All that a program depends on.
#[derive(Serialize)]
struct Key<'a> {
    compiler: u32,
    creel: &'a str,
    libseccomp: String,
    /// libseccomp looks at what the kernel has.
    kernel: String,
    native: &'a str,
    default_action: Option<Action>,
    architectures: &'a [&'static str],
    rules: &'a [Rule],
}

fn key(plan: &SeccompPlan) -> Option<Vec<u8>> {
    let key = Key {
        compiler: COMPILER,
        creel: env!("CARGO_PKG_VERSION"),
        libseccomp: library_version()?,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        native: NATIVE,
        default_action: plan.default_action,
        architectures: &plan.architectures,
        rules: &plan.rules,
    };
    serde_json::to_vec(&key).ok()
}

/// FNV-1a. It names entries and tells damage; whoever could forge it could write to the directory.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The magic number, the checksum of the rest, the key's length, the key, the program.
fn entry(key: &[u8], program: &[u8]) -> Vec<u8> {
    let rest = [&(key.len() as u64).to_ne_bytes(), key, program].concat();
    [MAGIC.as_slice(), &checksum(&rest).to_ne_bytes(), &rest].concat()
}

/// The program in an entry, if it is whole, of this key, and one that the kernel would take.
pub(super) fn program<'a>(entry: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (sum, rest) = entry.strip_prefix(MAGIC)?.split_first_chunk::<NUMBER>()?;
    if checksum(rest) != u64::from_ne_bytes(*sum) {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<NUMBER>()?;
    let (of, program) = rest.split_at_checked(usize::try_from(u64::from_ne_bytes(*length)).ok()?)?;
    (of == key && validate::is_loadable(program)).then_some(program)
}

fn open(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(CWD, path, flags, Mode::empty());
    let directory = match open() {
        Err(rustix::io::Errno::NOENT) => {
            // If another one was faster, its directory is as good.
            let _ = rustix::fs::mkdir(path, Mode::RWXU);
            open().ok()?
        }
        opened => opened.ok()?,
    };
    is_ours(&rustix::fs::fstat(&directory).ok()?).then_some(directory)
}

/// Whether nobody else can have written it.
fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

fn read(directory: impl AsFd, name: &str) -> Option<Vec<u8>> {
    // Opening a FIFO, which has no business here, must not wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let size = usize::try_from(stat.st_size).ok().filter(|size| *size <= LONGEST)?;
    if !is_ours(&stat) || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return None;
    }
    let mut entry = Vec::with_capacity(size);
    File::from(file).take(LONGEST as u64).read_to_end(&mut entry).ok()?;
    Some(entry)
}

fn write(directory: &OwnedFd, name: &str, entry: &[u8]) -> std::io::Result<()> {
    if entry.len() > LONGEST {
        return Ok(());
    }
    make_room(directory)?;
    // What was killed while it wrote has left one of these, and goes with the rest when there are too many.
    let new = format!("{name}.{}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, &new, flags, Mode::RUSR | Mode::WUSR)?;
    // Not synced: what a crash leaves of it is seen to be damaged.
    let written = File::from(file).write_all(entry);
    let written = written.and_then(|()| Ok(rustix::fs::renameat(directory, &new, directory, name)?));
    written.inspect_err(|_| {
        let _ = rustix::fs::unlinkat(directory, &new, AtFlags::empty());
    })
}

/// Begins anew when the cache is full.
fn make_room(directory: &OwnedFd) -> std::io::Result<()> {
    let names: Vec<_> =
        Dir::read_from(directory)?.filter_map(|entry| Some(entry.ok()?.file_name().to_owned())).collect();
    if names.len() < MOST + 2 {
        return Ok(()); // with `.` and `..`
    }
    for name in names.iter().filter(|name| !name.to_bytes().starts_with(b".")) {
        let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
