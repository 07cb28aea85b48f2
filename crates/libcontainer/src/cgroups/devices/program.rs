//! The assembler of the program that decides on device access on cgroup v2.
//!
//! The kernel calls it with a `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor; }`, where `access_type` holds
//! the kind of device in its lower and the kinds of access in its upper 16 bits, and allows access if it returns 1.

use std::fmt;

use serde::Serialize;

use super::{DeviceAccess, DeviceKind, MKNOD, READ, Rule, WRITE};

/// Registers: the result, the context, and what is read out of it.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
/// The access bits that are not decided yet.
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Operations (linux/bpf_common.h and linux/bpf.h): class | size or source | mode or operation.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_IF_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

/// One instruction, the fields of `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u8,
    /// The register that is written or compared.
    pub destination: u8,
    /// The register that is read.
    pub source: u8,
    /// A distance in the context, or of a jump in instructions after the next.
    pub offset: i16,
    /// A constant.
    pub immediate: i32,
}

impl Instruction {
    fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
        Instruction { code, destination, source, offset, immediate }
    }

    /// As the kernel reads it (`struct bpf_insn`, in which the registers share a byte in an order that depends on the
    /// machine's).
    pub(in crate::cgroups) fn encode(self) -> u64 {
        let registers = match cfg!(target_endian = "little") {
            true => self.source << 4 | self.destination,
            false => self.destination << 4 | self.source,
        };
        let ([o0, o1], [i0, i1, i2, i3]) = (self.offset.to_ne_bytes(), self.immediate.to_ne_bytes());
        u64::from_ne_bytes([self.code, registers, o0, o1, i0, i1, i2, i3])
    }
}

impl fmt::Display for Instruction {
    /// As the verifier prints it, more or less.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (w, offset, k) = (self.destination, self.offset, self.immediate);
        match self.code {
            LOAD_WORD => write!(f, "w{w} = *(u32 *)(r{} + {offset})", self.source),
            MOVE => write!(f, "w{w} = {k}"),
            MOVE_REGISTER => write!(f, "w{w} = w{}", self.source),
            AND => write!(f, "w{w} &= {k:#x}"),
            SHIFT_RIGHT => write!(f, "w{w} >>= {k}"),
            JUMP_IF_EQUAL => write!(f, "if w{w} == {k:#x} goto +{offset}"),
            JUMP_IF_NOT_EQUAL => write!(f, "if w{w} != {k:#x} goto +{offset}"),
            EXIT => write!(f, "exit"),
            code => write!(f, "{code:#x}"),
        }
    }
}

impl Serialize for Instruction {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Rules are tried from the last to the first. One that denies, and is about any access still undecided, ends it; one
/// that allows decides its kinds of access, and ends it when none is left.
pub(super) fn assemble(access: &DeviceAccess) -> Vec<Instruction> {
    let mut program = vec![
        Instruction::new(LOAD_WORD, KIND, CONTEXT, 0, 0),
        Instruction::new(MOVE_REGISTER, OPEN, KIND, 0, 0),
        Instruction::new(AND, KIND, 0, 0, 0xffff),
        Instruction::new(SHIFT_RIGHT, OPEN, 0, 0, 16),
        Instruction::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        Instruction::new(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    let rules = access.rules.iter().rev();
    // What has the default's effect matters only where an earlier rule says otherwise.
    let first_exception = access.rules.iter().position(|rule| rule.allow != access.allowed_by_default);
    let matter = first_exception.map_or(0, |first| access.rules.len() - first);
    rules.take(matter).for_each(|rule| append(rule, &mut program));
    program.extend(answer(access.allowed_by_default));
    program
}

fn append(rule: &Rule, program: &mut Vec<Instruction>) {
    let mut decide = Vec::with_capacity(5);
    let bits = i32::from(rule.access);
    if rule.access == MKNOD | READ | WRITE {
        decide.extend(answer(rule.allow));
    } else if rule.allow {
        decide.push(Instruction::new(AND, OPEN, 0, 0, !bits & 0xffff));
        decide.push(Instruction::new(JUMP_IF_NOT_EQUAL, OPEN, 0, 2, 0));
        decide.extend(answer(true));
    } else {
        decide.push(Instruction::new(MOVE_REGISTER, SCRATCH, OPEN, 0, 0));
        decide.push(Instruction::new(AND, SCRATCH, 0, 0, bits));
        decide.push(Instruction::new(JUMP_IF_EQUAL, SCRATCH, 0, 2, 0));
        decide.extend(answer(false));
    }
    let devices = &rule.devices;
    let kind = (KIND, Some(if devices.kind == DeviceKind::Block { 1 } else { 2 }));
    let conditions = [kind, (MAJOR, devices.major), (MINOR, devices.minor)];
    let conditions: Vec<(u8, u32)> =
        conditions.iter().filter_map(|(register, number)| number.map(|number| (*register, number))).collect();
    for (done, (register, number)) in conditions.iter().enumerate() {
        let to_next_rule = conditions.len() - done - 1 + decide.len();
        // As the other constants here this is compared in 32 bits, so the sign does not matter.
        program.push(Instruction::new(JUMP_IF_NOT_EQUAL, *register, 0, to_next_rule as i16, *number as i32));
    }
    program.extend(decide);
}

fn answer(allow: bool) -> [Instruction; 2] {
    [Instruction::new(MOVE, RESULT, 0, 0, i32::from(allow)), Instruction::new(EXIT, 0, 0, 0, 0)]
}
