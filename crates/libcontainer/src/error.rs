//! The one error of this library: what was being done, to what, why it failed, and what helps.
//!
//! It is returned, never logged as well. It is plain data, so that a failure inside the container's init crosses the
//! channel to its parent whole.

use std::fmt;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure this is, for callers that decide by it (exit codes, fall-backs).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A value that the caller gave (config.json, command line) is wrong.
    Invalid,
    /// The container, or a file that is needed, does not exist.
    NotFound,
    /// The container id is taken.
    Exists,
    /// The container is in a state that does not allow the operation.
    WrongState,
    /// The kernel, this host or this build cannot do it.
    Unsupported,
    /// The executable was not found in the container (a shell would exit with 127).
    ExecNotFound,
    /// The executable was found and cannot be executed (a shell would exit with 126).
    ExecNotExecutable,
    /// A system call failed.
    System,
}

/// What the runtime was doing, one step of a container's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names, and their texts below, say it
pub enum Phase {
    LoadSpec,
    Plan,
    State,
    SealExecutable,
    Cgroup,
    Launch,
    Namespaces,
    Rootfs,
    Devices,
    Masks,
    Hooks,
    Terminal,
    Attributes,
    Seccomp,
    Exec,
    Start,
    Update,
    Kill,
    Stats,
    Delete,
}

impl Phase {
    fn doing(self) -> &'static str {
        match self {
            Phase::LoadSpec => "loading config.json",
            Phase::Plan => "planning the container",
            Phase::State => "reading or writing the container's state",
            Phase::SealExecutable => "sealing the runtime's executable",
            Phase::Cgroup => "setting up cgroups",
            Phase::Launch => "launching the container's process",
            Phase::Namespaces => "entering namespaces",
            Phase::Rootfs => "setting up the root filesystem",
            Phase::Devices => "making devices",
            Phase::Masks => "masking paths",
            Phase::Hooks => "running hooks",
            Phase::Terminal => "setting up the terminal",
            Phase::Attributes => "setting the process's attributes",
            Phase::Seccomp => "setting up seccomp",
            Phase::Exec => "executing the container's process",
            Phase::Start => "starting the container",
            Phase::Update => "updating the container's limits",
            Phase::Kill => "sending a signal",
            Phase::Stats => "reading the container's statistics",
            Phase::Delete => "deleting the container",
        }
    }
}

/// A failure with everything that its reader needs.
///
/// Shown as `<phase>: <message>: <syscall>: <errno text>: <cause> (<remedy>)`, absent parts left out.
///
/// ```
/// use libcontainer::error::{Error, Kind, Phase};
/// let error = Error::invalid("process.args", "must name an executable").during(Phase::Plan);
/// assert_eq!(error.to_string(), "planning the container: process.args: must name an executable");
/// assert_eq!(error.kind(), Kind::Invalid);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error(Box<Detail>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Detail {
    kind: Kind,
    phase: Option<Phase>,
    message: String,
    syscall: Option<String>,
    errno: Option<i32>,
    cause: Option<String>,
    remedy: Option<String>,
}

/// Since when the kernel has the system calls that nothing can take the place of, or not everywhere
/// (docs/kernel-features.md).
const SINCE: [(&str, &str); 6] = [
    ("pidfd_send_signal", "5.1"),
    ("open_tree", "5.2"),
    ("move_mount", "5.2"),
    ("pidfd_open", "5.3"),
    ("pidfd_getfd", "5.6"),
    ("mount_setattr", "5.12"),
];

impl Error {
    /// A failure of `kind` that `message` tells: what was done, to what path or value.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Error(Box::new(Detail { kind, phase: None, message, syscall: None, errno: None, cause: None, remedy: None }))
    }

    /// `field` (a path into config.json such as `mounts[2].options`, or a flag) has a value that cannot be used.
    pub fn invalid(field: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(Kind::Invalid, format!("{field}: {why}"))
    }

    /// `what` is beyond this kernel, host or build.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, what)
    }

    /// `syscall` failed with `errno` on `subject` (a path, an id, a value; may be empty).
    pub fn system(syscall: &str, subject: impl fmt::Display, errno: Errno) -> Self {
        let mut error = Self::new(Kind::System, subject.to_string());
        error.0.syscall = Some(syscall.to_owned());
        error.0.errno = Some(errno.raw_os_error());
        let since = SINCE.iter().find(|(name, _)| *name == syscall).map(|(_, since)| since);
        match since {
            Some(since) if errno == Errno::NOSYS => {
                error.of_kind(Kind::Unsupported).remedy(format!("Linux {since} or later is needed"))
            }
            _ => error,
        }
    }

    /// What `message` tells failed with `errno`; its words say which system call that was.
    pub fn failed(message: impl Into<String>, errno: Errno) -> Self {
        let mut error = Self::new(Kind::System, message);
        error.0.errno = Some(errno.raw_os_error());
        error
    }

    /// Says what was being done, unless an inner step has said it already.
    pub fn during(mut self, phase: Phase) -> Self {
        self.0.phase.get_or_insert(phase);
        self
    }

    /// Puts `what` (the larger object, e.g. `mounts[2] (/proc)`) in front of the message.
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        let separator = if self.0.message.is_empty() { "" } else { ": " };
        self.0.message = format!("{what}{separator}{}", self.0.message);
        self
    }

    /// Adds the likely cause.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Why it is likely to have happened, if that is known.
    pub(crate) fn likely_cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Adds what the user can do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// No longer than fits a message to another process: an error may quote a value of any length.
    pub(crate) fn shortened(mut self) -> Self {
        const LONGEST: usize = 8 * 1024;
        for text in [Some(&mut self.0.message), self.0.cause.as_mut(), self.0.remedy.as_mut()].into_iter().flatten() {
            if text.len() > LONGEST {
                text.truncate(text.floor_char_boundary(LONGEST));
                text.push('…');
            }
        }
        self
    }

    /// Changes the kind, where the caller knows what a failed system call means.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The system call that failed, if one did.
    pub fn syscall(&self) -> Option<&str> {
        self.0.syscall.as_deref()
    }

    /// The error number, where a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno.map(Errno::from_raw_os_error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = &*self.0;
        let mut parts = Vec::with_capacity(5);
        parts.extend(detail.phase.map(|phase| phase.doing().to_owned()));
        parts.extend((!detail.message.is_empty()).then(|| detail.message.clone()));
        parts.extend(detail.syscall.clone());
        parts.extend(detail.errno.map(errno_text));
        parts.extend(detail.cause.clone());
        f.write_str(&parts.join(": "))?;
        match &detail.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

/// The text of an error number, in lower case as runc's users know it ("no such file or directory").
fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text).to_owned();
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text,
    }
}

impl std::error::Error for Error {}

/// Turns a failed system call into an [`Error`] that names the call and its subject.
pub trait SysContext<T> {
    /// Names the system call that failed and what it was applied to.
    fn sys(self, syscall: &str, subject: impl fmt::Display) -> Result<T>;
}

impl<T> SysContext<T> for Result<T, Errno> {
    fn sys(self, syscall: &str, subject: impl fmt::Display) -> Result<T> {
        self.map_err(|errno| Error::system(syscall, subject, errno))
    }
}

impl<T> SysContext<T> for std::io::Result<T> {
    fn sys(self, syscall: &str, subject: impl fmt::Display) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(raw) => Error::system(syscall, subject, Errno::from_raw_os_error(raw)),
            None => Error::new(Kind::System, format!("{subject}: {syscall}: {error}")),
        })
    }
}

/// Adds the phase, or the larger object, to a failure on its way up.
pub trait During<T> {
    /// Says what was being done, unless an inner step has said it already.
    fn during(self, phase: Phase) -> Result<T>;
    /// Puts `what` in front of the message; `what` is only made when there is a failure.
    fn within<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> During<T> for Result<T> {
    fn during(self, phase: Phase) -> Result<T> {
        self.map_err(|error| error.during(phase))
    }

    fn within<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.within(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_system_call_is_told_with_the_kernel_that_has_it() {
        let error = Error::system("pidfd_open", 7, Errno::NOSYS);
        assert_eq!(error.kind(), Kind::Unsupported);
        assert_eq!(error.to_string(), "7: pidfd_open: function not implemented (Linux 5.3 or later is needed)");
        assert_eq!(Error::system("read", "file", Errno::NOSYS).kind(), Kind::System);
    }

    #[test]
    fn a_failed_system_call_reads_like_a_sentence() {
        let error = Error::system("openat2", "/proc/1/ns/net", Errno::NOENT)
            .within("linux.namespaces[1].path")
            .during(Phase::Namespaces)
            .cause("the process that owned it is gone")
            .remedy("name a namespace that exists");
        assert_eq!(
            error.to_string(),
            "entering namespaces: linux.namespaces[1].path: /proc/1/ns/net: openat2: no such file or directory: \
             the process that owned it is gone (name a namespace that exists)"
        );
    }

    #[test]
    fn the_inner_phase_wins_and_the_whole_error_survives_the_channel() {
        let error = Error::new(Kind::Exists, "container c1").during(Phase::State).during(Phase::Launch);
        let bytes = serde_json::to_vec(&error).expect("serialise");
        assert_eq!(serde_json::from_slice::<Error>(&bytes).expect("parse"), error);
        assert!(error.to_string().starts_with("reading or writing the container's state"));
    }
}
