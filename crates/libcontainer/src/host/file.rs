//! Reading small files whole, in two system calls more than an open and a close: those of procfs and cgroupfs have no
//! size that one could ask for first.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// More than almost every file that is read this way.
const EXPECTED_SIZE: usize = 16 * 1024;

/// The content of the file at `path`, a path of the host's.
pub(crate) fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>, Errno> {
    let fd = rustix::fs::openat(CWD, path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_all(&fd)
}

/// What is left to read from `fd`.
pub(crate) fn read_all(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut content = Vec::with_capacity(EXPECTED_SIZE);
    loop {
        if content.spare_capacity_mut().is_empty() {
            content.reserve(EXPECTED_SIZE);
        }
        match rustix::io::read(fd.as_fd(), spare_capacity(&mut content)) {
            Ok(0) => return Ok(content),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_size_is_read_whole() {
        let path = std::env::temp_dir().join(format!("creel-test-file-{}", std::process::id()));
        for size in [0, 1, EXPECTED_SIZE, 3 * EXPECTED_SIZE + 1] {
            std::fs::write(&path, vec![7; size]).expect("write");
            assert_eq!(read_file(&path).expect("read").len(), size);
        }
        std::fs::remove_file(&path).expect("remove");
        assert_eq!(read_file(&path), Err(Errno::NOENT));
        assert!(read_file("/proc/self/mountinfo").expect("read").ends_with(b"\n"));
    }
}
