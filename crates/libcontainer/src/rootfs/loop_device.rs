//! A file as a block device (loop(4)), for the root file systems that containerd keeps in files.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result, SysContext};
use crate::sys::loop_device as sys;

const CONTROL: &str = "/dev/loop-control";
/// How often another one is tried when somebody else was faster.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(2);

/// A device that shows a file. The kernel takes it back when it is neither open nor mounted any more: nothing is left of it
/// after unmounting, nor of a caller that was killed.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _open: OwnedFd,
}

impl LoopDevice {
    /// Has a free device show `file`.
    ///
    /// # Errors
    /// If the file cannot be opened, or there are no loop devices here.
    pub fn attach(file: &Path, read_only: bool, direct_io: bool) -> Result<LoopDevice> {
        let access = if read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let backing = open(file, access)?;
        let control = open(Path::new(CONTROL), OFlags::RDWR).map_err(|error| {
            error.remedy("loop devices are needed: load the module loop, or have /dev/loop-control here")
        })?;
        let set = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
        let flags = sys::AUTOCLEAR | set(read_only, sys::READ_ONLY) | set(direct_io, sys::DIRECT_IO);
        for _ in 0..ATTEMPTS {
            let number = sys::free_number(control.as_fd()).sys("ioctl(LOOP_CTL_GET_FREE)", CONTROL)?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = open(&path, access)?;
            match sys::configure(device.as_fd(), backing.as_fd(), flags, file.as_os_str().as_bytes()) {
                Ok(()) => return Ok(LoopDevice { path, _open: device }),
                Err(Errno::BUSY) => std::thread::sleep(PAUSE),
                Err(errno) => {
                    let error = Error::system("ioctl(LOOP_CONFIGURE)", file.display(), errno);
                    return Err(if errno == Errno::INVAL {
                        error.cause("direct I/O, or Linux before 5.8")
                    } else {
                        error
                    });
                }
            }
        }
        Err(Error::system("ioctl(LOOP_CONFIGURE)", file.display(), Errno::BUSY).cause("others took every free device"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path, access: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, path, access | OFlags::CLOEXEC, Mode::empty()).sys("open", path.display())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::testing::{eventually, is_root};

    #[test]
    fn a_file_is_a_device_as_long_as_it_is_open() {
        if !is_root("a_file_is_a_device_as_long_as_it_is_open") {
            return;
        }
        if !Path::new(CONTROL).exists() {
            return println!("skipped: there is no {CONTROL}");
        }
        let file = std::env::temp_dir().join(format!("creel-test-loop-{}", std::process::id()));
        std::fs::write(&file, [b'x'; 8192]).expect("write");
        let device = LoopDevice::attach(&file, true, false).expect("attach");
        let mut bytes = Vec::new();
        std::fs::File::open(device.path()).expect("open").read_to_end(&mut bytes).expect("read");
        assert_eq!(bytes, [b'x'; 8192]);
        let refused = std::fs::OpenOptions::new().write(true).open(device.path());
        assert!(refused.and_then(|mut device| device.write(b"y")).is_err(), "read-only");
        let name = device.path().file_name().expect("name").to_owned();
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        assert_eq!(std::fs::read_to_string(&backing).expect("backing file").trim(), file.to_string_lossy());
        drop(device);
        let is_ours = || std::fs::read_to_string(&backing).is_ok_and(|text| text.trim() == file.to_string_lossy());
        eventually("the device is free", || !is_ours());
        std::fs::remove_file(&file).expect("remove");
        let error = LoopDevice::attach(&file, true, false).expect_err("gone").to_string();
        assert!(error.contains("creel-test-loop") && error.contains("no such file"), "{error}");
    }
}
