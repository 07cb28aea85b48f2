//! seccomp(2): loading a filter.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// One instruction of classic BPF, as `struct sock_filter` lays it out (8 bytes, native byte order).
pub const INSTRUCTION_SIZE: usize = size_of::<libc::sock_filter>();

/// Puts a filter (a sequence of `struct sock_filter`) over this thread for good; `flags` are `SECCOMP_FILTER_FLAG_*`, of
/// which NEW_LISTENER gives the listener's descriptor (close-on-exec).
///
/// Needs no_new_privs or CAP_SYS_ADMIN.
pub fn load_filter(program: &[u8], flags: u64) -> Result<Option<OwnedFd>, Errno> {
    let count = program.len() / INSTRUCTION_SIZE;
    if count == 0 || !program.len().is_multiple_of(INSTRUCTION_SIZE) {
        return Err(Errno::INVAL);
    }
    let length = u16::try_from(count).map_err(|_| Errno::INVAL)?;
    // The kernel copies the program as bytes, so its alignment does not matter to it.
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `program` points to `length` instructions that outlive the call; the kernel only reads them.
    let result =
        check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) })?;
    let listens = flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(listens.then(|| unsafe { OwnedFd::from_raw_fd(result as RawFd) }))
}

/// Makes a system call with all arguments zero, to see what a filter lets through.
#[cfg(test)]
pub fn probe(number: libc::c_long) -> Result<(), Errno> {
    let harmless = [
        libc::SYS_bpf,
        libc::SYS_clone3,
        libc::SYS_getppid,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_memfd_secret,
        libc::SYS_perf_event_open,
        libc::SYS_process_mrelease,
        libc::SYS_setns,
        libc::SYS_set_mempolicy_home_node,
        libc::SYS_userfaultfd,
    ];
    assert!(harmless.contains(&number), "{number} is not known to be harmless");
    // SAFETY: with these arguments each of them fails, or at most gives a new descriptor.
    check(unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) }).map(drop)
}
