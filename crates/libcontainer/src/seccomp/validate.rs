//! Whether a program is one that the kernel would take for a filter: what its bpf_check_classic and seccomp_check_filter
//! demand, as far as compiled filters go. It is no judgement of what the filter does.

use super::filter::Instruction;
use crate::sys::seccomp::INSTRUCTION_SIZE;

/// The kernel's BPF_MAXINSNS.
pub(super) const MOST_INSTRUCTIONS: usize = 4096;

/// `struct seccomp_data`: number, architecture, instruction pointer, six arguments; read in words.
const DATA_SIZE: u32 = 64;

// linux/bpf_common.h: class, size and mode, or class, operation and source.
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const GREATER_OR_EQUAL: u16 = 0x35;
const BITS_SET: u16 = 0x45;

/// Whether every instruction is known, every load within the data, every jump within the program, and its end a return.
pub(crate) fn is_loadable(program: &[u8]) -> bool {
    let (chunks, rest) = program.as_chunks::<INSTRUCTION_SIZE>();
    let count = chunks.len();
    let leads_inside = |at: usize, skip: usize| at + 1 + skip < count;
    let is_fine = |(at, bytes): (usize, &[u8; INSTRUCTION_SIZE])| {
        let Instruction { code, jt, jf, k } = Instruction::from_bytes(*bytes);
        match code {
            LOAD_WORD => k < DATA_SIZE && k.is_multiple_of(4),
            AND | RETURN => true,
            JUMP => usize::try_from(k).is_ok_and(|skip| skip < count && leads_inside(at, skip)),
            EQUAL | GREATER | GREATER_OR_EQUAL | BITS_SET => leads_inside(at, jt.into()) && leads_inside(at, jf.into()),
            _ => false,
        }
    };
    let ends = chunks.last().is_some_and(|last| Instruction::from_bytes(*last).code == RETURN);
    rest.is_empty() && count <= MOST_INSTRUCTIONS && ends && chunks.iter().enumerate().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Instruction = Instruction { code: RETURN, jt: 0, jf: 0, k: 0x7fff_0000 };

    fn loadable(instructions: &[Instruction]) -> bool {
        is_loadable(&instructions.iter().flat_map(|instruction| instruction.to_bytes()).collect::<Vec<u8>>())
    }

    #[test]
    fn what_the_kernel_takes() {
        let compare = Instruction { code: EQUAL, jt: 0, jf: 1, k: 7 };
        assert!(loadable(&[END]));
        assert!(loadable(&[Instruction { code: LOAD_WORD, jt: 0, jf: 0, k: 60 }, compare, END, END]));
        assert!(loadable(&[Instruction { code: JUMP, jt: 0, jf: 0, k: 1 }, END, END]));
        assert!(loadable(&vec![END; MOST_INSTRUCTIONS]));
    }

    #[test]
    fn what_it_would_not() {
        let one = |code: u16, jt: u8, jf: u8, k: u32| [Instruction { code, jt, jf, k }, END];
        for wrong in [
            one(LOAD_WORD, 0, 0, 64),
            one(LOAD_WORD, 0, 0, 3),
            one(JUMP, 0, 0, 1),
            one(JUMP, 0, 0, u32::MAX),
            one(EQUAL, 1, 0, 0),
            one(BITS_SET, 0, 255, 0),
            one(0x07, 0, 0, 0),
            one(0x28, 0, 0, 0),
        ] {
            assert!(!loadable(&wrong), "{wrong:?}");
        }
        assert!(!loadable(&[]), "empty");
        assert!(!loadable(&[Instruction { code: AND, ..END }]), "no return at the end");
        assert!(!loadable(&vec![END; MOST_INSTRUCTIONS + 1]), "too long");
        assert!(!is_loadable(&[END.to_bytes().as_slice(), &[0]].concat()), "not whole instructions");
    }
}
