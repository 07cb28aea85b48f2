//! keyctl(2): a session keyring of the container's own.

use std::ffi::CStr;

use rustix::io::Errno;

use super::check;

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const KEYCTL_SETPERM: libc::c_int = 5;
const KEYCTL_DESCRIBE: libc::c_int = 6;

/// keyctl_setperm(3).
const USER_SEARCH: u32 = 0x0008_0000;

/// Joins the session keyring called `name`, a new one if there is none, and lets the container's processes of the same user search it.
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    // SAFETY: `name` is null-terminated and outlives the call.
    let id = check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    let searchable = describe(id)? | USER_SEARCH;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, id, searchable) }).map(drop)
}

/// A key's permission bits, from its description `type;uid;gid;perm;name`.
fn describe(id: libc::c_long) -> Result<u32, Errno> {
    let mut text = [0u8; 512];
    // SAFETY: the buffer's length is passed along; the kernel writes no further.
    let length = check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_DESCRIBE, id, text.as_mut_ptr(), text.len()) })?;
    let text = text.get(..(length as usize).min(text.len())).unwrap_or_default();
    let permissions = text.split(|byte| *byte == b';').nth(3).and_then(|field| std::str::from_utf8(field).ok());
    permissions.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or(Errno::INVAL)
}
