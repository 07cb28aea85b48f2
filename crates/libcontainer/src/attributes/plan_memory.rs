//! From `linux.memoryPolicy` and `linux.personality` to what the kernel's calls take.

use serde::Serialize;

use super::plan_scheduling::value_of;
use crate::error::{Error, Result};
use crate::spec::{MemoryPolicy, Personality, list_to_bits};

/// The arguments of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPolicyPlan {
    /// `MPOL_*` with its flags.
    pub mode: u32,
    /// A bit for each memory node, the lowest first.
    pub nodes: Vec<u8>,
}

/// linux/mempolicy.h.
const MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

const STATIC_NODES: u32 = 1 << 15;
const RELATIVE_NODES: u32 = 1 << 14;

const FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", RELATIVE_NODES),
    ("MPOL_F_STATIC_NODES", STATIC_NODES),
];

/// linux/personality.h.
const DOMAINS: [(&str, u32); 2] = [("LINUX", 0), ("LINUX32", 8)];

/// The modes of a memory policy that this runtime knows.
pub fn known_memory_modes() -> Vec<&'static str> {
    MODES.iter().map(|(name, _)| *name).collect()
}

/// The flags of a memory policy that this runtime knows.
pub fn known_memory_flags() -> Vec<&'static str> {
    FLAGS.iter().map(|(name, _)| *name).collect()
}

/// Plans a memory policy, by the rules of set_mempolicy(2). What is refused is called what runc calls it, beside its field.
pub(super) fn memory_policy(policy: &MemoryPolicy) -> Result<MemoryPolicyPlan> {
    let name = policy.mode.as_str();
    let mut mode = value_of(&MODES, name, "linux.memoryPolicy.mode: invalid memory policy mode")?;
    for (index, flag) in policy.flags.iter().enumerate() {
        mode |= value_of(&FLAGS, flag, &format!("linux.memoryPolicy.flags[{index}]: invalid memory policy flag"))?;
    }
    if mode & STATIC_NODES != 0 && mode & RELATIVE_NODES != 0 {
        let why = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        return Err(Error::invalid("linux.memoryPolicy.flags", why));
    }
    let refuse = |why: String| Error::invalid("linux.memoryPolicy.nodes: invalid memory policy nodes", why);
    let nodes = match policy.nodes.as_str() {
        "" => Vec::new(),
        list => list_to_bits(list).map_err(refuse)?,
    };
    let count: u32 = nodes.iter().map(|byte| byte.count_ones()).sum();
    match (name, count) {
        ("MPOL_DEFAULT" | "MPOL_LOCAL", 1..) => Err(refuse(format!("{name}: mode requires 0 nodes but got {count}"))),
        ("MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED", _) | (_, 1..) => Ok(MemoryPolicyPlan { mode, nodes }),
        _ => Err(refuse(format!("{name}: mode requires at least 1 node but got 0"))),
    }
}

/// Plans a personality: the number of personality(2).
pub(super) fn personality(personality: &Personality) -> Result<u32> {
    if let Some(flag) = personality.flags.first() {
        return Err(Error::invalid("linux.personality.flags[0]", format!("\"{flag}\": the spec defines no flags")));
    }
    value_of(&DOMAINS, &personality.domain, "linux.personality.domain")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn planned(json: Value) -> Result<MemoryPolicyPlan> {
        memory_policy(&serde_json::from_value(json).expect("a policy"))
    }

    #[test]
    fn policies_are_numbered_as_the_kernel_does() {
        for (name, number) in MODES {
            let nodes = if matches!(name, "MPOL_DEFAULT" | "MPOL_LOCAL") { "" } else { "0,9" };
            let plan = planned(json!({"mode": name, "nodes": nodes})).expect(name);
            assert_eq!((plan.mode, plan.nodes.is_empty()), (number, nodes.is_empty()));
        }
        let plan = planned(json!({"mode": "MPOL_BIND", "nodes": "0,9", "flags": ["MPOL_F_STATIC_NODES"]}));
        assert_eq!(plan.expect("a plan"), MemoryPolicyPlan { mode: 0x8002, nodes: vec![1, 2] });
        assert!(planned(json!({"mode": "MPOL_PREFERRED"})).expect("any node").nodes.is_empty());
    }

    #[test]
    fn what_contradicts_the_mode_is_refused_by_field() {
        let both = ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"];
        for (json, text) in [
            (
                json!({"nodes": "0"}),
                "linux.memoryPolicy.mode: invalid memory policy mode: \"\" is not known (known are MPOL_DEFAULT, ",
            ),
            (
                json!({"mode": "MPOL_LOCAL", "flags": ["x"]}),
                "linux.memoryPolicy.flags[0]: invalid memory policy flag: \"x\" is not known",
            ),
            (json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}), "MPOL_DEFAULT: mode requires 0 nodes but got 8"),
            (json!({"mode": "MPOL_BIND"}), "MPOL_BIND: mode requires at least 1 node but got 0"),
            (
                json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"}),
                "linux.memoryPolicy.nodes: invalid memory policy nodes: \"0-9876543210\"",
            ),
            (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": both}), "linux.memoryPolicy.flags: "),
        ] {
            let error = planned(json).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_personality_is_one_of_two_domains() {
        let plan = |domain: &str, flags: &[&str]| {
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            personality(&Personality { domain: domain.to_owned(), flags })
        };
        assert_eq!((plan("LINUX", &[]).expect("valid"), plan("LINUX32", &[]).expect("valid")), (0, 8));
        assert!(plan("BSD", &[]).expect_err("unknown").to_string().contains("linux.personality.domain: \"BSD\""));
        assert!(plan("LINUX", &["X"]).expect_err("a flag").to_string().contains("linux.personality.flags[0]: \"X\""));
    }
}
