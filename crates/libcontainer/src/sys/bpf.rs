//! bpf(2): the programs that decide on a cgroup v2's access to devices.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_PROG_QUERY: libc::c_long = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// More than any kernel attaches to one cgroup (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

/// The verifier may be interrupted by a signal (since Linux 4.20) and then wants to be called again.
const LOAD_ATTEMPTS: usize = 30;

/// The parts of `union bpf_attr` that are used here; what lies behind them the kernel takes for zeroes.
#[derive(Default)]
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    instructions_at: u64,
    license_at: u64,
    log_level: u32,
    log_size: u32,
    log_at: u64,
}

#[derive(Default)]
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

#[derive(Default)]
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    programs_at: u64,
    count: u32,
    padding: u32,
    /// `prog_attach_flags`, `link_ids`, `link_attach_flags`, `revision`, and room to spare: Linux 6.17 to 7.1 write
    /// the revision no matter how much memory the caller has said to have.
    later: [u64; 12],
}

/// How much of [`Query`] the kernel is told of: up to and including `revision`.
const QUERY_SIZE: usize = 64;

/// Loads a device program (a sequence of `struct bpf_insn`). `log` gets the verifier's words, ended by a zero byte;
/// asking for them makes loading slower.
pub fn load_device_program(instructions: &[u64], log: Option<&mut [u8]>) -> Result<OwnedFd, Errno> {
    let mut attr = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instructions: u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?,
        instructions_at: instructions.as_ptr() as u64,
        // The kernel only asks whether it is compatible with the GPL; no helper that needs this is called.
        license_at: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    if let Some(log) = log {
        attr.log_level = 1;
        attr.log_size = u32::try_from(log.len()).map_err(|_| Errno::TOOBIG)?;
        attr.log_at = log.as_mut_ptr() as u64;
    }
    for _ in 1..LOAD_ATTEMPTS {
        // SAFETY: every address in `attr` is that of memory which outlives the call, with its length beside it; only the
        // log is written to, and it is borrowed mutably.
        match unsafe { bpf(BPF_PROG_LOAD, &raw mut attr, size_of::<Load>()) } {
            Err(Errno::AGAIN) => {}
            other => return other.map(owned),
        }
    }
    Err(Errno::AGAIN)
}

/// Attaches a device program to a cgroup v2 directory, in the place of `replaced` (since Linux 5.6) if there is one.
/// Access needs the consent of every program that is attached to the cgroup or an ancestor.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
        replaced: replaced.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    // SAFETY: `attr` holds no address.
    unsafe { bpf(BPF_PROG_ATTACH, &raw mut attr, size_of::<Attach>()) }.map(drop)
}

/// Takes a device program off a cgroup v2 directory.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: `attr` holds no address.
    unsafe { bpf(BPF_PROG_DETACH, &raw mut attr, size_of::<Attach>()) }.map(drop)
}

/// The ids of the device programs that are attached to a cgroup v2 directory itself.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attr = Query {
        target: cgroup.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        programs_at: ids.as_mut_ptr() as u64,
        count: MAX_PROGRAMS as u32,
        ..Query::default()
    };
    // SAFETY: the kernel writes at most `count` ids to `ids`, and within `Query`, which is larger than what it knows.
    unsafe { bpf(BPF_PROG_QUERY, &raw mut attr, QUERY_SIZE) }?;
    Ok(ids.get(..attr.count as usize).unwrap_or_default().to_vec())
}

/// A descriptor of the loaded program with this id.
pub fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attr = id;
    // SAFETY: `attr` holds no address.
    unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &raw mut attr, size_of::<u32>()) }.map(owned)
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: only called with what a command that makes a descriptor has just returned.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// # Safety
/// `attr` must be valid for what `command` does with it, and have `size` bytes at least.
unsafe fn bpf<T>(command: libc::c_long, attr: *mut T, size: usize) -> Result<libc::c_long, Errno> {
    // SAFETY: promised by the caller.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, attr, size) })
}
