//! From `process.apparmorProfile` and `process.selinuxLabel` to what is written before the exec.

use serde::Serialize;

use crate::error::{Error, Result};

/// What the next execve of the process is labelled with.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LsmPlan {
    /// An AppArmor profile that is loaded on the host.
    pub apparmor: Option<String>,
    /// A SELinux context.
    pub selinux: Option<String>,
}

/// Plans both; `apparmor_active` and `selinux_active` say what this host has.
///
/// # Errors
/// If a label is asked for and its module is not active: to run unconfined instead would deceive the user.
pub fn plan(profile: &str, label: &str, apparmor_active: bool, selinux_active: bool) -> Result<LsmPlan> {
    let wanted = |field: &str, value: &str, module: &str, active: bool| match (value.is_empty(), active) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(value.to_owned())),
        (false, false) => Err(Error::unsupported(format!("{field}: \"{value}\": {module} is not active on this host"))
            .remedy(format!("remove {field} or enable {module}"))),
    };
    Ok(LsmPlan {
        apparmor: wanted("process.apparmorProfile", profile, "AppArmor", apparmor_active)?,
        selinux: wanted("process.selinuxLabel", label, "SELinux", selinux_active)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_without_its_module_is_refused() {
        assert_eq!(plan("", "", false, false).expect("nothing asked"), LsmPlan::default());
        let error = plan("docker-default", "", false, true).expect_err("no AppArmor").to_string();
        assert!(error.starts_with("process.apparmorProfile: \"docker-default\": AppArmor is not active"), "{error}");
        assert_eq!(plan("p", "", true, false).expect("active").apparmor.as_deref(), Some("p"));
    }
}
