//! Who answers for SCMP_ACT_NOTIFY.

use std::path::PathBuf;

use serde::Serialize;

use super::plan::{Action, Rule};
use crate::error::{Error, Result};
use crate::spec::Seccomp;

/// A seccomp agent: it answers for [`Action::Notify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// An AF_UNIX stream socket.
    pub path: PathBuf,
    /// Passed on to the agent as it is.
    pub metadata: String,
}

impl Listener {
    /// The one that the profile names.
    pub(super) fn of(seccomp: &Seccomp) -> Self {
        Self { path: (&seccomp.listener_path).into(), metadata: seccomp.listener_metadata.clone() }
    }
}

/// The agent, if there is something to ask it. What must not depend on it is the handing over itself: init says by write(2)
/// that its filter is loaded, and the agent does not know of the filter before.
pub(super) fn listener(seccomp: &Seccomp, default_action: Action, rules: &[Rule]) -> Result<Option<Listener>> {
    let refuse = |field: String, why: &str| Err(Error::invalid(field, format!("SCMP_ACT_NOTIFY cannot be used {why}")));
    if default_action == Action::Notify {
        return refuse("linux.seccomp.defaultAction".to_owned(), "as default action");
    }
    let mut asking = rules.iter().enumerate().filter(|(_, rule)| rule.action == Action::Notify).peekable();
    if asking.peek().is_none() {
        return Ok(None);
    }
    for (index, rule) in asking {
        if let Some(name) = rule.names.iter().position(|name| name == "write") {
            return refuse(format!("linux.seccomp.syscalls[{index}].names[{name}]"), "for the write syscall");
        }
    }
    if seccomp.listener_path.is_empty() {
        return Err(Error::invalid("linux.seccomp.listenerPath", "it is missing, and a rule has SCMP_ACT_NOTIFY")
            .remedy("name the socket of the seccomp agent"));
    }
    Ok(Some(Listener::of(seccomp)))
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::*;

    #[test]
    fn an_agent_is_asked_where_a_rule_says_so() {
        let profile = |more: &str| {
            let text = format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent","listenerMetadata":"m"{more}}}"#
            );
            plan(&serde_json::from_str(&text).expect("seccomp")).expect("plan")
        };
        // "If the SCMP_ACT_NOTIFY action is not used this value is ignored."
        assert_eq!(profile("").listener, None);
        let notify = r#","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]"#;
        let plan = profile(notify);
        assert_eq!(plan.listener, Some(Listener { path: "/run/agent".into(), metadata: "m".into() }));
        assert_eq!(plan.flags, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
        let killable = r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
        let listening = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        assert_eq!(profile(&format!("{notify}{killable}")).flags, listening);
        assert_eq!(profile(killable).flags, 0, "the kernel refuses it without a listener");
    }
}
