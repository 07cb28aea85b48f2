//! `linux.mountLabel`: SELinux's label of what is in the container's filesystems.

use super::options::Parameter;
use super::plan_mounts::{Action, MountStep};
use crate::error::{Error, Result};
use crate::spec::Spec;

/// crun's annotation: which of SELinux's mount options has the label.
const KIND: &str = "run.oci.mount_context_type";

/// mount(8) "Mount options for SELinux"; crun's names as well.
const KINDS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// Whether the parameter is a label, which is quoted where commas divide parameters, and plain otherwise.
pub(super) fn is_label(key: &str) -> bool {
    KINDS.contains(&key)
}

/// The parameter that the container's filesystems get.
///
/// # Errors
/// If there is a label and SELinux is not active: files without it would deceive the user.
pub(super) fn plan(spec: &Spec, selinux_active: bool) -> Result<Option<Parameter>> {
    let label = spec.linux.as_ref().map(|linux| linux.mount_label.as_str()).unwrap_or_default();
    if label.is_empty() {
        return Ok(None);
    }
    if !selinux_active {
        return Err(Error::unsupported(format!("linux.mountLabel: \"{label}\": SELinux is not active on this host"))
            .remedy("remove linux.mountLabel or enable SELinux"));
    }
    let kind = spec.annotations.get(KIND).map_or("context", String::as_str);
    if !is_label(kind) {
        let why = format!("\"{kind}\" is none of {}", KINDS.join(", "));
        return Err(Error::invalid(format!("annotations[\"{KIND}\"]"), why));
    }
    Ok(Some(Parameter { key: kind.to_owned(), value: Some(label.to_owned()) }))
}

/// Gives it to every new filesystem but procfs, sysfs and cgroup v2, whose files the policy labels one by one, and those
/// whose own options have a label. mqueue takes none as an option: its root gets it, as in runc.
pub(super) fn put_on(steps: &mut [MountStep], label: &Parameter) {
    for step in steps {
        let Action::Filesystem(filesystem) = &mut step.action else { continue };
        let is_labelled = filesystem.parameters.iter().any(|parameter| is_label(&parameter.key));
        match filesystem.kind.as_str() {
            "mqueue" => filesystem.root_label.clone_from(&label.value),
            "cgroup2" => {}
            _ if filesystem.plain || is_labelled => {}
            _ => filesystem.parameters.push(label.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::{RootfsInput, RootfsPlan};
    use super::*;
    use crate::host::CgroupFacts;

    fn planned(label: &str, kind: Option<&str>, selinux: bool) -> Result<RootfsPlan> {
        let mut config = json!({
            "ociVersion": "1.3.0", "root": {"path": "r"}, "linux": {"mountLabel": label},
            "mounts": [
                {"destination": "/proc", "type": "proc"},
                {"destination": "/tmp", "type": "tmpfs", "options": ["size=1m"]},
                {"destination": "/dev/mqueue", "type": "mqueue"},
                {"destination": "/own", "type": "tmpfs", "options": ["context=\"u:r:own:s0:c1,c2\""]},
                {"destination": "/bound", "source": "/etc", "options": ["bind"]},
                {"destination": "/cg", "type": "cgroup2"},
            ],
        });
        if let Some(kind) = kind {
            config["annotations"] = json!({ KIND: kind });
        }
        let spec = Spec::parse(config.to_string().as_bytes(), Path::new("config.json"))?;
        super::super::plan(&RootfsInput {
            spec: &spec,
            bundle: Path::new("/b"),
            no_pivot: false,
            own_mount_namespace: true,
            own_user_namespace: false,
            own_network_namespace: true,
            rootless: false,
            cgroup_namespace: true,
            terminal: false,
            selinux,
            cgroups: &CgroupFacts::default(),
            cgroup_dirs: &Default::default(),
        })
    }

    /// The parameters and the root's label of each new filesystem.
    fn labels(plan: &RootfsPlan) -> Vec<(String, Option<&str>)> {
        let filesystems = plan.mounts.iter().filter_map(|step| match &step.action {
            Action::Filesystem(filesystem) => Some(filesystem),
            _ => None,
        });
        let text = |parameters: &[Parameter]| parameters.iter().map(Parameter::to_string).collect::<Vec<_>>().join(",");
        filesystems.map(|filesystem| (text(&filesystem.parameters), filesystem.root_label.as_deref())).collect()
    }

    #[test]
    fn new_filesystems_get_the_label() {
        let plan = planned("u:r:t:s0:c3,c4", None, true).expect("a plan");
        let wanted = [
            ("", None),
            ("size=1m,context=\"u:r:t:s0:c3,c4\"", None),
            ("", Some("u:r:t:s0:c3,c4")),
            ("context=\"u:r:own:s0:c1,c2\"", None),
            ("", None),
        ];
        assert_eq!(labels(&plan), wanted.map(|(text, label)| (text.to_owned(), label)));
        assert_eq!(plan.label.expect("for masks").value.as_deref(), Some("u:r:t:s0:c3,c4"));
        let plan = planned("l", Some("rootcontext"), true).expect("a plan");
        assert_eq!(labels(&plan)[1].0, "size=1m,rootcontext=\"l\"");
        assert_eq!(planned("", None, true).expect("a plan").label, None);
    }

    #[test]
    fn a_label_without_selinux_and_a_wrong_kind_are_refused() {
        planned("", None, false).expect("nothing asked");
        let error = planned("u:r:t:s0", None, false).expect_err("no SELinux").to_string();
        assert!(error.contains("linux.mountLabel: \"u:r:t:s0\": SELinux is not active"), "{error}");
        let error = planned("l", Some("seclabel"), true).expect_err("no such option").to_string();
        assert!(error.contains("annotations[\"run.oci.mount_context_type\"]: \"seclabel\" is none of"), "{error}");
    }
}
