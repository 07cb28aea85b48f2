//! The container's own time namespace: `linux.timeOffsets`, and how a process is born into it (time_namespaces(7)).
//!
//! The offsets can be written before the first process is in the namespace only, and who makes the namespace is not in it:
//! its children are. So the parent makes it, writes the offsets, clones, and takes its own namespace again; where only the
//! root of the new user namespace may, init makes it and moves into it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::plan::{Kind, NamespacesPlan};
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::host::HostProc;
use crate::spec::TimeOffset;
use crate::sys;

/// The clocks that a time namespace has of its own.
const CLOCKS: [&str; 2] = ["monotonic", "boottime"];

const NANOSECONDS: u32 = 1_000_000_000;

/// A time namespace to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimePlan {
    /// (clock, seconds, nanoseconds)
    pub offsets: Vec<(String, i64, u32)>,
}

/// Plans the offsets of the namespace that is made, if one is.
///
/// # Errors
/// For an unknown clock, a second or more of nanoseconds, and offsets without a new namespace to put them on.
pub fn plan_time(namespaces: &NamespacesPlan, offsets: &BTreeMap<String, TimeOffset>) -> Result<Option<TimePlan>> {
    if !offsets.is_empty() && !namespaces.makes(Kind::Time) {
        let (why, remedy) = if namespaces.joins(Kind::Time) {
            ("those of a time namespace that is joined cannot be changed", "remove them, or the namespace's path")
        } else {
            ("they need a time namespace of the container's own", "add {\"type\": \"time\"} to linux.namespaces")
        };
        return Err(Error::invalid("linux.timeOffsets", why).remedy(remedy));
    }
    for (clock, offset) in offsets {
        if !CLOCKS.contains(&clock.as_str()) {
            let why = format!("\"{clock}\" is no clock of a time namespace");
            return Err(Error::invalid("linux.timeOffsets", why).remedy(format!("use {}", CLOCKS.join(" or "))));
        }
        if offset.nanosecs >= NANOSECONDS {
            let field = format!("linux.timeOffsets.{clock}.nanosecs");
            return Err(Error::invalid(field, format!("{} are a second or more", offset.nanosecs)));
        }
    }
    let offsets = offsets.iter().map(|(clock, offset)| (clock.clone(), offset.secs, offset.nanosecs)).collect();
    Ok(namespaces.makes(Kind::Time).then_some(TimePlan { offsets }))
}

/// The time namespace of the parent, while its children are born into another.
#[derive(Debug)]
pub struct OwnTime(OwnedFd);

/// Makes the time namespace of the children that this process clones from now on, until [`OwnTime::take_again`].
///
/// # Errors
/// If the kernel has none, or an offset leads to a time that it does not have.
pub fn make_time(plan: &TimePlan, proc: &HostProc) -> Result<OwnTime> {
    let make = || {
        let own = rustix::fs::openat(proc, "self/ns/time", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let own = OwnTime(own.sys("openat", "/proc/self/ns/time")?);
        sys::namespace::unshare(Kind::Time.flag()).sys("unshare", "time")?;
        match write_offsets(plan, proc) {
            Err(error) => own.take_again().and(Err(error)),
            Ok(()) => Ok(own),
        }
    };
    make().during(Phase::Namespaces)
}

fn write_offsets(plan: &TimePlan, proc: &HostProc) -> Result<()> {
    if plan.offsets.is_empty() {
        return Ok(());
    }
    let lines = plan.offsets.iter().map(|(clock, secs, nanosecs)| format!("{clock} {secs} {nanosecs}\n"));
    proc.write_of_self("timens_offsets", &lines.collect::<String>()).map_err(|error| match error.errno() {
        Some(Errno::RANGE) => error.within("linux.timeOffsets").cause("a clock would be before 0 or after 146 years"),
        Some(Errno::PERM) => error.within("linux.timeOffsets").cause("it takes CAP_SYS_TIME"),
        _ => error.within("linux.timeOffsets"),
    })
}

/// Makes a time namespace and moves this process, which must have one thread, into it: for the root of a user namespace whose
/// parent may make none. Before it hides, since then its files in /proc are closed to it.
///
/// # Errors
/// As for [`make_time`].
pub fn enter_time(plan: &TimePlan, proc: &HostProc) -> Result<()> {
    let enter = || {
        sys::namespace::unshare(Kind::Time.flag()).sys("unshare", "time")?;
        write_offsets(plan, proc)?;
        let made = "self/ns/time_for_children";
        let made = rustix::fs::openat(proc, made, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let made = made.sys("openat", "/proc/self/ns/time_for_children")?;
        sys::namespace::setns(made.as_fd(), Kind::Time.flag()).sys("setns", "time")
    };
    enter().during(Phase::Namespaces)
}

impl OwnTime {
    /// Lets children be born into this process's own time namespace again.
    ///
    /// # Errors
    /// If the kernel refuses setns(2): then nothing must be launched any more.
    pub fn take_again(self) -> Result<()> {
        sys::namespace::setns(self.0.as_fd(), Kind::Time.flag()).sys("setns", "time").during(Phase::Namespaces)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn planned(namespace: &Value, offsets: Value) -> Result<Option<TimePlan>> {
        let list: Vec<crate::spec::Namespace> = serde_json::from_value(json!([namespace])).expect("namespaces");
        let offsets = serde_json::from_value(offsets).expect("offsets");
        plan_time(&super::super::plan(&list).expect("a plan"), &offsets)
    }

    #[test]
    fn a_new_namespace_has_the_offsets_or_none() {
        let time = json!({"type": "time"});
        assert_eq!(planned(&json!({"type": "pid"}), json!({})).expect("none"), None);
        assert_eq!(planned(&time, json!({})).expect("a plan"), Some(TimePlan::default()));
        let offsets = json!({"monotonic": {"secs": -5, "nanosecs": 999_999_999}, "boottime": {"secs": 7}});
        let offsets = planned(&time, offsets).expect("a plan").expect("a namespace").offsets;
        assert_eq!(offsets, [("boottime".to_owned(), 7, 0), ("monotonic".to_owned(), -5, 999_999_999)]);
    }

    #[test]
    fn what_cannot_be_offset_is_refused_by_field() {
        let (time, joined) = (json!({"type": "time"}), json!({"type": "time", "path": "/proc/1/ns/time"}));
        let second = json!({"boottime": {"secs": 1}});
        for (namespace, offsets, text) in [
            (&json!({"type": "pid"}), second.clone(), "linux.timeOffsets: they need a time namespace"),
            (&joined, second, "linux.timeOffsets: those of a time namespace that is joined"),
            (&time, json!({"realtime": {"secs": 1}}), "linux.timeOffsets: \"realtime\" is no clock"),
            (&time, json!({"boottime": {"nanosecs": 1_000_000_000}}), "linux.timeOffsets.boottime.nanosecs: "),
        ] {
            let error = planned(namespace, offsets).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
