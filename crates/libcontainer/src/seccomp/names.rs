//! The names of the spec, which are those of libseccomp and the kernel, and what they stand for.

/// The actions that this runtime knows, sorted.
pub const KNOWN_ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// The comparisons that this runtime knows, sorted.
pub const KNOWN_OPERATORS: &[&str] =
    &["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// The filter flags that this runtime knows, in runc's order.
pub const KNOWN_FLAGS: &[&str] = &[FLAG_TSYNC, FLAG_SPEC_ALLOW, FLAG_LOG, FLAG_WAIT_KILLABLE_RECV];

pub(super) const FLAG_TSYNC: &str = "SECCOMP_FILTER_FLAG_TSYNC";
pub(super) const FLAG_SPEC_ALLOW: &str = "SECCOMP_FILTER_FLAG_SPEC_ALLOW";
pub(super) const FLAG_LOG: &str = "SECCOMP_FILTER_FLAG_LOG";
pub(super) const FLAG_WAIT_KILLABLE_RECV: &str = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";

/// The architectures that this runtime knows, sorted: those of the spec. The libseccomp that this binary is linked with
/// may not know them all (2.5 lacks LOONGARCH64, M68K, SH and SHEB); [`compile`](super::compile) says so then.
pub const KNOWN_ARCHS: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// What the kernel puts into `seccomp_data.arch` (AUDIT_ARCH_* of include/uapi/linux/audit.h: the ELF machine, and bits
/// for 64-bit, little-endian and the MIPS n32 convention) where a filter can meet it here. A filter holds architectures
/// of one byte order, and no host of ours is big-endian.
pub(super) fn audit_arch(name: &str) -> Option<u32> {
    Some(match name {
        "SCMP_ARCH_AARCH64" => 0xc000_00b7,
        "SCMP_ARCH_ARM" => 0x4000_0028,
        "SCMP_ARCH_LOONGARCH64" => 0xc000_0102,
        "SCMP_ARCH_MIPSEL" => 0x4000_0008,
        "SCMP_ARCH_MIPSEL64" => 0xc000_0008,
        "SCMP_ARCH_MIPSEL64N32" => 0xe000_0008,
        "SCMP_ARCH_PPC64LE" => 0xc000_0015,
        "SCMP_ARCH_RISCV64" => 0xc000_00f3,
        "SCMP_ARCH_SH" => 0x4000_002a,
        "SCMP_ARCH_X86" => 0x4000_0003,
        "SCMP_ARCH_X32" | "SCMP_ARCH_X86_64" => super::enosys::AUDIT_ARCH_X86_64,
        _ => return None,
    })
}
