//! Undoing them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libcontainer::error::{Error, Result};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

/// How often a busy mount is tried again: a process that was just killed may hold it a moment longer.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Unmounts whatever is mounted on `target`, several times if need be, and below it; nothing there is no error.
///
/// # Errors
/// If it stays busy for a second.
pub fn unmount_all(target: &Path) -> Result<()> {
    for _ in 0..ATTEMPTS {
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            // Perhaps there is another one beneath it.
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {
                for below in mounted_below(target) {
                    let _ = rustix::mount::unmount(&below, UnmountFlags::NOFOLLOW);
                }
                std::thread::sleep(PAUSE);
            }
            Err(errno) => return Err(Error::system("umount2", target.display(), errno)),
        }
    }
    Err(Error::system("umount2", target.display(), Errno::BUSY).cause("a process of the host's uses it"))
}

/// The mount points below a directory, the last mounted first.
fn mounted_below(target: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(target) && point != target).collect();
    below.reverse();
    below
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}
