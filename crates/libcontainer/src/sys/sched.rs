//! Calls that no library wraps: scheduling, CPUs, memory policy, execution domain.

use rustix::io::Errno;
use rustix::process::Pid;

use super::check;

/// `struct sched_attr` as sched_setattr(2) has it since Linux 5.3.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Attributes {
    /// Set by [`sched_setattr`].
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// Sets the scheduling of a process.
pub fn sched_setattr(pid: Pid, attributes: &Attributes) -> Result<(), Errno> {
    let mut attributes = Attributes { size: size_of::<Attributes>() as u32, ..*attributes };
    // SAFETY: `attributes` outlives the call and has the size that it says; where the kernel knows a smaller one, it writes
    // that into it.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid.as_raw_pid(), &raw mut attributes, 0) }).map(drop)
}

/// ioprio_set(2): one process (linux/ioprio.h).
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// Sets the I/O priority of a process.
pub fn ioprio_set(pid: Pid, priority: u16) -> Result<(), Errno> {
    let (pid, priority) = (pid.as_raw_pid(), libc::c_int::from(priority));
    // SAFETY: numbers only; no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, priority) }).map(drop)
}

/// The I/O priority of a process.
#[cfg(test)]
pub fn ioprio_get(pid: Pid) -> Result<libc::c_long, Errno> {
    // SAFETY: numbers only; no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, pid.as_raw_pid()) })
}

/// Confines the calling thread to CPUs; a bit for each, the lowest first, in whole bytes.
pub fn sched_setaffinity(bits: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads `len` bytes; as little-endian bytes are also little-endian words, any length is right.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, bits.len(), bits.as_ptr()) }).map(drop)
}

/// The CPUs of the calling thread, as [`sched_setaffinity`] takes them.
pub fn sched_getaffinity() -> Result<Vec<u8>, Errno> {
    // More CPUs than any kernel is built for.
    let mut words = [0u64; 1024];
    // SAFETY: the kernel writes at most the bytes of `words`, which are aligned as it wants them.
    let written =
        check(unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&words), words.as_mut_ptr()) })?
            as usize;
    Ok(words.iter().flat_map(|word| word.to_le_bytes()).take(written).collect())
}

/// Sets the memory policy of the calling thread; `nodes` has a bit for each, the lowest first.
pub fn set_mempolicy(mode: u32, nodes: &[u8]) -> Result<(), Errno> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let words: Vec<u64> = nodes.chunks(8).map(word).collect();
    // The kernel takes one bit less than it is told, and wants no mask at all where no node is meant.
    let (mask, bits) = if words.is_empty() { (std::ptr::null(), 0) } else { (words.as_ptr(), words.len() * 64 + 1) };
    // SAFETY: `mask` has `bits` - 1 bits, or is null; the kernel only reads it.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// Sets the execution domain of the calling thread.
pub fn personality(domain: u32) -> Result<(), Errno> {
    // SAFETY: numbers only; no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) }).map(drop)
}

/// linux/prctl.h.
const PR_SCHED_CORE: libc::c_int = 62;
const PR_SCHED_CORE_CREATE: libc::c_ulong = 1;
/// A scope of PR_SCHED_CORE: the process group (`enum pid_type` of linux/pid.h).
const PIDTYPE_PGID: libc::c_ulong = 2;

/// Makes a new core scheduling cookie for this process's group.
pub fn create_core_cookie() -> Result<(), Errno> {
    // SAFETY: numbers only; no memory is passed.
    let made = unsafe {
        libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0 as libc::c_ulong, PIDTYPE_PGID, 0 as libc::c_ulong)
    };
    check(made.into()).map(drop)
}
