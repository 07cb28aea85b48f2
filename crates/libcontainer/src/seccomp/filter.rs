//! A compiled filter, and its form as bytes.

use crate::error::{Error, Kind, Result};
use crate::sys::seccomp::INSTRUCTION_SIZE;

/// One instruction of classic BPF: `struct sock_filter` of include/uapi/linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    /// How many instructions to skip if the comparison holds.
    pub(super) jt: u8,
    /// How many if it does not.
    pub(super) jf: u8,
    pub(super) k: u32,
}

impl Instruction {
    pub(super) fn to_bytes(self) -> [u8; INSTRUCTION_SIZE] {
        let ([c0, c1], [k0, k1, k2, k3]) = (self.code.to_ne_bytes(), self.k.to_ne_bytes());
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }

    pub(super) fn from_bytes([c0, c1, jt, jf, k0, k1, k2, k3]: [u8; INSTRUCTION_SIZE]) -> Self {
        Instruction { code: u16::from_ne_bytes([c0, c1]), jt, jf, k: u32::from_ne_bytes([k0, k1, k2, k3]) }
    }
}

/// What [`load`](super::load) needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A sequence of `struct sock_filter`; empty for no filter at all.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
}

impl Filter {
    /// The flags in eight bytes, then the program; for another process on this machine (native byte order).
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.flags.to_ne_bytes(), self.program.as_slice()].concat()
    }

    /// The reverse of [`to_bytes`](Filter::to_bytes).
    ///
    /// # Errors
    /// If the length cannot be that of a filter.
    pub fn from_bytes(bytes: &[u8]) -> Result<Filter> {
        match bytes.split_first_chunk() {
            Some((flags, program)) if program.len() % INSTRUCTION_SIZE == 0 => {
                Ok(Filter { program: program.to_vec(), flags: u64::from_ne_bytes(*flags) })
            }
            _ => Err(Error::new(Kind::Invalid, format!("{} bytes are no seccomp filter", bytes.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_survives_as_bytes() {
        for filter in [Filter::default(), Filter { program: (0..24).collect(), flags: 0x8000_0000_0000_0006 }] {
            assert_eq!(Filter::from_bytes(&filter.to_bytes()).expect("bytes"), filter);
        }
        for length in [0, 7, 9, 15] {
            assert_eq!(Filter::from_bytes(&vec![0; length]).expect_err("length").kind(), Kind::Invalid);
        }
    }

    #[test]
    fn an_instruction_is_laid_out_as_the_kernel_has_it() {
        let instruction = Instruction { code: 0x15, jt: 1, jf: 2, k: 0x0403_0201 };
        let bytes = instruction.to_bytes();
        assert_eq!(Instruction::from_bytes(bytes), instruction);
        if cfg!(target_endian = "little") {
            assert_eq!(bytes, [0x15, 0, 1, 2, 1, 2, 3, 4]);
        }
    }
}
