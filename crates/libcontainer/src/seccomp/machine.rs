//! A small classic-BPF machine for tests, and a listing of programs: what seccomp filters use of it
//! (Documentation/networking/filter.rst), nothing else.

use std::fmt::Write;

use super::filter::Instruction;
use crate::sys::seccomp::INSTRUCTION_SIZE;

/// A system call as a filter sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) audit_arch: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

impl Call {
    /// The word at `offset` of `struct seccomp_data` (little-endian).
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit_arch,
            offset => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                (if offset % 8 == 0 { argument } else { argument >> 32 }) as u32
            }
        }
    }
}

pub(super) fn instructions(program: &[u8]) -> Vec<Instruction> {
    let (chunks, rest) = program.as_chunks::<INSTRUCTION_SIZE>();
    assert!(rest.is_empty());
    chunks.iter().map(|chunk| Instruction::from_bytes(*chunk)).collect()
}

/// What the program returns for `call`.
pub(super) fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut accumulator, mut at) = (0u32, 0usize);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let holds = match code {
            0x20 => {
                accumulator = call.word(k);
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x05 => {
                at += k as usize;
                continue;
            }
            0x06 => return k,
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            other => panic!("instruction {other:#x}"),
        };
        at += usize::from(if holds { jt } else { jf });
    }
}

/// One line per instruction, with the line that each jump leads to.
pub(super) fn listing(program: &[Instruction]) -> String {
    let mut text = String::new();
    for (at, &Instruction { code, jt, jf, k }) in program.iter().enumerate() {
        let to = |skip: u32| at + 1 + skip as usize;
        let (yes, no) = (to(jt.into()), to(jf.into()));
        let line = match code {
            0x20 if k == 0 => "load number".to_owned(),
            0x20 if k == 4 => "load architecture".to_owned(),
            0x20 => format!("load argument {} {}", (k - 16) / 8, if k % 8 == 0 { "low" } else { "high" }),
            0x54 => format!("and {k:#x}"),
            0x05 => format!("go to {}", to(k)),
            0x06 => format!("return {k:#x}"),
            0x15 => format!("== {k:#x} ? {yes} : {no}"),
            0x25 => format!("> {k:#x} ? {yes} : {no}"),
            0x35 => format!(">= {k:#x} ? {yes} : {no}"),
            0x45 => format!("& {k:#x} ? {yes} : {no}"),
            other => format!("{other:#x} {jt} {jf} {k:#x}"),
        };
        writeln!(text, "{at:4}  {line}").expect("a string takes everything");
    }
    text
}
