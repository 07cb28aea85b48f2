//! From `linux.intelRdt` to a group and the lines that are written to its schemata.

use serde::Serialize;

use super::apply::RdtGroup;
use super::schemata;
use crate::error::{Error, Kind, Result};
use crate::host::ResctrlFacts;
use crate::spec::IntelRdt;

/// Directories that resctrl has beside its groups.
const RESERVED: [&str; 5] = [".", "..", "info", "mon_groups", "mon_data"];

/// What is done for a container that is to have a class of service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RdtPlan {
    /// The group.
    pub group: RdtGroup,
    /// Whether the group has to be made first.
    pub make: bool,
    /// Lines for its schemata; none if they are left as they are.
    pub schemata: Vec<String>,
    /// What is asked for and has no effect, for the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The group of a container: a directory below resctrl's mount, empty for the default class of service.
///
/// # Errors
/// For a name that is none.
pub fn group_name<'a>(rdt: &'a IntelRdt, id: &'a str) -> Result<&'a str> {
    let name = match rdt.clos_id.as_str() {
        "/" => return Ok(""),
        "" => id,
        name => name,
    };
    if RESERVED.contains(&name) || name.contains(['/', '\n', '\0']) {
        let why = format!("\"{name}\" cannot be the name of a class of service");
        return Err(Error::invalid("linux.intelRdt.closID", why));
    }
    Ok(name)
}

/// Plans it for the container `id`; `facts` are those about its group.
///
/// # Errors
/// If resctrl is not mounted, or cannot do what is asked for; if a line is none; if a group that others have made is missing or
/// says something else.
pub fn plan(rdt: &IntelRdt, id: &str, facts: Option<&ResctrlFacts>) -> Result<RdtPlan> {
    let name = group_name(rdt, id)?;
    let lines = lines(rdt)?;
    let facts = facts.ok_or_else(|| {
        Error::unsupported("linux.intelRdt: resctrl is not mounted")
            .remedy("mount -t resctrl resctrl /sys/fs/resctrl, which takes a CPU with RDT, or remove linux.intelRdt")
    })?;
    check_ability("linux.intelRdt.l3CacheSchema", "linux.intelRdt.memBwSchema", &new(rdt), facts)?;
    if rdt.enable_monitoring && !facts.monitoring {
        return Err(Error::unsupported("linux.intelRdt.enableMonitoring: this host's resctrl cannot monitor"));
    }
    let is_shared = !rdt.clos_id.is_empty();
    let existing = facts.schemata.as_deref();
    let mut schemata = lines.clone();
    match existing {
        None if is_shared && lines.is_empty() => {
            return Err(Error::new(Kind::NotFound, format!("linux.intelRdt.closID: there is no \"{name}\""))
                .cause("without schemata it must have been made before")
                .remedy("make it, or say its schemata"));
        }
        // Others are in it: what they count on must not change.
        Some(existing) if is_shared => {
            if let Some(line) = lines.iter().find(|line| !schemata::agrees(line, existing, facts.bandwidth_step)) {
                let why = format!("\"{line}\" is not what \"{name}\" has, which others may use");
                return Err(Error::invalid("linux.intelRdt.closID", why).remedy("choose another, or the same schemata"));
            }
            schemata.clear();
        }
        _ => {}
    }
    let make = existing.is_none();
    let group = RdtGroup {
        mountpoint: facts.mountpoint.clone(),
        name: name.to_owned(),
        remove: make && !is_shared,
        monitoring: rdt.enable_monitoring.then(|| id.to_owned()),
    };
    Ok(RdtPlan { group, make, schemata, warning: warning(rdt) })
}

fn warning(rdt: &IntelRdt) -> Option<String> {
    (rdt.enable_cmt || rdt.enable_mbm).then(|| {
        "linux.intelRdt: enableCMT and enableMBM have no effect: enableMonitoring took their place in 1.3".to_owned()
    })
}

/// The lines in the order that the spec demands.
fn lines(rdt: &IntelRdt) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let singles = [("l3CacheSchema", &rdt.l3_cache_schema), ("memBwSchema", &rdt.mem_bw_schema)];
    for (name, line) in singles.into_iter().filter(|(_, line)| !line.is_empty()) {
        check_line(&format!("linux.intelRdt.{name}"), line)?;
        lines.push(line.clone());
    }
    check_bandwidth("linux.intelRdt.memBwSchema", &rdt.mem_bw_schema)?;
    for (index, line) in rdt.schemata.iter().enumerate() {
        let field = format!("linux.intelRdt.schemata[{index}]");
        if line.trim().is_empty() {
            return Err(Error::invalid(field, "is empty"));
        }
        check_line(&field, line)?;
        lines.push(line.clone());
    }
    Ok(lines)
}

fn check_line(field: &str, line: &str) -> Result<()> {
    match line.contains('\n') {
        true => Err(Error::invalid(field, "it must be one line")),
        false => Ok(()),
    }
}

fn check_bandwidth(field: &str, line: &str) -> Result<()> {
    match line.is_empty() || line.starts_with("MB:") {
        true => Ok(()),
        false => Err(Error::invalid(field, format!("\"{line}\" does not start with MB:"))),
    }
}

/// Lines that `update` has for a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewSchemata {
    /// For the L3 cache; empty for none.
    pub l3_cache: String,
    /// For memory bandwidth; empty for none.
    pub memory_bandwidth: String,
}

fn new(rdt: &IntelRdt) -> NewSchemata {
    NewSchemata { l3_cache: rdt.l3_cache_schema.clone(), memory_bandwidth: rdt.mem_bw_schema.clone() }
}

impl NewSchemata {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.l3_cache.is_empty() && self.memory_bandwidth.is_empty()
    }
}

/// The lines that an update writes, in order; `facts` are those about the container's group.
///
/// # Errors
/// For what this host cannot do, and for a line that is none.
pub fn plan_update(new: &NewSchemata, facts: &ResctrlFacts) -> Result<Vec<String>> {
    let (l3, bandwidth) = ("--l3-cache-schema", "--mem-bw-schema");
    check_line(l3, &new.l3_cache)?;
    check_line(bandwidth, &new.memory_bandwidth)?;
    check_bandwidth(bandwidth, &new.memory_bandwidth)?;
    check_ability(l3, bandwidth, new, facts)?;
    Ok([&new.l3_cache, &new.memory_bandwidth].into_iter().filter(|line| !line.is_empty()).cloned().collect())
}

fn check_ability(l3: &str, bandwidth: &str, new: &NewSchemata, facts: &ResctrlFacts) -> Result<()> {
    if !new.l3_cache.is_empty() && !facts.l3_cache {
        return Err(Error::unsupported(format!("{l3}: this host's resctrl cannot allocate the L3 cache")));
    }
    if !new.memory_bandwidth.is_empty() && facts.bandwidth_step.is_none() {
        return Err(Error::unsupported(format!("{bandwidth}: this host's resctrl cannot allocate memory bandwidth")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(schemata: Option<&str>) -> ResctrlFacts {
        ResctrlFacts {
            mountpoint: "/sys/fs/resctrl".into(),
            l3_cache: true,
            bandwidth_step: Some(10),
            monitoring: true,
            schemata: schemata.map(str::to_owned),
        }
    }

    fn planned(rdt: &Value, facts: Option<&ResctrlFacts>) -> Result<RdtPlan> {
        plan(&serde_json::from_value(rdt.clone()).expect("intelRdt"), "c1", facts)
    }

    #[test]
    fn a_group_of_its_own_is_made_and_removed() {
        let rdt = json!({"memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f", "schemata": ["L2:0=3"]});
        let made = planned(&rdt, Some(&facts(None))).expect("a plan");
        assert_eq!((made.group.name.as_str(), made.make, made.group.remove), ("c1", true, true));
        assert_eq!(made.schemata, ["L3:0=f", "MB:0=20", "L2:0=3"]);
        assert_eq!(made.group.monitoring, None);
        // Found there, it is somebody's who will want it back.
        let found = planned(&rdt, Some(&facts(Some("L3:0=ff\n")))).expect("a plan");
        assert_eq!((found.make, found.group.remove, found.schemata.len()), (false, false, 3));
    }

    #[test]
    fn a_shared_group_is_left_as_it_is() {
        let existing = facts(Some("    MB:0=100;1=20\n    L3:0=fff;1=00f\n"));
        let rdt =
            json!({"closID": "gold", "l3CacheSchema": "L3:1=f", "memBwSchema": "MB:1=11", "enableMonitoring": true});
        let joined = planned(&rdt, Some(&existing)).expect("a plan");
        assert_eq!((joined.group.name.as_str(), joined.make, joined.group.remove), ("gold", false, false));
        assert!(joined.schemata.is_empty());
        assert_eq!(joined.group.monitoring.as_deref(), Some("c1"));
        let made = planned(&rdt, Some(&facts(None))).expect("a plan");
        assert_eq!((made.make, made.group.remove, made.schemata.len()), (true, false, 2));
        assert!(planned(&json!({"closID": "gold"}), Some(&existing)).expect("a plan").schemata.is_empty());
        let default = planned(&json!({"closID": "/"}), Some(&existing)).expect("a plan");
        assert_eq!((default.group.name.as_str(), default.make, default.group.remove), ("", false, false));
    }

    #[test]
    fn what_cannot_be_had_is_told_by_field() {
        let incapable = ResctrlFacts { l3_cache: false, bandwidth_step: None, monitoring: false, ..facts(None) };
        let (able, gold) = (facts(None), facts(Some("L3:0=f\n")));
        for (rdt, facts, text) in [
            (json!({}), None, "linux.intelRdt: resctrl is not mounted (mount -t resctrl"),
            (json!({"closID": ".."}), None, "linux.intelRdt.closID: \"..\" cannot be the name"),
            (json!({"closID": "a/b"}), None, "linux.intelRdt.closID: \"a/b\" cannot"),
            (json!({"closID": "info"}), None, "linux.intelRdt.closID: \"info\" cannot"),
            (json!({"memBwSchema": "0=20"}), None, "linux.intelRdt.memBwSchema: \"0=20\" does not start with MB:"),
            (json!({"memBwSchema": "MB:0=20\nL3:0=1"}), None, "linux.intelRdt.memBwSchema: it must be one line"),
            (json!({"schemata": ["L3:0=1", "a\nb"]}), None, "linux.intelRdt.schemata[1]: it must be one line"),
            (json!({"schemata": [""]}), None, "linux.intelRdt.schemata[0]: is empty"),
            (json!({"l3CacheSchema": "L3:0=1"}), Some(&incapable), "linux.intelRdt.l3CacheSchema: this host's"),
            (json!({"memBwSchema": "MB:0=20"}), Some(&incapable), "linux.intelRdt.memBwSchema: this host's"),
            (json!({"enableMonitoring": true}), Some(&incapable), "linux.intelRdt.enableMonitoring: this host's"),
            (json!({"closID": "gold"}), Some(&able), "linux.intelRdt.closID: there is no \"gold\""),
            (json!({"closID": "gold", "schemata": ["L3:0=3"]}), Some(&gold), "\"L3:0=3\" is not what \"gold\" has"),
        ] {
            let error = planned(&rdt, facts).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn fields_of_earlier_versions_are_told_of() {
        let plan = planned(&json!({"enableCMT": true}), Some(&facts(None))).expect("a plan");
        assert!(plan.warning.is_some_and(|warning| warning.contains("enableMonitoring")));
    }

    #[test]
    fn an_update_has_the_lines_that_are_given() {
        let new = |l3: &str, bandwidth: &str| NewSchemata { l3_cache: l3.into(), memory_bandwidth: bandwidth.into() };
        assert_eq!(plan_update(&new("", "MB:0=50"), &facts(None)).expect("lines"), ["MB:0=50"]);
        assert_eq!(plan_update(&new("L3:0=1", "MB:0=5"), &facts(None)).expect("lines"), ["L3:0=1", "MB:0=5"]);
        assert!(new("", "").is_empty());
        let error = plan_update(&new("", "L3:0=1"), &facts(None)).expect_err("not MB").to_string();
        assert!(error.starts_with("--mem-bw-schema: \"L3:0=1\" does not"), "{error}");
    }
}
