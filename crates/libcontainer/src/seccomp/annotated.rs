//! What crun's annotations change in a profile.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::listener::Listener;
use super::plan::{SeccompPlan, flags, plan};
use super::raw;
use crate::error::{Error, Result};
use crate::spec::Seccomp;

/// crun's name for where the agent listens, from before the specification had one.
const RECEIVER: &str = "run.oci.seccomp.receiver";

/// Checks a profile, with what crun's annotations change in it: `run.oci.seccomp.receiver` is the listenerPath where there
/// is none, and `run.oci.seccomp_bpf_data` a program in place of the rules.
///
/// # Errors
/// As [`plan`]; for a receiver that is no absolute path, and data that is no program.
pub fn plan_annotated(
    seccomp: Option<&Seccomp>,
    annotations: &BTreeMap<String, String>,
) -> Result<Option<SeccompPlan>> {
    let mut seccomp = seccomp.map(Cow::Borrowed);
    if let Some(receiver) = annotations.get(RECEIVER) {
        if !receiver.starts_with('/') {
            let why = format!("\"{receiver}\" is not an absolute path");
            return Err(Error::invalid(format!("annotations[\"{RECEIVER}\"]"), why));
        }
        let without = seccomp.iter_mut().filter(|seccomp| seccomp.listener_path.is_empty());
        without.for_each(|seccomp| seccomp.to_mut().listener_path.clone_from(receiver));
    }
    let Some(data) = annotations.get(raw::ANNOTATION) else { return seccomp.as_deref().map(plan).transpose() };
    let seccomp = seccomp.unwrap_or_default();
    // Whether the program asks an agent, only its author knows.
    let listener = (!seccomp.listener_path.is_empty()).then(|| Listener::of(&seccomp));
    Ok(Some(SeccompPlan {
        flags: flags(seccomp.flags.as_deref(), listener.is_some())?,
        listener,
        program: Some(raw::program(data)?),
        ..SeccompPlan::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_name_an_agent_or_bring_a_program() {
        let plan = |profile: &str, annotations: &[(&str, &str)]| {
            let profile: Option<Seccomp> = serde_json::from_str(profile).expect("seccomp");
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            plan_annotated(profile.as_ref(), &annotations.iter().map(pair).collect())
        };
        let notify =
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#;
        let path = |plan: Option<SeccompPlan>| plan.and_then(|plan| plan.listener).map(|listener| listener.path);
        assert_eq!(path(plan(notify, &[(RECEIVER, "/agent")]).expect("plan")), Some("/agent".into()));
        let error = plan(notify, &[(RECEIVER, "agent")]).expect_err("relative").to_string();
        assert!(error.contains("annotations[\"run.oci.seccomp.receiver\"]: \"agent\""), "{error}");
        assert_eq!(plan("null", &[(RECEIVER, "/agent")]).expect("no profile"), None);
        let data = (raw::ANNOTATION, "BgAAAAAA/38=");
        for profile in ["null", notify] {
            let plan = plan(profile, &[data]).expect("plan").expect("a filter");
            assert_eq!((plan.program.map(|program| program.len()), plan.rules.len()), (Some(8), 0));
            assert_eq!((plan.listener, plan.flags), (None, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW));
        }
    }
}
