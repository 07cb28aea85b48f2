//! How a call failed, in gRPC's codes, by which containerd and its clients decide.

pub use containerd_shim_protos::ttrpc::Code;
use libcontainer::error::{Error, Kind};

/// A failure of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What containerd decides by.
    pub code: Code,
    /// What people read.
    pub message: String,
}

impl Status {
    /// A failure of a kind.
    pub fn new(code: Code, message: impl Into<String>) -> Status {
        Status { code, message: message.into() }
    }

    /// There is no such container, or process.
    pub fn not_found(message: impl Into<String>) -> Status {
        Status::new(Code::NOT_FOUND, message)
    }

    /// Not in this state.
    pub fn precondition(message: impl Into<String>) -> Status {
        Status::new(Code::FAILED_PRECONDITION, message)
    }

    /// Puts what was being done in front. The words are those of containerd's own shim: engines look for them.
    pub fn within(mut self, what: &str) -> Status {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let code = match error.kind() {
            Kind::Invalid => Code::INVALID_ARGUMENT,
            Kind::NotFound => Code::NOT_FOUND,
            Kind::Exists => Code::ALREADY_EXISTS,
            Kind::WrongState => Code::FAILED_PRECONDITION,
            Kind::Unsupported => Code::UNIMPLEMENTED,
            Kind::ExecNotFound | Kind::ExecNotExecutable | Kind::System => Code::UNKNOWN,
        };
        Status::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_errors_have_codes() {
        let status = Status::from(Error::new(Kind::NotFound, "container does not exist")).within("delete");
        assert_eq!(status, Status::not_found("delete: container does not exist"));
        assert_eq!(Status::from(Error::unsupported("x")).code, Code::UNIMPLEMENTED);
        assert_eq!(Status::from(Error::new(Kind::Exists, "x")).code, Code::ALREADY_EXISTS);
        assert_eq!(Status::from(Error::new(Kind::WrongState, "x")).code, Code::FAILED_PRECONDITION);
        assert_eq!(Status::from(Error::invalid("x", "y")).code, Code::INVALID_ARGUMENT);
    }
}
