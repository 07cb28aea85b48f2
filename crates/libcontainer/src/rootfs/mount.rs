//! Carries out one step of the list: filesystems, and what all kinds of mounts share.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, fstat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, fspick,
};

use super::bind::Sources;
use super::options::{Attributes, Parameter};
use super::plan_mounts::{Action, Change, Filesystem, MountStep, Remount};
use super::target::{self, Make, Target};
use super::{bind, cgroup, legacy, tmpcopyup};
use crate::error::{During, Error, Kind, Result, SysContext};
use crate::paths::Root;
use crate::sys::mount::MountAttr;
use crate::tree::{self, attach};

pub(super) fn carry_out(root: &Root, step: &MountStep, sources: &Sources<'_>) -> Result<()> {
    match &step.action {
        Action::Filesystem(filesystem) => mount_filesystem(root, step, filesystem).map(drop),
        Action::Bind(bind) => bind::mount(root, step, bind, sources),
        Action::Remount(change) => remount(&root.resolve(&step.destination, OFlags::PATH)?, step, change),
        Action::CgroupV1(cgroup) => cgroup::mount(root, step, cgroup),
    }
}

/// Gives the mount, if there was a detached one.
pub(super) fn mount_filesystem(root: &Root, step: &MountStep, filesystem: &Filesystem) -> Result<Option<OwnedFd>> {
    let place = match filesystem.plain {
        true => target::find_plain(root, &step.destination)?,
        false => target::find(root, &step.destination, || Ok(Make::Directory))?,
    };
    let inherited = match filesystem.inherit_mode && place.existed {
        true => {
            let mode = fstat(&place.fd).sys("fstat", step.destination.display())?.st_mode & 0o7777;
            Some(Parameter { key: "mode".to_owned(), value: Some(format!("{mode:o}")) })
        }
        false => None,
    };
    if legacy::is_needed(filesystem) {
        return legacy::mount(root, step, filesystem, &place.fd).map(|()| None);
    }
    let mount = make(filesystem, inherited.as_ref())?;
    put(step, filesystem, mount, &place).map(Some)
}

/// The filesystem as a mount that is attached nowhere. What its source and parameters name is found from this process's
/// root on.
pub(super) fn make(filesystem: &Filesystem, inherited: Option<&Parameter>) -> Result<OwnedFd> {
    let mut context = Context::open(&filesystem.kind)?;
    context.set_source(&filesystem.source)?;
    for parameter in inherited.into_iter().chain(&filesystem.parameters) {
        context.set(parameter)?;
    }
    context.create(filesystem.attributes)
}

/// Attaches it, and gives it back.
pub(super) fn put(step: &MountStep, filesystem: &Filesystem, mount: OwnedFd, place: &Target) -> Result<OwnedFd> {
    if let Some(label) = &filesystem.root_label {
        set_label(&mount, label)?;
    }
    change(mount.as_fd(), &step.changes)?;
    if filesystem.copy_up && place.existed {
        tmpcopyup::copy(place.fd.as_fd(), mount.as_fd())?;
    }
    attach(&mount, &place.fd).map_err(|errno| attach_error(errno, &step.destination))?;
    Ok(mount)
}

fn set_label(mount: &OwnedFd, label: &str) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat(mount, c".", flags, Mode::empty()).sys("openat", "the mount's root")?;
    fsetxattr(&top, c"security.selinux", label.as_bytes(), XattrFlags::empty()).sys("fsetxattr", label)
}

/// What is mounted there already gets other parameters or attributes.
pub(super) fn remount(mount: &OwnedFd, step: &MountStep, change_of: &Remount) -> Result<()> {
    if !change_of.parameters.is_empty() {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let fd = match fspick(mount, c"", flags) {
            Err(Errno::NOSYS) => None,
            picked => Some(picked.sys("fspick", step.destination.display())?),
        };
        let mut context = Context::of(fd, "remount");
        for parameter in &change_of.parameters {
            context.set(parameter)?;
        }
        context.reconfigure(mount)?;
    }
    change_attached(mount, &step.changes)
}

/// Makes the changes, in order, on a tree that is not attached yet.
pub(super) fn change(tree: impl AsFd, changes: &[Change]) -> Result<()> {
    each_change(changes, |recursive, attr| tree::change(&tree, recursive, attr))
}

/// Makes the changes, in order, on an attached mount.
pub(super) fn change_attached(mount: impl AsFd, changes: &[Change]) -> Result<()> {
    each_change(changes, |recursive, attr| tree::change_attached(&mount, recursive, attr))
}

fn each_change(changes: &[Change], act: impl Fn(bool, &MountAttr) -> Result<(), Errno>) -> Result<()> {
    for change in changes {
        let mut attr = MountAttr::setting(change.set.0);
        attr.clear = change.clear.and(change.reset).0;
        attr.propagation = change.propagation.map_or(0, super::Propagation::bits);
        let mut result = act(change.recursive, &attr);
        if result == Err(Errno::PERM) && !change.reset.is_none() {
            // Of those that nobody asked for this is the one that is never locked.
            let free = if change.reset.has(Attributes::NOSYMFOLLOW) { Attributes::NOSYMFOLLOW.0 } else { 0 };
            attr.clear = change.clear.0 | free;
            result = act(change.recursive, &attr);
        }
        result.map_err(|errno| change_error(errno, change))?;
    }
    Ok(())
}

fn change_error(errno: Errno, change: &Change) -> Error {
    let cleared = change.clear.without(Attributes::ATIME);
    let what = match (change.set.is_none(), cleared.is_none()) {
        (true, true) => "propagation".to_owned(),
        (false, true) => format!("setting {}", change.set),
        (true, false) => format!("clearing {cleared}"),
        (false, false) => format!("setting {} and clearing {cleared}", change.set),
    };
    let error = Error::system("mount_setattr", what, errno);
    match errno {
        Errno::NOSYS => error.of_kind(Kind::Unsupported).remedy("Linux 5.12 or later is needed"),
        Errno::PERM => error.cause("attributes are locked on a mount that came from another user namespace"),
        Errno::INVAL => error.cause("nothing is mounted there, or this kernel does not know one of them"),
        _ => error,
    }
}

/// Why a finished mount could not be attached.
pub(super) fn attach_error(errno: Errno, destination: &Path) -> Error {
    let error = Error::system("move_mount", destination.display(), errno);
    match errno {
        Errno::INVAL | Errno::NOTDIR => error.cause("a directory goes onto a directory only, a file onto a file only"),
        _ => error,
    }
}

/// sysfs asks for the network namespace, mqueue for the IPC namespace, procfs for the PID namespace, others for the mount
/// namespace or the initial user namespace.
const NOT_PERMITTED: &str = "it takes CAP_SYS_ADMIN in the user namespace that owns what it shows";

/// A new procfs or sysfs would show what the outer container's own hides below other mounts (mount_too_revealing).
const TOO_REVEALING: &str = "too revealing";
const UNMASK: &str = "run the outer container with nothing of its /proc and /sys masked (linux.maskedPaths and readonlyPaths; podman: \
                      --security-opt unmask=ALL), or without a user namespace of this one's own";

/// A filesystem that is being configured (fsopen(2), since Linux 5.2); without that, what mount(2) is to be told.
pub(super) struct Context {
    fd: Option<OwnedFd>,
    kind: String,
    source: String,
    parameters: Vec<Parameter>,
}

impl Context {
    pub(super) fn open(kind: &str) -> Result<Context> {
        match fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Context::of(Some(fd), kind)),
            Err(Errno::NOSYS) => Ok(Context::of(None, kind)),
            Err(errno) => {
                let error = Error::system("fsopen", kind, errno);
                Err(match errno {
                    Errno::NODEV => {
                        error.of_kind(Kind::Unsupported).cause("this kernel has no filesystem of that type")
                    }
                    Errno::PERM => error.cause(NOT_PERMITTED),
                    _ => error,
                })
            }
        }
    }

    fn of(fd: Option<OwnedFd>, kind: &str) -> Context {
        Context { fd, kind: kind.to_owned(), source: String::new(), parameters: Vec::new() }
    }

    /// What /proc/mounts shows in the first column, or the device.
    pub(super) fn set_source(&mut self, source: &str) -> Result<()> {
        let Some(fd) = self.fd.as_ref().filter(|_| !source.is_empty()) else {
            self.source = source.to_owned();
            return Ok(());
        };
        fsconfig_set_string(fd, c"source", source).map_err(|errno| self.error("fsconfig", source, errno))
    }

    pub(super) fn set(&mut self, parameter: &Parameter) -> Result<()> {
        let Some(fd) = &self.fd else {
            self.parameters.push(parameter.clone());
            return Ok(());
        };
        let result = match &parameter.value {
            Some(value) => fsconfig_set_string(fd, parameter.key.as_str(), value.as_str()),
            None => fsconfig_set_flag(fd, parameter.key.as_str()),
        };
        match (result, parameter.key.as_str()) {
            // mount(2) takes them of any filesystem, but here only those know them to which they mean something.
            (Err(Errno::INVAL), "iversion" | "noiversion") => Ok(()),
            (Err(Errno::INVAL), "uid" | "gid") => {
                let error = self.error("fsconfig", &parameter.to_string(), Errno::INVAL);
                Err(error.remedy("leave it out, or map it in linux.uidMappings or linux.gidMappings"))
            }
            (result, _) => result.map_err(|errno| self.error("fsconfig", &parameter.to_string(), errno)),
        }
    }

    /// The new filesystem, as a mount that is attached nowhere.
    pub(super) fn create(&self, attributes: Attributes) -> Result<OwnedFd> {
        let Some(fd) = &self.fd else {
            let (flags, data) = legacy::arguments(attributes, &self.parameters).within(|| self.kind.clone())?;
            return tree::mount_aside(&self.kind, &self.source, flags, &data)
                .map_err(|errno| self.error("mount", "", errno));
        };
        fsconfig_create(fd).map_err(|errno| self.error("fsconfig", "create", errno))?;
        let attributes: MountAttrFlags = attributes.to_fsmount();
        fsmount(fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|errno| self.error("fsmount", "", errno))
    }

    fn reconfigure(&self, mount: &OwnedFd) -> Result<()> {
        if let Some(fd) = &self.fd {
            return fsconfig_reconfigure(fd).map_err(|errno| self.error("fsconfig", "reconfigure", errno));
        }
        let (flags, data) = legacy::arguments(Attributes::NONE, &self.parameters)?;
        tree::reconfigure(mount, flags, &data).map_err(|errno| self.error("mount", "MS_REMOUNT", errno))
    }

    fn error(&self, syscall: &str, what: &str, errno: Errno) -> Error {
        let subject = if what.is_empty() { self.kind.clone() } else { format!("{}: {what}", self.kind) };
        let error = Error::system(syscall, subject, errno);
        let log = self.log();
        match errno {
            // The kernel's words since Linux 6.2 or so; before, it is EPERM without any.
            _ if log.contains(TOO_REVEALING) => error.cause(log).remedy(UNMASK),
            _ if !log.is_empty() => error.cause(log),
            Errno::PERM => error.cause(NOT_PERMITTED),
            Errno::NODEV => error.of_kind(Kind::Unsupported).cause("this kernel has no filesystem of that type"),
            Errno::NOSYS => error.of_kind(Kind::Unsupported).remedy("Linux 5.2 or later is needed for that"),
            Errno::INVAL => error.cause("the filesystem does not know that option, or not that value"),
            _ => error,
        }
    }

    /// The kernel's own words: each read gives one message, `e ` and the text (Documentation/filesystems/mount_api.rst).
    fn log(&self) -> String {
        let mut messages = Vec::new();
        let mut buffer = [0u8; 512];
        let Some(fd) = &self.fd else { return String::new() };
        while let Ok(length @ 1..) = rustix::io::read(fd, &mut buffer) {
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            let text = text.trim_end();
            messages.push(text.split_once(' ').map_or(text, |(_, message)| message).to_owned());
        }
        messages.join("; ")
    }
}
