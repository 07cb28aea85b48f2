//! From names to bit masks.

use serde::Serialize;

use crate::spec::Capabilities;

/// The names, each at the index that is its number in the kernel (include/uapi/linux/capability.h, Linux 6.18).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The five sets as masks: bit N is the capability with the number N.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CapabilityPlan {
    /// What any program executed from now on can have at most.
    pub bounding: u64,
    /// What is in force.
    pub effective: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What survives an exec of a program whose file has it as inheritable too.
    pub inheritable: u64,
    /// What survives any exec; always within `permitted` and `inheritable`, as the kernel demands.
    pub ambient: u64,
    /// What was asked for and cannot be had; the container runs without it, as with runc.
    pub warnings: Vec<String>,
}

/// Decides the five sets; `last_capability` is the highest number that this kernel knows.
///
/// `None`, an absent `process.capabilities`, is no capability at all, as in crun and in runc up to 1.2 (later versions
/// of runc leave the runtime's own capabilities in place then, which gives an incomplete config.json all of root's
/// powers).
pub fn plan(capabilities: Option<&Capabilities>, last_capability: u32) -> CapabilityPlan {
    let Some(sets) = capabilities else { return CapabilityPlan::default() };
    let mut unknown = Vec::new();
    let mut mask =
        |names: &[String]| names.iter().fold(0, |mask, name| mask | bit(name, last_capability, &mut unknown));
    let mut plan = CapabilityPlan {
        bounding: mask(&sets.bounding),
        effective: mask(&sets.effective),
        permitted: mask(&sets.permitted),
        inheritable: mask(&sets.inheritable),
        ambient: mask(&sets.ambient),
        warnings: Vec::new(),
    };
    if !unknown.is_empty() {
        plan.warnings.push(format!("ignoring unknown or unavailable capabilities: {}", unknown.join(", ")));
    }
    let refused = plan.ambient & !(plan.permitted & plan.inheritable);
    if refused != 0 {
        plan.ambient &= !refused;
        // The words that runc has for it, which the kernel would refuse.
        let warning = |name| format!("can't raise ambient capability {name}: it is not permitted and inheritable too");
        plan.warnings.extend(names(refused).split(", ").map(warning));
    }
    plan
}

/// The bit of `name`, or none and an entry in `unknown`.
fn bit(name: &str, last: u32, unknown: &mut Vec<String>) -> u64 {
    if let Some(number) = NAMES.iter().take((last as usize).saturating_add(1)).position(|known| *known == name) {
        return 1 << number;
    }
    if !unknown.iter().any(|seen| seen == name) {
        unknown.push(name.to_owned());
    }
    0
}

/// The names of the capabilities that both this runtime and the kernel know, by number; `last` is the kernel's highest.
pub fn known(last: u32) -> Vec<&'static str> {
    NAMES.into_iter().take((last as usize).saturating_add(1)).collect()
}

/// Gives a process one more capability, as `exec --cap` does: bounding, effective and permitted.
///
/// Never inheritable: a program with inheritable file capabilities would gain it (CVE-2022-29162). It becomes ambient
/// only if the process has inheritable capabilities of its own; the planner drops it again where the two do not match.
pub fn add(sets: &mut Capabilities, name: &str) {
    let has_inheritable = !sets.inheritable.is_empty();
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.push(name.to_owned());
    }
    if has_inheritable {
        sets.ambient.push(name.to_owned());
    }
}

/// The names of the capabilities in `mask`, for messages; those without a name by number.
pub(super) fn names(mask: u64) -> String {
    let numbers = (0..u64::BITS).filter(|number| mask & (1 << number) != 0);
    let name = |number: u32| NAMES.get(number as usize).map_or_else(|| number.to_string(), |&name| name.to_owned());
    numbers.map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(json: &str) -> Capabilities {
        serde_json::from_str(json).expect("capabilities")
    }

    #[test]
    fn names_become_the_kernels_numbers() {
        let plan = plan(
            Some(&sets(
                r#"{"bounding":["CAP_CHOWN","CAP_CHECKPOINT_RESTORE"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"]}"#,
            )),
            40,
        );
        let expected =
            CapabilityPlan { bounding: 1 | 1 << 40, effective: 1 << 5, permitted: 1 << 5, ..CapabilityPlan::default() };
        assert_eq!(plan, expected);
    }

    #[test]
    fn absent_capabilities_are_none() {
        assert_eq!(plan(None, 40), CapabilityPlan::default());
    }

    #[test]
    fn unknown_and_unavailable_names_are_told_once_and_ignored() {
        let all = r#"["CAP_NEW","CAP_KILL","CAP_BPF","kill"]"#;
        let plan = plan(Some(&sets(&format!(r#"{{"bounding":{all},"permitted":{all}}}"#))), 37);
        assert_eq!((plan.bounding, plan.permitted), (1 << 5, 1 << 5));
        assert_eq!(plan.warnings, ["ignoring unknown or unavailable capabilities: CAP_NEW, CAP_BPF, kill"]);
    }

    #[test]
    fn ambient_stays_within_permitted_and_inheritable() {
        let json = r#"{"permitted":["CAP_KILL","CAP_CHOWN"],"inheritable":["CAP_KILL","CAP_FOWNER"],
                       "ambient":["CAP_KILL","CAP_CHOWN","CAP_FOWNER"]}"#;
        let plan = plan(Some(&sets(json)), 40);
        assert_eq!(plan.ambient, 1 << 5);
        let expected = |name| format!("can't raise ambient capability {name}: it is not permitted and inheritable too");
        assert_eq!(plan.warnings, [expected("CAP_CHOWN"), expected("CAP_FOWNER")]);
    }

    #[test]
    fn an_added_capability_is_never_inheritable() {
        let mut added = sets(r#"{"bounding":["CAP_CHOWN"]}"#);
        add(&mut added, "CAP_KILL");
        let expected =
            CapabilityPlan { bounding: 1 | 1 << 5, effective: 1 << 5, permitted: 1 << 5, ..Default::default() };
        assert_eq!(plan(Some(&added), 40), expected);

        let mut added = sets(r#"{"inheritable":["CAP_KILL"]}"#);
        add(&mut added, "CAP_KILL");
        add(&mut added, "CAP_CHOWN");
        let plan = plan(Some(&added), 40);
        assert_eq!((plan.inheritable, plan.ambient), (1 << 5, 1 << 5));
    }

    #[test]
    fn known_ends_at_the_kernels_last() {
        assert_eq!(known(0), ["CAP_CHOWN"]);
        assert_eq!(known(40).last(), Some(&"CAP_CHECKPOINT_RESTORE"));
        assert_eq!(known(63).len(), NAMES.len());
    }
}
