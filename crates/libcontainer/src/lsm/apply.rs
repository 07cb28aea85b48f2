//! Writing the labels to the kernel.

use rustix::io::Errno;

use super::plan::LsmPlan;
use crate::error::{Error, Phase, Result};
use crate::host::HostProc;

/// Labels the next execve of the calling thread.
///
/// # Errors
/// If the profile is not loaded, or the policy does not allow the change.
pub fn label_next_exec(plan: &LsmPlan, proc: &HostProc) -> Result<()> {
    if let Some(profile) = &plan.apparmor {
        apparmor(profile, proc).map_err(|error| explain(error, "process.apparmorProfile", profile))?;
    }
    if let Some(label) = &plan.selinux {
        proc.write_own("attr/exec", label).map_err(|error| explain(error, "process.selinuxLabel", label))?;
    }
    Ok(())
}

/// Does `make_keys` with what the process's label says for keys, which outlive the change to the label itself.
///
/// # Errors
/// If the policy does not allow it; those of `make_keys`.
pub fn labelling_keys(plan: &LsmPlan, proc: &HostProc, make_keys: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(label) = &plan.selinux else { return make_keys() };
    let set = |label: &str| match proc.write_own("attr/keycreate", label) {
        // A kernel without keys.
        Err(error) if error.errno() == Some(Errno::NOENT) && is_missing_file(&error) => Ok(()),
        result => result.map_err(|error| explain(error, "process.selinuxLabel", label)),
    };
    set(label)?;
    make_keys()?;
    set("\n")
}

/// The module's own directory exists since Linux 5.8; before that, attr/exec belongs to the only major module.
fn apparmor(profile: &str, proc: &HostProc) -> Result<()> {
    let value = format!("exec {profile}");
    match proc.write_own("attr/apparmor/exec", &value) {
        Err(error) if error.errno() == Some(Errno::NOENT) && is_missing_file(&error) => {
            proc.write_own("attr/exec", &value)
        }
        result => result,
    }
}

/// AppArmor answers ENOENT too, from the write, when the profile is not loaded.
fn is_missing_file(error: &Error) -> bool {
    error.syscall() == Some("openat2")
}

fn explain(error: Error, field: &str, label: &str) -> Error {
    let missing = error.errno() == Some(Errno::NOENT);
    let error = error.within(format!("{field}: \"{label}\"")).during(Phase::Exec);
    if missing { error.cause("the profile is not loaded").remedy("load it with apparmor_parser") } else { error }
}
