//! Checking a profile.

use serde::Serialize;

use super::listener::{Listener, listener};
use super::names::{self, KNOWN_ACTIONS, KNOWN_ARCHS, KNOWN_FLAGS, KNOWN_OPERATORS};
use crate::error::{Error, Result};
use crate::spec::{Seccomp, SeccompArg, SeccompRule};

/// A system call has at most so many arguments.
const ARGUMENTS: u32 = 6;

/// The largest error number that libseccomp takes: one less than the kernel's MAX_ERRNO.
const MAX_ERRNO: u32 = 4094;

/// A checked profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SeccompPlan {
    /// What happens to a system call without a rule. `None`, from an empty object in config.json, means no filter.
    pub default_action: Option<Action>,
    /// The architectures besides the native one, by their names in the spec.
    pub architectures: Vec<&'static str>,
    /// `SECCOMP_FILTER_FLAG_*` for seccomp(2).
    pub flags: u64,
    /// In the order of the profile.
    pub rules: Vec<Rule>,
    /// The agent that is asked, if a rule says so.
    pub listener: Option<Listener>,
    /// A program that is loaded in place of all rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Vec<u8>>,
}

/// What happens to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// Its thread ends.
    KillThread,
    /// Its process ends.
    KillProcess,
    /// Its thread gets SIGSYS.
    Trap,
    /// It fails with this error number.
    Errno(u16),
    /// The tracer gets this number; without a tracer it fails with ENOSYS.
    Trace(u16),
    /// An agent is asked.
    Notify,
    /// It is logged and made.
    Log,
    /// It is made.
    Allow,
}

/// An entry of `linux.seccomp.syscalls`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// The names of the system calls; what libseccomp does not know is left out when compiling.
    pub names: Vec<String>,
    /// What happens to them.
    pub action: Action,
    /// The rule is for calls that meet all of these, or, if two are about the same argument, any of them.
    pub conditions: Vec<Condition>,
}

/// A comparison of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Which argument, from 0.
    pub argument: u32,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: u64,
}

/// All comparisons are unsigned and of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// Equal in the bits of this mask.
    MaskedEqual(u64),
}

/// Checks a profile.
///
/// # Errors
/// Names the field that is wrong, and for an unknown name those that are known.
pub fn plan(seccomp: &Seccomp) -> Result<SeccompPlan> {
    // As runc: an object without anything in it is no profile.
    if seccomp.default_action.is_empty() && seccomp.syscalls.is_empty() {
        return Ok(SeccompPlan::default());
    }
    let fields = ["linux.seccomp.defaultAction", "linux.seccomp.defaultErrnoRet"];
    let default_action = action(&seccomp.default_action, seccomp.default_errno_ret, fields)?;
    if !seccomp.listener_metadata.is_empty() && seccomp.listener_path.is_empty() {
        return Err(Error::invalid("linux.seccomp.listenerMetadata", "must not be set without listenerPath"));
    }
    let architecture = |(index, name): (usize, &String)| {
        let known = KNOWN_ARCHS.iter().find(|known| *known == name).copied();
        known.ok_or_else(|| unknown(&format!("linux.seccomp.architectures[{index}]"), name, KNOWN_ARCHS))
    };
    let rules: Vec<Rule> = seccomp.syscalls.iter().enumerate().map(rule).collect::<Result<_>>()?;
    let listener = listener(seccomp, default_action, &rules)?;
    Ok(SeccompPlan {
        default_action: Some(default_action),
        architectures: seccomp.architectures.iter().enumerate().map(architecture).collect::<Result<_>>()?,
        flags: flags(seccomp.flags.as_deref(), listener.is_some())?,
        rules,
        listener,
        program: None,
    })
}

/// Without a list, speculation stays allowed, as with runc and crun: its prevention is costly, and since Linux 5.16 the
/// kernel does not couple it to seccomp either.
pub(super) fn flags(names: Option<&[String]>, listener: bool) -> Result<u64> {
    let listening = if listener { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    let Some(names) = names else { return Ok(listening | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) };
    names.iter().enumerate().try_fold(listening, |flags, (index, name)| match name.as_str() {
        // The process has one thread when it loads its filter, so there is nothing to synchronise.
        names::FLAG_TSYNC => Ok(flags),
        // It is about a listener's requests, and the kernel refuses it where there is no listener.
        names::FLAG_WAIT_KILLABLE_RECV if !listener => Ok(flags),
        names::FLAG_WAIT_KILLABLE_RECV => Ok(flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
        names::FLAG_LOG => Ok(flags | libc::SECCOMP_FILTER_FLAG_LOG),
        names::FLAG_SPEC_ALLOW => Ok(flags | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        _ => Err(unknown(&format!("linux.seccomp.flags[{index}]"), name, KNOWN_FLAGS)),
    })
}

fn rule((index, rule): (usize, &SeccompRule)) -> Result<Rule> {
    let field = |name: &str| format!("linux.seccomp.syscalls[{index}].{name}");
    if let Some(empty) = rule.names.iter().position(String::is_empty) {
        return Err(Error::invalid(field(&format!("names[{empty}]")), "an empty string names no system call"));
    }
    let condition = |(number, argument)| condition(argument, &field(&format!("args[{number}]")));
    Ok(Rule {
        names: rule.names.clone(),
        action: action(&rule.action, rule.errno_ret, [&field("action"), &field("errnoRet")])?,
        conditions: rule.args.iter().enumerate().map(condition).collect::<Result<_>>()?,
    })
}

/// `fields` are those of the action and of its number.
fn action(name: &str, number: Option<u32>, fields: [&str; 2]) -> Result<Action> {
    let [field, number_field] = fields;
    // EPERM where no number is given: the spec's default.
    let number_up_to = |limit: u32| {
        let number = number.unwrap_or(libc::EPERM.unsigned_abs());
        let fitting = u16::try_from(number).ok().filter(|_| number <= limit);
        fitting.ok_or_else(|| Error::invalid(number_field, format!("{number} is greater than {limit}")))
    };
    let action = match name {
        "SCMP_ACT_ERRNO" => return number_up_to(MAX_ERRNO).map(Action::Errno),
        "SCMP_ACT_TRACE" => return number_up_to(u16::MAX.into()).map(Action::Trace),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        _ => return Err(unknown(field, name, KNOWN_ACTIONS)),
    };
    match number {
        None => Ok(action),
        // "The runtime MUST print an error and fail".
        Some(_) => Err(Error::invalid(number_field, format!("{name} takes no error number"))),
    }
}

fn condition(argument: &SeccompArg, field: &str) -> Result<Condition> {
    if argument.index >= ARGUMENTS {
        let why = format!("{} is not the index of an argument", argument.index);
        return Err(Error::invalid(format!("{field}.index"), why).remedy("use 0 to 5"));
    }
    let (operator, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (Operator::NotEqual, argument.value),
        "SCMP_CMP_LT" => (Operator::Less, argument.value),
        "SCMP_CMP_LE" => (Operator::LessOrEqual, argument.value),
        "SCMP_CMP_EQ" => (Operator::Equal, argument.value),
        "SCMP_CMP_GE" => (Operator::GreaterOrEqual, argument.value),
        "SCMP_CMP_GT" => (Operator::Greater, argument.value),
        "SCMP_CMP_MASKED_EQ" => (Operator::MaskedEqual(argument.value), argument.value_two),
        _ => return Err(unknown(&format!("{field}.op"), &argument.op, KNOWN_OPERATORS)),
    };
    Ok(Condition { argument: argument.index, operator, value })
}

fn unknown(field: &str, name: &str, known: &[&str]) -> Error {
    Error::invalid(field, format!("\"{name}\" is not known")).remedy(format!("known are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn planned(json: &str) -> Result<SeccompPlan> {
        plan(&serde_json::from_str(json).expect("seccomp"))
    }

    #[test]
    fn a_whole_profile() {
        let plan = planned(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
                "flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC"],"syscalls":[
                {"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
                {"names":["clone"],"action":"SCMP_ACT_TRACE","errnoRet":65535,"args":[
                  {"index":0,"value":15,"valueTwo":8,"op":"SCMP_CMP_MASKED_EQ"},{"index":5,"value":7,"op":"SCMP_CMP_GE"}]}]}"#,
        );
        let expected = SeccompPlan {
            default_action: Some(Action::Errno(38)),
            architectures: vec!["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            flags: libc::SECCOMP_FILTER_FLAG_LOG,
            rules: vec![
                Rule { names: vec!["read".into(), "write".into()], action: Action::Allow, conditions: vec![] },
                Rule {
                    names: vec!["clone".into()],
                    action: Action::Trace(65535),
                    conditions: vec![
                        Condition { argument: 0, operator: Operator::MaskedEqual(15), value: 8 },
                        Condition { argument: 5, operator: Operator::GreaterOrEqual, value: 7 },
                    ],
                },
            ],
            ..SeccompPlan::default()
        };
        assert_eq!(plan.expect("plan"), expected);
    }

    #[test]
    fn every_name_that_is_known_is_accepted() {
        for name in KNOWN_ACTIONS.iter().filter(|name| **name != "SCMP_ACT_NOTIFY") {
            planned(&format!(r#"{{"defaultAction":"{name}"}}"#)).expect(name);
        }
        for name in KNOWN_ARCHS {
            let plan = planned(&format!(r#"{{"defaultAction":"SCMP_ACT_LOG","architectures":["{name}"]}}"#));
            assert_eq!(plan.expect(name).architectures, [*name]);
        }
        for name in KNOWN_FLAGS {
            planned(&format!(r#"{{"defaultAction":"SCMP_ACT_LOG","flags":["{name}"]}}"#)).expect(name);
        }
        for name in KNOWN_OPERATORS {
            let rule = format!(r#"{{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{{"index":0,"op":"{name}"}}]}}"#);
            planned(&format!(r#"{{"defaultAction":"SCMP_ACT_LOG","syscalls":[{rule}]}}"#)).expect(name);
        }
        for list in [KNOWN_ACTIONS, KNOWN_ARCHS, KNOWN_OPERATORS] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn flags_absent_and_empty_differ() {
        let flags = |json: &str| planned(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{json}}}"#)).expect(json).flags;
        assert_eq!(flags(""), libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
        assert_eq!(flags(r#","flags":[]"#), 0);
        let two = r#","flags":["SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_LOG"]"#;
        assert_eq!(flags(two), libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | libc::SECCOMP_FILTER_FLAG_LOG);
    }

    #[test]
    fn an_empty_object_is_no_filter() {
        assert_eq!(planned(r#"{"syscalls":null}"#).expect("plan").default_action, None);
    }

    #[test]
    fn numbers_default_to_eperm_and_are_checked() {
        let default = |json: &str| planned(json).expect(json).default_action;
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#), Some(Action::Errno(1)));
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_TRACE"}"#), Some(Action::Trace(1)));
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":0}"#), Some(Action::Errno(0)));
        assert_eq!(default(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4094}"#), Some(Action::Errno(4094)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let profile =
            |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["read"],{rule}}}]}}"#);
        let argument = |argument: &str| {
            profile(&format!(r#""action":"SCMP_ACT_ERRNO","args":[{{"op":"SCMP_CMP_EQ"}},{{{argument}}}]"#))
        };
        let cases = [
            (
                r#"{"defaultAction":"SCMP_ACT_NO"}"#.into(),
                "linux.seccomp.defaultAction: \"SCMP_ACT_NO\" is not known (known are SCMP_ACT_ALLOW, ",
            ),
            (r#"{"syscalls":[{"names":[]}]}"#.into(), "linux.seccomp.defaultAction: \"\" is not known"),
            (
                r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4095}"#.into(),
                "linux.seccomp.defaultErrnoRet: 4095 is greater than 4094",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_LOG","defaultErrnoRet":1}"#.into(),
                "linux.seccomp.defaultErrnoRet: SCMP_ACT_LOG takes no error number",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_LOG","architectures":["SCMP_ARCH_X86","x86"]}"#.into(),
                "linux.seccomp.architectures[1]: \"x86\" is not known",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_LOG","flags":["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#.into(),
                "linux.seccomp.flags[0]: \"SECCOMP_FILTER_FLAG_NEW_LISTENER\" is not known",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_LOG","listenerMetadata":"x"}"#.into(),
                "linux.seccomp.listenerMetadata: must not be set without listenerPath",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["a",""],"action":"SCMP_ACT_LOG"}]}"#.into(),
                "linux.seccomp.syscalls[0].names[1]: an empty string names no system call",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/a"}"#.into(),
                "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
            ),
            (profile(r#""action":"SCMP_ACT_NOTIFY""#), "linux.seccomp.listenerPath: it is missing"),
            (
                r#"{"defaultAction":"SCMP_ACT_LOG","listenerPath":"/a","syscalls":[
                    {"names":["read","write"],"action":"SCMP_ACT_NOTIFY"}]}"#
                    .into(),
                "linux.seccomp.syscalls[0].names[1]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
            ),
            (profile(r#""action":"ALLOW""#), "linux.seccomp.syscalls[0].action: \"ALLOW\" is not known"),
            (
                profile(r#""action":"SCMP_ACT_KILL","errnoRet":1"#),
                "linux.seccomp.syscalls[0].errnoRet: SCMP_ACT_KILL takes no error number",
            ),
            (
                profile(r#""action":"SCMP_ACT_TRACE","errnoRet":65536"#),
                "linux.seccomp.syscalls[0].errnoRet: 65536 is greater than 65535",
            ),
            (
                argument(r#""index":6,"op":"SCMP_CMP_EQ""#),
                "linux.seccomp.syscalls[0].args[1].index: 6 is not the index of an argument (use 0 to 5)",
            ),
            (
                argument(r#""op":"=""#),
                "linux.seccomp.syscalls[0].args[1].op: \"=\" is not known (known are SCMP_CMP_EQ, ",
            ),
        ];
        for (json, expected) in cases {
            let error = planned(&json).expect_err(&json);
            assert!(error.to_string().starts_with(expected), "{error}");
            assert_eq!(error.kind(), Kind::Invalid);
        }
    }
}
