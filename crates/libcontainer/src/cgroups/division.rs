//! crun's annotations that put the container's processes below the cgroup that would otherwise be theirs (crun(1)).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Phase, Result};
use crate::host::CgroupFacts;

use super::CgroupPlan;

/// Where in its systemd unit's cgroup the container's own is to be.
pub(super) const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// Which sub-cgroup the container's processes are in, to be divided as they like.
const DELEGATED: &str = "run.oci.delegate-cgroup";

/// What `run.oci.systemd.subgroup` asks for; empty if that is nothing.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid) for a path that leads elsewhere.
pub(super) fn subgroup(annotations: &BTreeMap<String, String>) -> Result<PathBuf> {
    below(annotations, SUBGROUP)
}

impl CgroupPlan {
    /// Plans the sub-cgroup that `run.oci.delegate-cgroup` asks for. It has no limits of its own: those of the cgroup above
    /// hold for all that is in it.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) for a path that leads elsewhere;
    /// [`Kind::Unsupported`](crate::error::Kind::Unsupported) where there is more or less than cgroup v2.
    pub fn divided(self, annotations: &BTreeMap<String, String>, facts: &CgroupFacts) -> Result<CgroupPlan> {
        self.divide(annotations, facts).map_err(|error| error.during(Phase::Plan))
    }

    fn divide(mut self, annotations: &BTreeMap<String, String>, facts: &CgroupFacts) -> Result<CgroupPlan> {
        let path = below(annotations, DELEGATED)?;
        if path.as_os_str().is_empty() {
            return Ok(self);
        }
        let refuse = |why: &str| Err(Error::unsupported(format!("annotations[\"{DELEGATED}\"]: {why}")));
        if !facts.is_unified() {
            return refuse("a cgroup can be handed over on cgroup v2 alone, where that is safe")
                .map_err(|error| error.remedy("boot with systemd.unified_cgroup_hierarchy=1, or leave it out"));
        }
        let [limited] = self.hierarchies.as_slice() else { return refuse("the container has no cgroup to divide") };
        let mut delegated = limited.clone();
        delegated.path.push(path);
        delegated.writes.clear();
        delegated.device_program = None;
        self.delegated = Some(delegated);
        Ok(self)
    }
}

/// The path of a sub-cgroup that an annotation gives; as in crun, an empty text asks for none.
fn below(annotations: &BTreeMap<String, String>, name: &str) -> Result<PathBuf> {
    let Some(text) = annotations.get(name) else { return Ok(PathBuf::new()) };
    let path = Path::new(text.trim_start_matches('/'));
    let leads_elsewhere = path.components().any(|part| !matches!(part, Component::Normal(_)));
    if leads_elsewhere || path.as_os_str().is_empty() != text.is_empty() {
        let why = format!("\"{text}\" is not the path of a sub-cgroup");
        return Err(
            Error::invalid(format!("annotations[\"{name}\"]"), why).remedy("use names without \".\" and \"..\"")
        );
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<PathBuf> {
        subgroup(&BTreeMap::from([(SUBGROUP.to_owned(), text.to_owned())]))
    }

    #[test]
    fn names_lead_down_and_nowhere_else() {
        for (text, path) in [("container", "container"), ("/a/b", "a/b"), ("a//b/", "a/b"), ("", "")] {
            assert_eq!(given(text).expect(text), Path::new(path));
        }
        for text in ["..", "a/../b", "./a", "/", "a/.."] {
            let error = given(text).expect_err(text).to_string();
            assert!(error.contains("annotations[\"run.oci.systemd.subgroup\"]"), "{error}");
        }
    }
}
