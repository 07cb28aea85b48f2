//! Carrying a [`CapabilityPlan`] out on the calling thread.

use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use super::plan::{CapabilityPlan, names};
use crate::error::{Error, Result, SysContext};

/// Takes everything but `plan.bounding` out of this thread's bounding set, those that this runtime has no name for
/// included. Call it before the user is changed: it needs CAP_SETPCAP.
///
/// As with runc, a runtime without CAP_SETPCAP leaves the bounding set as it is: it cannot be made smaller then, and it
/// already bounds the runtime itself.
///
/// # Errors
/// If prctl(2) fails.
pub fn drop_bounding(plan: &CapabilityPlan) -> Result<()> {
    let own = thread::capabilities(None).sys("capget", "the runtime's own capabilities")?;
    if !own.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for bit in (0..u64::BITS).map(|number| 1u64 << number) {
        if plan.bounding & bit != 0 {
            continue;
        }
        match thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Err(Errno::INVAL) => break, // past the last that this kernel knows
            result => result.sys("prctl(PR_CAPBSET_DROP)", names(bit))?,
        }
    }
    Ok(())
}

/// Says whether the permitted set survives this thread's change from root to another user.
///
/// # Errors
/// If prctl(2) fails, which securebits that are locked can cause.
pub fn keep_across_setuid(keep: bool) -> Result<()> {
    thread::set_keep_capabilities(keep).sys("prctl(PR_SET_KEEPCAPS)", keep)
}

/// Sets this thread's effective, permitted, inheritable and ambient sets.
///
/// # Errors
/// If the plan asks for what the runtime does not have itself, or what its bounding set excludes.
pub fn apply_after_setuid(plan: &CapabilityPlan) -> Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(plan.effective),
        permitted: CapabilitySet::from_bits_retain(plan.permitted),
        inheritable: CapabilitySet::from_bits_retain(plan.inheritable),
    };
    thread::set_capabilities(None, sets).map_err(|errno| refused(plan, errno))?;
    match thread::clear_ambient_capability_set() {
        Err(Errno::INVAL) if plan.ambient == 0 => return Ok(()), // a kernel without ambient capabilities
        result => result.sys("prctl(PR_CAP_AMBIENT_CLEAR_ALL)", "process.capabilities.ambient")?,
    }
    for bit in (0..u64::BITS).map(|number| 1u64 << number).filter(|bit| plan.ambient & bit != 0) {
        thread::configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(bit), true)
            .sys("prctl(PR_CAP_AMBIENT_RAISE)", names(bit))?;
    }
    Ok(())
}

/// What capset(2) does not tell: which of its rules was broken.
fn refused(plan: &CapabilityPlan, errno: Errno) -> Error {
    let error = Error::system("capset", "process.capabilities", errno);
    let Ok(own) = thread::capabilities(None) else { return error };
    let unpermitted = plan.effective & !plan.permitted;
    let missing = plan.permitted & !own.permitted.bits();
    if unpermitted != 0 {
        error.cause(format!("effective names {}, which permitted does not", names(unpermitted)))
    } else if missing != 0 {
        error
            .cause(format!("the runtime itself does not have {}", names(missing)))
            .remedy("leave it out of permitted and effective")
    } else {
        error.cause("inheritable names what the bounding set does not")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_own_thread, is_root};

    /// The sets of this thread as the kernel shows them: inheritable, permitted, effective, bounding, ambient.
    fn status() -> [u64; 5] {
        let text = std::fs::read_to_string("/proc/thread-self/status").expect("status");
        ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|field| {
            let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("field");
            u64::from_str_radix(line.trim(), 16).expect("mask")
        })
    }

    const CHOWN: u64 = 1;
    const KILL: u64 = 1 << 5;
    const SETPCAP: u64 = 1 << 8;

    #[test]
    fn all_five_sets_are_as_planned() {
        if !is_root("all_five_sets_are_as_planned") {
            return;
        }
        in_own_thread(|| {
            let plan = CapabilityPlan {
                bounding: CHOWN | KILL,
                effective: CHOWN,
                permitted: CHOWN | KILL,
                inheritable: KILL,
                ambient: KILL,
                warnings: Vec::new(),
            };
            drop_bounding(&plan).expect("drop_bounding");
            keep_across_setuid(true).expect("keep");
            let user = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(user, user, user).expect("setresuid");
            keep_across_setuid(false).expect("keep no more");
            apply_after_setuid(&plan).expect("apply");
            assert_eq!(status(), [KILL, CHOWN | KILL, CHOWN, CHOWN | KILL, KILL]);
        });
    }

    #[test]
    fn no_capability_leaves_none() {
        if !is_root("no_capability_leaves_none") {
            return;
        }
        in_own_thread(|| {
            let plan = super::super::plan(None, 40);
            drop_bounding(&plan).expect("drop_bounding");
            apply_after_setuid(&plan).expect("apply");
            assert_eq!(status(), [0; 5]);
        });
    }

    #[test]
    fn without_setpcap_the_bounding_set_stays() {
        if !is_root("without_setpcap_the_bounding_set_stays") {
            return;
        }
        in_own_thread(|| {
            let before = status();
            let own = before[1] & !SETPCAP;
            let plan = CapabilityPlan { effective: own, permitted: own, ..CapabilityPlan::default() };
            apply_after_setuid(&plan).expect("apply");
            drop_bounding(&plan).expect("drop_bounding");
            assert_eq!(status(), [0, own, own, before[3], 0]);
        });
    }

    #[test]
    fn a_refusal_names_the_capability() {
        if !is_root("a_refusal_names_the_capability") {
            return;
        }
        in_own_thread(|| {
            let few = CapabilityPlan { permitted: KILL | CHOWN, ..CapabilityPlan::default() };
            apply_after_setuid(&few).expect("apply");
            let more = CapabilityPlan { permitted: KILL | 1 << 21, ..CapabilityPlan::default() };
            let error = apply_after_setuid(&more).expect_err("CAP_SYS_ADMIN is gone").to_string();
            assert!(
                error.contains("operation not permitted: the runtime itself does not have CAP_SYS_ADMIN"),
                "{error}"
            );
            let wrong = CapabilityPlan { permitted: KILL, effective: KILL | CHOWN, ..CapabilityPlan::default() };
            let error = apply_after_setuid(&wrong).expect_err("CAP_CHOWN is not permitted").to_string();
            assert!(error.contains("effective names CAP_CHOWN, which permitted does not"), "{error}");
            assert_eq!(status()[1], KILL | CHOWN, "a refused change leaves the sets as they were");
        });
    }

    #[test]
    fn inheritable_beyond_the_bounding_set_is_refused() {
        if !is_root("inheritable_beyond_the_bounding_set_is_refused") {
            return;
        }
        in_own_thread(|| {
            let plan =
                CapabilityPlan { bounding: CHOWN, inheritable: KILL, permitted: KILL, ..CapabilityPlan::default() };
            drop_bounding(&plan).expect("drop_bounding");
            let error = apply_after_setuid(&plan).expect_err("CAP_KILL is not in the bounding set").to_string();
            assert!(error.contains("inheritable names what the bounding set does not"), "{error}");
        });
    }
}
