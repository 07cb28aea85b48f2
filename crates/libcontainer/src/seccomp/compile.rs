//! From a plan to a BPF program, through libseccomp.

use std::collections::BTreeSet;
use std::io::Read;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::fs::{MemfdFlags, SeekFrom};

use super::enosys::{self, Highest};
use super::filter::Filter;
use super::names::audit_arch;
use super::plan::{Action, Condition, Operator, Rule, SeccompPlan};
use crate::error::{Error, Kind, Result, SysContext};

/// From how many system calls on libseccomp searches a tree of them instead of a list; runc's number. (Up to 2.5.4 it
/// makes a wrong tree of none.)
const TREE_FROM: usize = 33;

/// The architecture that this program itself runs on, whose system calls every filter must judge.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: &str = "SCMP_ARCH_AARCH64";

/// Compiles a plan. System calls that libseccomp does not know are left out, as in runc: what they get is the default
/// action, or ENOSYS if they are newer than all others in the profile.
///
/// # Errors
/// If an architecture is beyond this libseccomp or of another byte order, or libseccomp refuses a rule.
pub fn compile(plan: &SeccompPlan) -> Result<Filter> {
    if let Some(program) = &plan.program {
        return Ok(Filter { program: program.clone(), flags: plan.flags });
    }
    let Some(default_action) = plan.default_action else { return Ok(Filter::default()) };
    let mut program = match default_action {
        // Who allows what is unknown allows what is new; a tracer is trusted to know. And ENOSYS it is already.
        Action::Allow | Action::Log | Action::Trace(_) => Vec::new(),
        Action::Errno(errno) if i32::from(errno) == libc::ENOSYS => Vec::new(),
        _ => enosys::prefix(&highest(plan)).into_iter().flat_map(|instruction| instruction.to_bytes()).collect(),
    };
    let mut context = ScmpFilterContext::new(action(default_action)).map_err(failed("linux.seccomp.defaultAction"))?;
    for (index, name) in plan.architectures.iter().enumerate() {
        let field = format!("linux.seccomp.architectures[{index}]: {name}");
        let added = name.parse().and_then(|arch: ScmpArch| context.add_arch(arch).map(drop));
        added.map_err(|error| {
            failed(field)(error)
                .of_kind(Kind::Unsupported)
                .cause("this libseccomp does not know it, or it has another byte order than this machine")
        })?;
    }
    if plan.rules.iter().map(|rule| rule.names.len()).sum::<usize>() >= TREE_FROM {
        context.set_ctl_optimize(2).map_err(failed("a search tree of the rules"))?;
    }
    for (index, rule) in plan.rules.iter().enumerate().filter(|(_, rule)| rule.action != default_action) {
        for name in &rule.names {
            let field = || format!("linux.seccomp.syscalls[{index}]: {name}");
            add(&mut context, rule, name).map_err(|error| failed(field())(error))?;
        }
    }
    export(&context, &mut program)?;
    Ok(Filter { program, flags: plan.flags })
}

/// The highest number of a system call in the plan, for each architecture that has one.
fn highest(plan: &SeccompPlan) -> Vec<Highest> {
    let architectures: BTreeSet<&str> = plan.architectures.iter().copied().chain([NATIVE]).collect();
    let names: BTreeSet<&str> = plan.rules.iter().flat_map(|rule| &rule.names).map(String::as_str).collect();
    let of_architecture = |name: &str| {
        let (audit_arch, arch) = (audit_arch(name)?, name.parse::<ScmpArch>().ok()?);
        let number = |name| u32::try_from(ScmpSyscall::from_name_by_arch(name, arch).ok()?.as_raw_syscall()).ok();
        let number = names.iter().copied().filter_map(number).max()?;
        Some(Highest { audit_arch, number })
    };
    architectures.into_iter().filter_map(of_architecture).collect()
}

fn add(context: &mut ScmpFilterContext, rule: &Rule, name: &str) -> Result<(), SeccompError> {
    let Ok(syscall) = ScmpSyscall::from_name(name) else { return Ok(()) };
    let action = action(rule.action);
    let conditions: Vec<_> = rule.conditions.iter().map(comparison).collect();
    let arguments: BTreeSet<_> = rule.conditions.iter().map(|condition| condition.argument).collect();
    if arguments.len() == conditions.len() {
        return context.add_rule_conditional(action, syscall, &conditions).map(drop);
    }
    // libseccomp takes one comparison per argument. Several were always taken as alternatives by runc, and profiles
    // rely on it.
    conditions.iter().try_for_each(|condition| {
        context.add_rule_conditional(action, syscall, std::slice::from_ref(condition)).map(drop)
    })
}

fn action(action: Action) -> ScmpAction {
    match action {
        Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(errno) => ScmpAction::Errno(errno.into()),
        Action::Trace(number) => ScmpAction::Trace(number),
        Action::Notify => ScmpAction::Notify,
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
    }
}

fn comparison(condition: &Condition) -> ScmpArgCompare {
    let operator = match condition.operator {
        Operator::NotEqual => ScmpCompareOp::NotEqual,
        Operator::Less => ScmpCompareOp::Less,
        Operator::LessOrEqual => ScmpCompareOp::LessOrEqual,
        Operator::Equal => ScmpCompareOp::Equal,
        Operator::GreaterOrEqual => ScmpCompareOp::GreaterEqual,
        Operator::Greater => ScmpCompareOp::Greater,
        Operator::MaskedEqual(mask) => ScmpCompareOp::MaskedEqual(mask),
    };
    ScmpArgCompare::new(condition.argument, operator, condition.value)
}

/// Appends the program to `program`; libseccomp before 2.6 writes it to a descriptor only.
fn export(context: &ScmpFilterContext, program: &mut Vec<u8>) -> Result<()> {
    let memfd =
        rustix::fs::memfd_create("seccomp-filter", MemfdFlags::CLOEXEC).sys("memfd_create", "seccomp-filter")?;
    context.export_bpf(&memfd).map_err(failed("the filter"))?;
    rustix::fs::seek(&memfd, SeekFrom::Start(0)).sys("lseek", "seccomp-filter")?;
    std::fs::File::from(memfd).read_to_end(program).sys("read", "seccomp-filter")?;
    Ok(())
}

fn failed(what: impl Into<String>) -> impl FnOnce(SeccompError) -> Error {
    move |error| Error::new(Kind::Invalid, what).cause(format!("libseccomp: {error}"))
}

/// The version of the libseccomp that is linked in, `x.y.z`.
pub fn library_version() -> Option<String> {
    let version = libseccomp::ScmpVersion::current().ok()?;
    Some(format!("{}.{}.{}", version.major, version.minor, version.micro))
}
