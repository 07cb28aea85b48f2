//! Making and joining groups, beneath a descriptor of resctrl's mount.

use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::plan::RdtPlan;
use crate::error::{Error, Kind, Result};
use crate::host::Resctrl;

/// A container's group, as the state keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdtGroup {
    /// Where resctrl is mounted.
    pub mountpoint: PathBuf,
    /// The directory below it; empty for the default class of service.
    pub name: String,
    /// Whether it is the container's own, and goes with it.
    pub remove: bool,
    /// The monitoring group below it, which is always the container's own.
    pub monitoring: Option<String>,
}

/// Schemata that were changed, and can be put back.
#[derive(Debug)]
pub struct Changed<'a> {
    group: &'a RdtGroup,
    resctrl: Resctrl,
    before: String,
}

impl RdtGroup {
    /// Makes the group if it has to be made, and moves the process `pid`, which has one thread, into it. On record before.
    ///
    /// # Errors
    /// The kernel's, with what it says in `info/last_cmd_status`.
    pub fn enter(&mut self, plan: &RdtPlan, pid: i32) -> Result<()> {
        let resctrl = self.open().ok_or_else(|| self.gone())?;
        self.enter_in(&resctrl, plan, pid)
    }

    fn enter_in(&mut self, resctrl: &Resctrl, plan: &RdtPlan, pid: i32) -> Result<()> {
        if plan.make && !make(resctrl, &self.name, "linux.intelRdt")? {
            self.remove = false; // somebody was faster
        }
        if !plan.schemata.is_empty() {
            // One write: what they say holds together.
            let text = plan.schemata.iter().map(|line| format!("{line}\n")).collect::<String>();
            write(resctrl, &self.file("schemata"), &text).map_err(|error| error.within("linux.intelRdt"))?;
        }
        if let Some(monitoring) = self.monitoring_dir() {
            make(resctrl, &monitoring, "linux.intelRdt.enableMonitoring")?;
        }
        self.add(resctrl, pid).map_err(|error| error.within("linux.intelRdt"))
    }

    /// Moves another process of the container's into the group; a group that is gone holds nobody, and is no error, as in runc.
    ///
    /// # Errors
    /// The kernel's.
    pub fn join(&self, pid: i32) -> Result<()> {
        match self.open() {
            Some(resctrl) if resctrl.open(self.file("tasks"), OFlags::PATH).is_ok() => self.add(&resctrl, pid),
            _ => Ok(()),
        }
    }

    fn add(&self, resctrl: &Resctrl, pid: i32) -> Result<()> {
        write(resctrl, &self.file("tasks"), &pid.to_string())?;
        // Only what is in the group can be in a monitoring group below it.
        match self.monitoring_dir() {
            Some(monitoring) => write(resctrl, &format!("{monitoring}/tasks"), &pid.to_string()),
            None => Ok(()),
        }
    }

    /// Writes lines to the schemata.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the group is gone; the kernel's.
    pub fn change(&self, lines: &[String]) -> Result<Changed<'_>> {
        let resctrl = self.open().ok_or_else(|| self.gone())?;
        self.change_in(resctrl, lines)
    }

    fn change_in(&self, resctrl: Resctrl, lines: &[String]) -> Result<Changed<'_>> {
        let before = resctrl.read(self.file("schemata")).map_err(|_| self.gone())?;
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        write(&resctrl, &self.file("schemata"), &text)?;
        Ok(Changed { group: self, resctrl, before })
    }

    /// Removes what is the container's own. What it left there goes back to the default class of service.
    ///
    /// # Errors
    /// Those of unlinkat(2); what is gone is none.
    pub fn remove(&self) -> Result<()> {
        match self.open() {
            Some(resctrl) => self.remove_from(&resctrl),
            None => Ok(()), // all groups have gone with the mount
        }
    }

    fn remove_from(&self, resctrl: &Resctrl) -> Result<()> {
        // A group takes along those that monitor below it.
        let directory = if self.remove { Some(self.name.clone()) } else { self.monitoring_dir() };
        let Some(directory) = directory.filter(|directory| !directory.is_empty()) else { return Ok(()) };
        match unlinkat(resctrl, &directory, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(refused(resctrl, "unlinkat", &directory, errno)),
        }
    }

    fn open(&self) -> Option<Resctrl> {
        Resctrl::at(&self.mountpoint)
    }

    /// What there is to say when it is not there any more.
    pub fn gone(&self) -> Error {
        let place = self.mountpoint.join(&self.name);
        Error::new(Kind::NotFound, format!("{}: the class of service is gone", place.display()))
    }

    pub(super) fn file(&self, name: &str) -> String {
        if self.name.is_empty() { name.to_owned() } else { format!("{}/{name}", self.name) }
    }

    pub(super) fn monitoring_dir(&self) -> Option<String> {
        self.monitoring.as_ref().map(|name| self.file(&format!("mon_groups/{name}")))
    }
}

impl Changed<'_> {
    /// Puts back what was there before, because of `error`; gives it with what could not be put back.
    pub fn take_back(self, error: Error) -> Error {
        match write(&self.resctrl, &self.group.file("schemata"), &self.before) {
            Ok(()) => error,
            Err(left) => error.remedy(format!("besides, {left}")),
        }
    }
}

/// Whether it was missing.
fn make(resctrl: &Resctrl, directory: &str, field: &str) -> Result<bool> {
    match mkdirat(resctrl, directory, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => {
            let error = refused(resctrl, "mkdirat", directory, errno).within(field);
            // It is the number of groups that is limited.
            Err(if errno == Errno::NOSPC { error.remedy("remove groups that nobody uses") } else { error })
        }
    }
}

fn write(resctrl: &Resctrl, file: &str, text: &str) -> Result<()> {
    let written = resctrl.open(file, OFlags::WRONLY).and_then(|fd| rustix::io::write(&fd, text.as_bytes()));
    written.map(drop).map_err(|errno| {
        let subject = format!("\"{}\" to {}", text.trim_end(), resctrl.path().join(file).display());
        with_status(resctrl, Error::system("write", subject, errno))
    })
}

fn refused(resctrl: &Resctrl, call: &str, directory: &str, errno: Errno) -> Error {
    with_status(resctrl, Error::system(call, resctrl.path().join(directory).display(), errno))
}

/// The kernel tells there why the last operation failed.
fn with_status(resctrl: &Resctrl, error: Error) -> Error {
    let status = resctrl.read("info/last_cmd_status").unwrap_or_default();
    match status.trim() {
        "" | "ok" => error,
        status => error.cause(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::tests::TempDir;

    /// A directory with the files that a group has; making one, which gives the files, only the real resctrl can.
    fn place() -> TempDir {
        let dir = TempDir::new("resctrl");
        for group in ["c1", "c1/mon_groups/c1"] {
            std::fs::create_dir_all(dir.path().join(group)).expect("mkdir");
            std::fs::write(dir.path().join(group).join("tasks"), "").expect("tasks");
        }
        std::fs::write(dir.path().join("c1/schemata"), "L3:0=ff\n").expect("schemata");
        dir
    }

    fn group(dir: &TempDir, remove: bool) -> RdtGroup {
        let mountpoint = dir.path().to_owned();
        RdtGroup { mountpoint, name: "c1".into(), remove, monitoring: Some("c1".into()) }
    }

    fn read(dir: &TempDir, file: &str) -> String {
        std::fs::read_to_string(dir.path().join(file)).expect(file)
    }

    #[test]
    fn a_process_enters_the_group_and_its_monitoring_group() {
        let dir = place();
        let mut group = group(&dir, true);
        let plan = RdtPlan {
            group: group.clone(),
            make: true,
            schemata: vec!["L3:0=f".into(), "MB:0=20".into()],
            warning: None,
        };
        group.enter_in(&Resctrl::of(dir.path()), &plan, 77).expect("entered");
        assert_eq!(read(&dir, "c1/schemata"), "L3:0=f\nMB:0=20\n");
        assert_eq!((read(&dir, "c1/tasks"), read(&dir, "c1/mon_groups/c1/tasks")), ("77".into(), "77".into()));
        assert!(!group.remove, "it was there before, so it is another's");
    }

    #[test]
    fn a_change_can_be_taken_back_and_a_missing_group_is_told() {
        let dir = place();
        let mine = group(&dir, true);
        let changed = mine.change_in(Resctrl::of(dir.path()), &["L3:0=3f".to_owned()]).expect("changed");
        assert_eq!(read(&dir, "c1/schemata"), "L3:0=3f\n");
        let error = changed.take_back(Error::new(Kind::System, "no"));
        assert_eq!((error.to_string().as_str(), read(&dir, "c1/schemata").as_str()), ("no", "L3:0=ff\n"));
        let gone = RdtGroup { name: "c2".into(), ..mine };
        let error = gone.change_in(Resctrl::of(dir.path()), &[]).expect_err("no such group").to_string();
        assert!(error.ends_with("c2: the class of service is gone"), "{error}");
    }

    #[test]
    fn what_is_removed_is_the_containers_own() {
        let dir = TempDir::new("resctrl");
        std::fs::create_dir_all(dir.path().join("c1/mon_groups/c1")).expect("mkdir");
        let resctrl = Resctrl::of(dir.path());
        // Another's group, of which only the monitoring group is the container's; removed twice.
        group(&dir, false).remove_from(&resctrl).expect("removed");
        group(&dir, false).remove_from(&resctrl).expect("nothing left");
        assert!(dir.path().join("c1/mon_groups").exists() && !dir.path().join("c1/mon_groups/c1").exists());
        std::fs::remove_dir(dir.path().join("c1/mon_groups")).expect("rmdir");
        let default = RdtGroup { remove: false, name: String::new(), monitoring: None, mountpoint: dir.path().into() };
        default.remove_from(&resctrl).expect("nothing");
        assert!(dir.path().join("c1").exists());
        group(&dir, true).remove_from(&resctrl).expect("removed");
        assert!(!dir.path().join("c1").exists());
    }

    #[test]
    fn a_directory_that_is_no_resctrl_any_more_is_left_alone() {
        let dir = place();
        let group = group(&dir, true);
        group.remove().expect("unmounted: nothing to remove");
        group.join(1).expect("unmounted: nothing to join");
        assert!(dir.path().join("c1/tasks").exists());
        assert_eq!(group.change(&[]).expect_err("gone").kind(), Kind::NotFound);
    }

    #[test]
    fn the_kernels_own_words_are_the_cause() {
        let dir = place();
        std::fs::create_dir(dir.path().join("info")).expect("mkdir");
        std::fs::write(dir.path().join("info/last_cmd_status"), "Non-consecutive 1-bits in mask\n").expect("status");
        let resctrl = Resctrl::of(dir.path());
        let error = write(&resctrl, "c1/none", "L3:0=5\n").expect_err("no such file").to_string();
        assert!(error.starts_with("\"L3:0=5\" to /tmp/"), "{error}");
        assert!(
            error.ends_with("c1/none: write: no such file or directory: Non-consecutive 1-bits in mask"),
            "{error}"
        );
        // Names lead nowhere else.
        assert_eq!(resctrl.read("../etc/passwd"), Err(Errno::XDEV));
    }
}
