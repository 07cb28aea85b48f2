//! The environment, which the C library keeps without a lock.

use super::clone::SingleThreaded;

/// Overwrites the environment that this process was executed with, which /proc/PID/environ shows, and has none from then on.
pub fn wipe(_alone: &SingleThreaded) {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: the proof says that no other thread reads or writes the environment. It is an array of writable,
    // null-terminated strings that ends with a null pointer, or there is none.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            let length = libc::strlen(*next);
            (*next).write_bytes(0, length);
            next = next.add(1);
        }
        environ = std::ptr::null_mut();
    }
}

/// Removes a variable.
pub fn remove(_alone: &SingleThreaded, name: &str) {
    // SAFETY: the proof says that no other thread reads or writes the environment.
    unsafe { std::env::remove_var(name) }
}
