//! Which devices the container's processes may read, write and make nodes of (config-linux.md "Allowed Device list").
//!
//! The rules are an ordered list in which, for each kind of access, the last rule that matches decides; nothing is
//! allowed to begin with. Both kernels' mechanisms get the same meaning from here: v1 as lines for devices.deny and
//! devices.allow, v2 as a program.

mod attach;
mod program;

pub use program::Instruction;

pub(super) use attach::attach;

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::spec::DeviceRule;

use super::write::CgroupWrite;

const FIELD: &str = "linux.resources.devices";

/// Kinds of access, numbered as the kernel does for v2 (`BPF_DEVCG_ACC_*`).
pub(super) const MKNOD: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
const EVERYTHING: u8 = MKNOD | READ | WRITE;

/// Block or character devices; ordered, and numbered, as the kernel does for v2 (`BPF_DEVCG_DEV_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// `b`
    Block = 1,
    /// `c`
    Char = 2,
}

/// The devices that a rule is about; no number means all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Devices {
    /// The major number.
    pub major: Option<u32>,
    /// The minor number.
    pub minor: Option<u32>,
    /// Their type.
    pub kind: DeviceKind,
}

impl Devices {
    /// Whether all of `others` are among these.
    fn include(&self, others: &Devices) -> bool {
        let wide = |mine: Option<u32>, other: Option<u32>| mine.is_none() || mine == other;
        self.kind == others.kind && wide(self.major, others.major) && wide(self.minor, others.minor)
    }
}

impl fmt::Display for Devices {
    /// As in devices.list: `c 136:*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = if self.kind == DeviceKind::Block { 'b' } else { 'c' };
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

/// One rule, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// What it is about.
    pub devices: Devices,
    /// The kinds of access, in bits.
    pub access: u8,
    /// Its place in `linux.resources.devices`; none for those that every container gets.
    pub index: Option<usize>,
}

/// What runc allows to every container that is not allowed everything, after the rules of the config and therefore in
/// spite of them: the spec's default devices, terminals, /dev/net/tun, and making nodes (which is no use without the right to open them).
const ALWAYS_ALLOWED: [(DeviceKind, Option<u32>, Option<u32>, u8); 11] = [
    (DeviceKind::Char, None, None, MKNOD),
    (DeviceKind::Block, None, None, MKNOD),
    (DeviceKind::Char, Some(1), Some(3), EVERYTHING),    // null
    (DeviceKind::Char, Some(1), Some(8), EVERYTHING),    // random
    (DeviceKind::Char, Some(1), Some(7), EVERYTHING),    // full
    (DeviceKind::Char, Some(5), Some(0), EVERYTHING),    // tty
    (DeviceKind::Char, Some(1), Some(5), EVERYTHING),    // zero
    (DeviceKind::Char, Some(1), Some(9), EVERYTHING),    // urandom
    (DeviceKind::Char, Some(136), None, EVERYTHING),     // pts/*, and so console
    (DeviceKind::Char, Some(5), Some(2), EVERYTHING),    // ptmx
    (DeviceKind::Char, Some(10), Some(200), EVERYTHING), // net/tun
];

/// What differs from the default: kinds of access, by devices, each of which is listed once.
pub(super) type Exceptions = Vec<(Devices, u8)>;

/// The checked list of rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceAccess {
    /// Whether what no rule matches is allowed: the config's last rule about all devices decides.
    pub allowed_by_default: bool,
    /// The rules after that one, in order; the last that matches decides.
    pub rules: Vec<Rule>,
}

impl DeviceAccess {
    /// Checks the config's rules and appends what is always allowed. A type of `a`, or none, means all devices and all
    /// access whatever else the rule says, as in v1's files and in runc.
    ///
    /// # Errors
    /// Names the rule that is wrong.
    pub fn parse(rules: &[DeviceRule]) -> Result<DeviceAccess> {
        let mut access = DeviceAccess { allowed_by_default: false, rules: Vec::with_capacity(16) };
        for (index, rule) in rules.iter().enumerate() {
            let invalid = |name: &str, why: String| Error::invalid(format!("{FIELD}[{index}]{name}"), why);
            let mut bits = 0;
            for letter in rule.access.chars() {
                bits |= match letter {
                    'r' => READ,
                    'w' => WRITE,
                    'm' => MKNOD,
                    _ => 0, // told by `tell_unknown_access`
                };
            }
            if bits == 0 {
                return Err(invalid(".access", format!("\"{}\" has none of r, w and m", rule.access)));
            }
            let number = |name: &str, number: Option<i64>| match number {
                None | Some(-1) => Ok(None),
                Some(value) => u32::try_from(value)
                    .map(Some)
                    .map_err(|_| invalid(name, format!("{value} is too large or negative"))),
            };
            let (major, minor) = (number(".major", rule.major)?, number(".minor", rule.minor)?);
            let kind = match rule.kind.as_str() {
                "b" => DeviceKind::Block,
                "c" => DeviceKind::Char,
                "a" | "" => {
                    access = DeviceAccess { allowed_by_default: rule.allow, rules: Vec::with_capacity(16) };
                    continue;
                }
                other => return Err(invalid(".type", format!("\"{other}\" is not one of a, b and c"))),
            };
            let devices = Devices { major, minor, kind };
            access.rules.push(Rule { allow: rule.allow, devices, access: bits, index: Some(index) });
        }
        // Where all is allowed, a rule that denies something means it.
        if !access.allowed_by_default {
            access.rules.extend(ALWAYS_ALLOWED.map(|(kind, major, minor, access)| {
                let devices = Devices { major, minor, kind };
                Rule { allow: true, devices, access, index: None }
            }));
        }
        Ok(access)
    }

    /// The rules as a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
    pub fn program(&self) -> Vec<Instruction> {
        program::assemble(self)
    }

    /// The rules as lines for v1, in the config's order. Its kernel side is a default with a set of exceptions, which are
    /// never exceptions from exceptions.
    ///
    /// # Errors
    /// For a rule that takes something out of an earlier, wider one.
    pub(super) fn v1_writes(&self) -> Result<Vec<CgroupWrite>> {
        let (exception, default) = self.v1_files();
        // The new directory starts as a copy of its parent's list.
        let default = CgroupWrite::new(default, "a *:* rwm", FIELD);
        let exceptions = self.exceptions()?;
        Ok(std::iter::once(default).chain(exceptions.iter().map(|one| line(exception, one))).collect())
    }

    /// The lines that lead from these rules to `after`. If the default stays the same, only what differs is written, and
    /// the exceptions that are new before those that go: no process is denied, meanwhile, what both allow.
    ///
    /// # Errors
    /// As [`DeviceAccess::v1_writes`].
    pub(super) fn v1_changes(&self, after: &DeviceAccess) -> Result<Vec<CgroupWrite>> {
        if self.allowed_by_default != after.allowed_by_default {
            return after.v1_writes();
        }
        let (exception, default) = self.v1_files();
        let (old, new) = (self.exceptions()?, after.exceptions()?);
        let more = beyond(&new, &old).map(|one| line(exception, &one));
        let less = beyond(&old, &new).map(|one| line(default, &one));
        Ok(more.chain(less).collect())
    }

    /// v1's file that takes exceptions, and the one that takes the default, or takes exceptions away.
    fn v1_files(&self) -> (&'static str, &'static str) {
        if self.allowed_by_default { ("devices.deny", "devices.allow") } else { ("devices.allow", "devices.deny") }
    }

    /// What differs from the default, as one list that no order matters in.
    ///
    /// # Errors
    /// For a rule that takes something out of an earlier, wider one.
    pub(super) fn exceptions(&self) -> Result<Exceptions> {
        let mut exceptions: Exceptions = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            if rule.allow == self.allowed_by_default {
                self.back_to_default(rule, &mut exceptions)?;
            } else {
                match exceptions.iter_mut().find(|(devices, _)| *devices == rule.devices) {
                    Some((_, access)) => *access |= rule.access,
                    None => exceptions.push((rule.devices, rule.access)),
                }
            }
        }
        Ok(exceptions)
    }

    /// Takes what `rule` is about out of the exceptions.
    fn back_to_default(&self, rule: &Rule, exceptions: &mut Exceptions) -> Result<()> {
        let wider = exceptions.iter().find(|(devices, access)| {
            *devices != rule.devices && devices.include(&rule.devices) && *access & rule.access != 0
        });
        if let Some((wider, _)) = wider {
            let field = rule.index.map_or(FIELD.to_owned(), |index| format!("{FIELD}[{index}]"));
            let (one, other) = if rule.allow { ("allow", "denied") } else { ("deny", "allowed") };
            let why = format!("cgroup v1 cannot {one} {} while all of {wider} is {other}", rule.devices);
            return Err(Error::invalid(field, why).remedy("list the devices one by one, or use cgroup v2"));
        }
        exceptions.retain_mut(|(devices, access)| {
            if rule.devices.include(devices) {
                *access &= !rule.access;
            }
            *access != 0
        });
        Ok(())
    }
}

/// What is to be said about letters that are no kind of access: they are passed over, as crun does, and runc on v1.
pub fn tell_unknown_access(rules: &[DeviceRule]) -> Vec<String> {
    let odd = rules.iter().enumerate().filter(|(_, rule)| rule.access.contains(|letter| !"rwm".contains(letter)));
    odd.map(|(index, rule)| {
        let access = &rule.access;
        format!("{FIELD}[{index}].access: \"{access}\" is not made of r, w and m; the other letters are ignored")
    })
    .collect()
}

fn line(file: &'static str, (devices, access): &(Devices, u8)) -> CgroupWrite {
    CgroupWrite::new(file, format!("{devices} {}", letters(*access)), FIELD)
}

/// What of `these` is not among `those`.
fn beyond(these: &Exceptions, those: &Exceptions) -> impl Iterator<Item = (Devices, u8)> {
    these.iter().filter_map(|(devices, access)| {
        let same = those.iter().find(|(other, _)| other == devices).map_or(0, |(_, access)| *access);
        Some((*devices, access & !same)).filter(|(_, access)| *access != 0)
    })
}

pub(super) fn letters(access: u8) -> String {
    [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
        .iter()
        .filter(|(bit, _)| access & bit != 0)
        .map(|(_, letter)| letter)
        .collect()
}
