//! The words by which engines recognise a failure. containerd, CRI-O, Podman and Docker search runc's messages for them; the
//! library speaks in sentences of its own, so that a known phrase is put in front of a sentence that lacks it.

use libcontainer::container::{self, Status, Store};
use libcontainer::error::{Error, Kind};

/// What was asked of a container when the library refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Delete,
    Exec,
    Kill,
    Pause,
    Ps,
    Resume,
    Start,
    State,
}

/// A container's id in the store where it is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The store.
    pub store: &'a Store,
    /// The container.
    pub id: &'a str,
}

impl Subject<'_> {
    /// Puts into words why `operation` failed. Only now the container is looked at: success needs no second look.
    pub fn explain(self, operation: Operation, error: Error) -> anyhow::Error {
        let state = || container::state(self.store, self.id);
        let text = match error.kind() {
            Kind::NotFound if state().is_err_and(|error| error.kind() == Kind::NotFound) => {
                with_phrase(&error, &["container does not exist"])
            }
            Kind::WrongState => match wrong_state(operation, self.id, state().ok().map(|state| state.status)) {
                Some(phrase) => with_phrase(&error, &[&phrase]),
                None => error.to_string(),
            },
            _ => executable(&error),
        };
        anyhow::Error::msg(text)
    }
}

/// Puts into words why a container could not be created or run.
pub fn creation(error: &Error) -> anyhow::Error {
    anyhow::Error::msg(match error.kind() {
        Kind::Exists => with_phrase(error, &["container with given ID already exists"]),
        _ => executable(error),
    })
}

/// Docker and Podman turn these phrases into a shell's exit codes 127 and 126.
fn executable(error: &Error) -> String {
    match error.kind() {
        Kind::ExecNotFound => with_phrase(error, &["executable file not found in $PATH", "no such file or directory"]),
        Kind::ExecNotExecutable => with_phrase(error, &["permission denied", "is a directory", "exec format error"]),
        _ => error.to_string(),
    }
}

/// The error's sentence, after the first phrase unless it has one of them already.
fn with_phrase(error: &Error, phrases: &[&str]) -> String {
    let text = error.to_string();
    match phrases.first() {
        Some(first) if !phrases.iter().any(|phrase| text.contains(phrase)) => format!("{first}: {text}"),
        _ => text,
    }
}

/// runc's words for a container whose state forbids `operation`.
fn wrong_state(operation: Operation, id: &str, status: Option<Status>) -> Option<String> {
    let status = status?;
    Some(match (operation, status) {
        (Operation::Start, Status::Running) => "cannot start an already running container".to_owned(),
        (Operation::Start, Status::Stopped) => "cannot start a container that has stopped".to_owned(),
        (Operation::Start, _) => format!("cannot start a container in the {} state", name(status)),
        (Operation::Exec, Status::Stopped) => "cannot exec in a stopped container".to_owned(),
        (Operation::Exec, Status::Paused) => {
            "cannot exec in a paused container (use --ignore-paused to override)".to_owned()
        }
        (Operation::Delete, _) => format!("cannot delete container {id} that is not stopped: {}", name(status)),
        (Operation::Resume, _) => "container not paused".to_owned(),
        (Operation::Kill | Operation::Pause | Operation::Ps, _) => "container not running".to_owned(),
        (Operation::Exec | Operation::State, _) => return None,
    })
}

/// As `state` and `list` print it.
pub fn name(status: Status) -> &'static str {
    match status {
        Status::Creating => "creating",
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_added_once() {
        let exists = |message: &str| creation(&Error::new(Kind::Exists, message)).to_string();
        assert_eq!(exists("container c1"), "container with given ID already exists: container c1");
        assert_eq!(exists("c1: container with given ID already exists"), "c1: container with given ID already exists");
    }

    #[test]
    fn engines_find_the_reason_of_a_failed_execution() {
        let text = |kind, message: &str| creation(&Error::new(kind, message)).to_string();
        assert_eq!(text(Kind::ExecNotFound, "exec: \"nope\""), "executable file not found in $PATH: exec: \"nope\"");
        assert_eq!(
            text(Kind::ExecNotFound, "exec: \"/x\": no such file or directory"),
            "exec: \"/x\": no such file or directory"
        );
        assert_eq!(text(Kind::ExecNotExecutable, "exec: \"/etc\": is a directory"), "exec: \"/etc\": is a directory");
        assert_eq!(text(Kind::ExecNotExecutable, "exec: \"/x\""), "permission denied: exec: \"/x\"");
        assert_eq!(text(Kind::Invalid, "process.cwd: not absolute"), "process.cwd: not absolute");
    }

    #[test]
    fn every_state_has_runcs_words() {
        let words = |operation, status| wrong_state(operation, "c1", Some(status)).unwrap_or_default();
        assert_eq!(words(Operation::Start, Status::Paused), "cannot start a container in the paused state");
        assert_eq!(words(Operation::Start, Status::Running), "cannot start an already running container");
        assert_eq!(words(Operation::Kill, Status::Stopped), "container not running");
        assert_eq!(words(Operation::Resume, Status::Running), "container not paused");
        assert_eq!(words(Operation::Exec, Status::Stopped), "cannot exec in a stopped container");
        assert_eq!(
            words(Operation::Delete, Status::Running),
            "cannot delete container c1 that is not stopped: running"
        );
        assert_eq!(wrong_state(Operation::Start, "c1", None), None);
    }
}
