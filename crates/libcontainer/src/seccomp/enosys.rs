//! ENOSYS for system calls that are newer than the profile.
//!
//! A profile that lists what is allowed refuses the rest, mostly with EPERM. To a program that tries a new system call
//! and would fall back on an old one, EPERM means "no", and ENOSYS "do it the old way": glibc lost faccessat2 and clone3
//! that way. Nobody can have decided about a call with a number beyond all that the profile names, so it fails as if
//! the kernel lacked it. runc does the same.

use super::filter::Instruction;

/// Of x32 as well; its calls have [`X32_BIT`] in their number.
pub(super) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// `__X32_SYSCALL_BIT` of arch/x86/include/uapi/asm/unistd.h.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// `SECCOMP_RET_ERRNO | ENOSYS`.
const RETURN_ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// The highest number that the profile names on an architecture, as the kernel gives both to a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Highest {
    pub(super) audit_arch: u32,
    pub(super) number: u32,
}

/// Instructions to put in front of a filter: they return ENOSYS for a number beyond the highest of its architecture,
/// and go on to the filter for everything else, architectures that are not in `highest` included.
pub(super) fn prefix(highest: &[Highest]) -> Vec<Instruction> {
    let mut architectures: Vec<u32> = highest.iter().map(|entry| entry.audit_arch).collect();
    architectures.sort_unstable();
    architectures.dedup();
    // The last section first, since each has to know how far away the filter is.
    let mut program = Vec::new();
    for &architecture in architectures.iter().rev() {
        let section = section(architecture, highest, program.len() as u32);
        program.splice(0..0, section);
    }
    if !program.is_empty() {
        program.insert(0, instruction(LOAD, 0, 0, ARCHITECTURE));
    }
    program
}

/// What is for one architecture; `rest` is how many instructions come between it and the filter.
fn section(architecture: u32, highest: &[Highest], rest: u32) -> Vec<Instruction> {
    // No number is greater than u32::MAX: where the profile names nothing, nothing is beyond it.
    let highest_of = |x32: bool| {
        let is_x32 = |number: u32| architecture == AUDIT_ARCH_X86_64 && number >= X32_BIT;
        let here = highest.iter().filter(|entry| entry.audit_arch == architecture && is_x32(entry.number) == x32);
        here.map(|entry| entry.number).max().unwrap_or(u32::MAX)
    };
    let end = [instruction(RETURN, 0, 0, RETURN_ENOSYS), instruction(JUMP, 0, 0, rest)];
    let mut section = if architecture == AUDIT_ARCH_X86_64 {
        vec![
            instruction(LOAD, 0, 0, NUMBER),
            instruction(IF_AT_LEAST, 1, 0, X32_BIT),
            instruction(IF_GREATER, 1, 2, highest_of(false)),
            instruction(IF_GREATER, 0, 1, highest_of(true)),
        ]
    } else {
        vec![instruction(LOAD, 0, 0, NUMBER), instruction(IF_GREATER, 0, 1, highest_of(false))]
    };
    section.extend(end);
    let length = section.len() as u8;
    section.insert(0, instruction(IF_EQUAL, 0, length, architecture));
    section
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Call, run};
    use super::*;

    const I386: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;

    /// What comes of a call: the prefix's ENOSYS, or the filter's own answer (which reads anew what it needs).
    fn outcome(highest: &[Highest], audit_arch: u32, number: u32) -> &'static str {
        let mut program = prefix(highest);
        program.push(instruction(LOAD, 0, 0, ARCHITECTURE));
        program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
        match run(&program, &Call { audit_arch, number, arguments: [0; 6] }) {
            RETURN_ENOSYS => "ENOSYS",
            libc::SECCOMP_RET_KILL_PROCESS => "filter",
            other => panic!("{other:#x}"),
        }
    }

    fn highest(entries: &[(u32, u32)]) -> Vec<Highest> {
        entries.iter().map(|&(audit_arch, number)| Highest { audit_arch, number }).collect()
    }

    #[test]
    fn only_what_is_beyond_the_highest_number_gets_enosys() {
        let all = highest(&[(AUDIT_ARCH_X86_64, 334), (AUDIT_ARCH_X86_64, X32_BIT + 547), (I386, 425), (AARCH64, 291)]);
        let cases = [
            (AUDIT_ARCH_X86_64, 0, "filter"),
            (AUDIT_ARCH_X86_64, 334, "filter"),
            (AUDIT_ARCH_X86_64, 335, "ENOSYS"),
            (AUDIT_ARCH_X86_64, X32_BIT - 1, "ENOSYS"),
            (AUDIT_ARCH_X86_64, X32_BIT, "filter"),
            (AUDIT_ARCH_X86_64, X32_BIT + 547, "filter"),
            (AUDIT_ARCH_X86_64, X32_BIT + 548, "ENOSYS"),
            (AUDIT_ARCH_X86_64, u32::MAX, "ENOSYS"),
            (I386, 425, "filter"),
            (I386, 426, "ENOSYS"),
            (I386, X32_BIT, "ENOSYS"),
            (AARCH64, 291, "filter"),
            (AARCH64, 292, "ENOSYS"),
            (0x4000_0028, 9999, "filter"),
        ];
        for (audit_arch, number, expected) in cases {
            assert_eq!(outcome(&all, audit_arch, number), expected, "{audit_arch:#x} {number:#x}");
        }
    }

    #[test]
    fn x86_64_and_x32_each_stand_alone() {
        let native = highest(&[(AUDIT_ARCH_X86_64, 334)]);
        assert_eq!(outcome(&native, AUDIT_ARCH_X86_64, 335), "ENOSYS");
        assert_eq!(outcome(&native, AUDIT_ARCH_X86_64, X32_BIT + 9999), "filter");
        let x32 = highest(&[(AUDIT_ARCH_X86_64, X32_BIT + 547)]);
        assert_eq!(outcome(&x32, AUDIT_ARCH_X86_64, 9999), "filter");
        assert_eq!(outcome(&x32, AUDIT_ARCH_X86_64, X32_BIT + 548), "ENOSYS");
    }

    #[test]
    fn nothing_named_changes_nothing() {
        assert_eq!(prefix(&[]), []);
    }
}
