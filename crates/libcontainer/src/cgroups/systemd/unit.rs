//! Starts, changes and stops a container's unit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cgroups::Cgroup;
use crate::dbus::{Fault, Manager, ManagerKind, Value};
use crate::error::{During, Error, Kind, Phase, Result};

use super::{Placeholder, Property, UnitPlan};

/// systemd's word for a job that has done what it was for.
const DONE: &str = "done";

/// How a job treats others for the same unit (org.freedesktop.systemd1(5), `StartUnit()`).
const REPLACE: &str = "replace";

/// How often a unit's start is tried while an old one of its name goes away, waiting twice as long each time; about a
/// third of a second in all.
const START_ATTEMPTS: u32 = 7;
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// How often the cgroup is looked at while its last processes end; about a second in all.
const EMPTY_ATTEMPTS: u32 = 14;
const EMPTY_FIRST_WAIT: Duration = Duration::from_micros(64);

/// What systemd says of properties that it does not know, or whose value it does not take; the last, of another type.
const WRONG_PROPERTY: [&str; 3] =
    ["org.freedesktop.DBus.Error.PropertyReadOnly", "org.freedesktop.DBus.Error.InvalidArgs", "System.Error.ENXIO"];

/// How long systemd may take to answer a question that reports can do without.
const ASIDE: Duration = Duration::from_secs(1);

/// A container's unit, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Such as `creel-c1.scope`.
    pub name: String,
    /// The slice that it is in. Names are one's own in a manager, not in a slice: a unit of this name in another slice is
    /// somebody else's.
    pub slice: String,
    /// Who keeps it.
    pub manager: ManagerKind,
    /// Where in the unit's cgroup the container's processes are; empty: right in it.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub subgroup: PathBuf,
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// A unit that was started; stopped when dropped, unless it was kept before.
#[derive(Debug)]
pub(crate) struct Started {
    unit: Option<Unit>,
    placeholder: Option<Placeholder>,
}

impl Started {
    /// Starts the unit, and waits until systemd has made its cgroup.
    pub(crate) fn start(plan: &UnitPlan) -> Result<Started> {
        let mut manager = Manager::connect(plan.unit.manager)?;
        // A slice has no processes of its own when it starts, and does not end without any.
        let scope = plan.unit.is_scope();
        let placeholder = scope.then(Placeholder::start).transpose()?;
        let pids = placeholder.iter().map(|process| Property::new("PIDs", Value::array("u", [process.pid()])));
        let properties = plan.properties.iter().cloned().chain(pids);
        let properties = Value::Array("(sv)".to_owned(), properties.map(|property| property.to_value()).collect());
        let none = Value::Array("(sa(sv))".to_owned(), Vec::new());
        let unit = &plan.unit;
        let arguments = [unit.name.as_str().into(), REPLACE.into(), properties, none];
        let started = Started { unit: Some(unit.clone()), placeholder };
        match start(&mut manager, &unit.name, &arguments) {
            Ok(result) if result == DONE => Ok(started),
            Ok(result) => {
                let what = format!("{}: StartTransientUnit: systemd's job ended with \"{result}\"", unit.name);
                Err(Error::new(Kind::System, what).remedy(format!("see journalctl --unit {}", unit.name)))
            }
            Err(fault) => {
                // It is not ours, if it is there at all.
                if !matches!(fault, Fault::TimedOut) {
                    started.keep();
                }
                Err(explain(fault, &unit.name))
            }
        }
    }

    /// The process that holds a scope open, if the container's own cgroup is below that.
    pub(crate) fn placeholder_below(&self) -> Option<u32> {
        let below = self.unit.as_ref().is_some_and(|unit| !is_empty(&unit.subgroup));
        self.placeholder.as_ref().filter(|_| below).map(Placeholder::pid)
    }

    /// Leaves the unit running; gives the process that holds it open.
    pub(crate) fn keep(mut self) -> Option<Placeholder> {
        self.unit = None;
        self.placeholder.take()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.placeholder.take());
        if let Some(unit) = self.unit.take() {
            // Without processes a scope ends by itself.
            let _ = unit.stop();
        }
    }
}

/// Starts the unit. One of its name may be there still: left over from a failure, or about to go away.
fn start(manager: &mut Manager, name: &str, arguments: &[Value]) -> Result<String, Fault> {
    let mut wait = FIRST_WAIT;
    for _ in 1..START_ATTEMPTS {
        match manager.run_job("StartTransientUnit", arguments) {
            Err(fault) if fault.is("UnitExists") => {}
            result => return result,
        }
        let state = manager.unit_text(name, "Unit", "ActiveState").unwrap_or_default();
        if matches!(state.as_str(), "active" | "reloading") {
            break;
        }
        // What it says of a unit that is gone by now does not matter.
        let _ = manager.call("ResetFailedUnit", &[name.into()]);
        std::thread::sleep(wait);
        wait *= 2;
    }
    manager.run_job("StartTransientUnit", arguments)
}

fn explain(fault: Fault, name: &str) -> Error {
    if fault.is("UnitExists") {
        let error = Error::new(Kind::WrongState, format!("systemd has a unit {name} already"));
        return error
            .remedy(format!("end what runs there (systemctl status {name}), or give another linux.cgroupsPath"));
    }
    let wrong = matches!(&fault, Fault::Remote { name, .. } if WRONG_PROPERTY.contains(&name.as_str()));
    let error = fault.into_error("StartTransientUnit", name);
    if !wrong {
        return error;
    }
    error
        .of_kind(Kind::Invalid)
        .remedy("check annotations org.systemd.property.*; org.freedesktop.systemd1(5) has the types")
}

impl Unit {
    /// Whether systemd has this unit, and not another one of its name. That of a slice says where it is.
    fn is_ours(&self, manager: &mut Manager) -> Result<bool> {
        if !self.is_scope() {
            return Ok(true);
        }
        match manager.unit_text(&self.name, "Scope", "Slice") {
            Ok(slice) => Ok(slice == self.slice),
            Err(fault) if fault.is("NoSuchUnit") => Ok(false),
            Err(fault) => Err(fault.into_error("Get", &format!("{}: Slice", self.name))),
        }
    }

    /// Moves a process into the container's cgroup. systemd does so, since version 238, for units that are delegated.
    pub(in crate::cgroups) fn fetch(&self, pid: u32) -> Result<()> {
        let subgroup = if is_empty(&self.subgroup) { String::new() } else { format!("/{}", self.subgroup.display()) };
        let arguments = [self.name.as_str().into(), subgroup.as_str().into(), Value::array("u", [pid])];
        let fetched = Manager::connect(self.manager)?.call("AttachProcessesToUnit", &arguments);
        fetched.map_err(|fault| {
            fault.into_error("AttachProcessesToUnit", &self.name).remedy(
                "run creel where the user's manager may take processes from: systemd-run --user --scope creel …",
            )
        })
    }

    fn is_scope(&self) -> bool {
        self.name.ends_with(".scope")
    }

    /// Stops the unit, which ends its processes, and has systemd forget it. One that is gone already is no error.
    fn stop(&self) -> Result<()> {
        let mut manager = Manager::connect(self.manager)?;
        if !self.is_ours(&mut manager)? {
            return Ok(());
        }
        let name = || Value::from(self.name.as_str());
        match manager.run_job("StopUnit", &[name(), REPLACE.into()]) {
            Ok(_) => {}
            Err(fault) if fault.is("NoSuchUnit") => return Ok(()),
            Err(fault) => return Err(fault.into_error("StopUnit", &self.name)),
        }
        // A unit that has failed stays in systemd's memory, for others to see, until that is done.
        match manager.call("ResetFailedUnit", &[name()]) {
            Err(fault) if !fault.is("NoSuchUnit") => Err(fault.into_error("ResetFailedUnit", &self.name)),
            _ => Ok(()),
        }
    }
}

impl Cgroup {
    /// Stops the container's unit, if it has one. Processes are not ended: while some are left in the cgroup the unit is
    /// left alone, and [`Cgroup::remove`] will tell of them. Gives a warning if systemd cannot be asked; the directories
    /// can be removed all the same.
    ///
    /// # Errors
    /// If the cgroup's processes cannot be listed.
    pub fn stop_unit(&self) -> Result<Option<String>> {
        let Some(unit) = self.unit() else { return Ok(None) };
        let mut wait = EMPTY_FIRST_WAIT;
        for _ in 0..EMPTY_ATTEMPTS {
            if self.pids()?.is_empty() {
                return Ok(unit.stop().err().map(|error| error.during(Phase::Cgroup).to_string()));
            }
            std::thread::sleep(wait);
            wait *= 2;
        }
        Ok(None)
    }

    /// Changes properties of the container's unit, if it has one, until it ends: what [`unit_properties`] makes of new
    /// limits. systemd then writes all that it knows to the cgroup's files, so it comes before what is written there
    /// otherwise. On v1, where it forbids all devices for a moment, processes are frozen meanwhile.
    ///
    /// [`unit_properties`]: super::unit_properties
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if systemd cannot be reached; [`Kind::Invalid`] for what it does not take.
    pub fn set_unit_properties(&self, properties: &[Property]) -> Result<()> {
        let Some(unit) = self.unit().filter(|_| !properties.is_empty()) else { return Ok(()) };
        let v1 = self.dirs().keys().any(|key| !key.is_empty());
        let freeze = v1 && self.dir_of("freezer").is_some() && !self.is_frozen()?;
        if freeze {
            self.freeze()?;
        }
        let set = set_properties(unit, properties).during(Phase::Cgroup);
        if freeze { self.thaw().and(set) } else { set }
    }

    /// How the container's unit has ended, such as `oom-kill`, or `success` while it has not; none if it has no unit, or
    /// systemd has forgotten it, as it does with those that have ended well.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if systemd cannot be reached.
    pub fn unit_result(&self) -> Result<Option<String>> {
        let Some(unit) = self.unit() else { return Ok(None) };
        if !unit.is_scope() {
            return Ok(None);
        }
        let mut manager = Manager::connect_for(unit.manager, ASIDE).during(Phase::Cgroup)?;
        if !unit.is_ours(&mut manager).during(Phase::Cgroup)? {
            return Ok(None);
        }
        match manager.unit_text(&unit.name, "Scope", "Result") {
            Ok(result) => Ok(Some(result)),
            Err(fault) if fault.is("NoSuchUnit") => Ok(None),
            Err(fault) => Err(fault.into_error("Get", &format!("{}: Result", unit.name)).during(Phase::Cgroup)),
        }
    }
}

fn set_properties(unit: &Unit, properties: &[Property]) -> Result<()> {
    let mut manager = Manager::connect(unit.manager)?;
    // What a list is set to is added to what is there, unless it was emptied before.
    let emptied = |one: &Property| match &one.value {
        Value::Array(kind, values) if one.name == "DeviceAllow" && !values.is_empty() => {
            Some(Property::new("DeviceAllow", Value::Array(kind.clone(), Vec::new())))
        }
        _ => None,
    };
    let properties = properties.iter().flat_map(|one| emptied(one).into_iter().chain([one.clone()]));
    let list = Value::Array("(sv)".to_owned(), properties.map(|one| one.to_value()).collect());
    let runtime = Value::Bool(true);
    let set = manager.call("SetUnitProperties", &[unit.name.as_str().into(), runtime, list]);
    set.map_err(|fault| fault.into_error("SetUnitProperties", &unit.name))
}
