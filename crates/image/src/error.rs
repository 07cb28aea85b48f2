//! The one error of this crate: what failed, on what, why, and what helps. It is returned, never printed as well.

use std::fmt;

use rustix::io::Errno;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure this is, for callers that decide by it (retries, fall-backs, exit codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that the user gave (a name, a flag, a file) is wrong.
    Invalid,
    /// The image, blob, file or store does not exist.
    NotFound,
    /// The registry wants other credentials.
    Denied,
    /// This build or this machine cannot do it.
    Unsupported,
    /// What came is not what was promised: digest, size, or form.
    Corrupt,
    /// The network or the registry failed; the same request may succeed later.
    Network,
    /// A system call failed.
    System,
}

/// A failure with everything that its reader needs.
///
/// Shown as `<message>: <syscall>: <errno text>: <cause> (<remedy>)`, absent parts left out.
///
/// ```
/// use creel_image::error::{Error, Kind};
/// let error = Error::invalid("image name \"A\"", "has upper-case letters").remedy("write it in lower case");
/// assert_eq!(error.to_string(), "image name \"A\": has upper-case letters (write it in lower case)");
/// assert_eq!(error.kind(), Kind::Invalid);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Error(Box<Detail>);

#[derive(Clone, Debug, PartialEq)]
struct Detail {
    kind: Kind,
    message: String,
    syscall: Option<String>,
    errno: Option<i32>,
    cause: Option<String>,
    remedy: Option<String>,
}

impl Error {
    /// A failure of `kind` that `message` tells: what was done, to what path or value.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Error(Box::new(Detail { kind, message, syscall: None, errno: None, cause: None, remedy: None }))
    }

    /// `what` (a flag, a name, a field) has a value that cannot be used.
    pub fn invalid(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(Kind::Invalid, format!("{what}: {why}"))
    }

    /// `what` is there and is not what it should be.
    pub fn corrupt(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(Kind::Corrupt, format!("{what}: {why}"))
    }

    /// `what` is beyond this build or machine.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, what)
    }

    /// `syscall` failed with `errno` on `subject` (a path, a name, a value).
    pub fn system(syscall: &str, subject: impl fmt::Display, errno: Errno) -> Self {
        let kind = if errno == Errno::NOENT { Kind::NotFound } else { Kind::System };
        let mut error = Self::new(kind, subject.to_string());
        error.0.syscall = Some(syscall.to_owned());
        error.0.errno = Some(errno.raw_os_error());
        match errno {
            Errno::NOSPC | Errno::DQUOT => error.remedy("free space there, or name another store with --store"),
            _ => error,
        }
    }

    /// Puts `what` (the larger object, such as the image or the layer) in front of the message.
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

    /// Adds what the user can do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Changes the kind, where the caller knows what a failure means.
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The error number, where a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno.map(Errno::from_raw_os_error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = &*self.0;
        let mut parts = Vec::with_capacity(4);
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

/// The text of an error number, in lower case, as every tool prints it ("no such file or directory").
fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

impl std::error::Error for Error {}

/// An [`Error`] that crosses an interface of `std::io` (a `Read` of ours) and comes back whole: see [`SysContext`].
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::other(error)
    }
}

/// Turns a failed system call into an [`Error`] that names the call and its subject.
pub trait SysContext<T> {
    /// Names the system call that failed and what it was applied to. An [`Error`] within an `io::Error` stays as it is.
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
            None => match error.downcast::<Error>() {
                Ok(own) => own,
                Err(error) => Error::new(Kind::System, format!("{subject}: {syscall}: {error}")),
            },
        })
    }
}

/// Adds the larger object to a failure on its way up.
pub trait Within<T> {
    /// Puts `what` in front of the message; `what` is only made when there is a failure.
    fn within<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Within<T> for Result<T> {
    fn within<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.within(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_system_call_reads_like_a_sentence() {
        let error = Error::system("openat", "blobs/sha256", Errno::ACCESS).within("store /s").cause("it is root's");
        assert_eq!(error.to_string(), "store /s: blobs/sha256: openat: permission denied: it is root's");
    }

    #[test]
    fn an_error_crosses_io_whole() {
        let own = Error::corrupt("blob", "is too long");
        let crossed: std::io::Result<()> = Err(own.clone().into());
        assert_eq!(crossed.sys("read", "x"), Err(own));
    }
}
