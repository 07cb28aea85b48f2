//! Attaches the program that decides on device access to a v2 cgroup.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Error, Result, SysContext};
use crate::sys::bpf;

use super::Instruction;

/// Room for the verifier's words about a program that it refuses.
const LOG_SIZE: usize = 64 * 1024;

/// Loads the program and attaches it; in a directory that is not `new`, in the place of those that are there.
pub(in crate::cgroups) fn attach(cgroup: BorrowedFd<'_>, program: &[Instruction], new: bool) -> Result<()> {
    let program = load(program)?;
    let put = |replaced| bpf::attach_device_program(cgroup, program.as_fd(), replaced);
    let old = if new { Vec::new() } else { attached(cgroup)? };
    // Since Linux 5.6 one program can take another's place without a moment in which both or none decide.
    if let [only] = old.as_slice() {
        match put(Some(only.as_fd())) {
            Err(Errno::INVAL) => {}
            done => return done.sys("bpf(BPF_PROG_ATTACH)", "device program"),
        }
    }
    put(None).sys("bpf(BPF_PROG_ATTACH)", "device program")?;
    for program in old {
        bpf::detach_device_program(cgroup, program.as_fd()).sys("bpf(BPF_PROG_DETACH)", "former device program")?;
    }
    Ok(())
}

/// The programs that are attached now, but for those that a security module hides from us: they can only deny more.
fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let ids = bpf::device_programs(cgroup).sys("bpf(BPF_PROG_QUERY)", "device programs")?;
    let mut programs = Vec::with_capacity(ids.len());
    for id in ids {
        match bpf::program_by_id(id) {
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT) => {}
            program => programs.push(program.sys("bpf(BPF_PROG_GET_FD_BY_ID)", id)?),
        }
    }
    Ok(programs)
}

fn load(program: &[Instruction]) -> Result<OwnedFd> {
    let encoded: Vec<u64> = program.iter().map(|instruction| instruction.encode()).collect();
    let loaded = match bpf::load_device_program(&encoded, None) {
        Err(Errno::PERM) => with_more_memory(|| bpf::load_device_program(&encoded, None)),
        loaded => loaded,
    };
    loaded.map_err(|errno| {
        let error = Error::system("bpf(BPF_PROG_LOAD)", "device program", errno);
        match errno {
            Errno::PERM => error.cause("it needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, on the host"),
            Errno::NOSYS => error.cause("this kernel was built without CONFIG_CGROUP_BPF"),
            _ => error.cause(verdict(&encoded)),
        }
    })
}

/// Before Linux 5.11 programs count against the user's locked memory, of which few kilobytes are allowed. The limit is
/// put back, since the container would inherit it.
fn with_more_memory<T>(load: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let before = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }).map_err(|_| Errno::PERM)?;
    let loaded = load();
    setrlimit(Resource::Memlock, before)?;
    loaded
}

/// What the verifier says against a program.
fn verdict(encoded: &[u64]) -> String {
    let mut log = vec![0u8; LOG_SIZE];
    let _ = bpf::load_device_program(encoded, Some(&mut log));
    let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.trim_end().lines().last().unwrap_or("this kernel was built without CONFIG_CGROUP_BPF").to_owned()
}
