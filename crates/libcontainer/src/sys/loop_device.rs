//! Loop devices: ioctl(2) requests of loop(4).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::check;

// linux/loop.h.
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
/// Writes are refused.
pub const READ_ONLY: u32 = 1;
/// The file is let go when nobody has the device open or mounted any more.
pub const AUTOCLEAR: u32 = 4;
/// The file is read and written past the page cache.
pub const DIRECT_IO: u32 = 16;

/// `struct loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// The number of a device that nobody uses, made if need be; it may be somebody else's a moment later.
pub fn free_number(control: BorrowedFd<'_>) -> Result<u32, Errno> {
    // SAFETY: this request takes no argument.
    let number = check(unsafe { libc::syscall(libc::SYS_ioctl, control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
    u32::try_from(number).map_err(|_| Errno::RANGE)
}

/// Makes `file` what `device` shows (since Linux 5.8): all at once, so that no killed process leaves it without its flags.
/// `EBUSY` if it shows something already. `name` is for people only, and cut.
pub fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>, flags: u32, name: &[u8]) -> Result<(), Errno> {
    // SAFETY: loop_config is a plain C struct for which all zeroes is a valid value.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = file.as_raw_fd().unsigned_abs();
    config.info.flags = flags;
    let room = config.info.file_name.len() - 1;
    config.info.file_name.iter_mut().zip(name.iter().take(room)).for_each(|(to, from)| *to = *from);
    // SAFETY: `config` is laid out as the request wants it and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_ioctl, device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }).map(drop)
}
