//! One value for one file of a cgroup's directory, as data.

use std::borrow::Cow;

use serde::Serialize;

/// A value that is to be written to a file of the container's cgroup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CgroupWrite {
    /// The file's name; what stands before its first dot is the controller's.
    pub file: Cow<'static, str>,
    /// What is written to it, in one write(2).
    pub value: String,
    /// The field of config.json that asks for it.
    pub field: Cow<'static, str>,
    /// What to do where the kernel, or the cgroup, has no such file.
    #[serde(skip_serializing_if = "IfMissing::is_failure")]
    pub if_missing: IfMissing,
    /// If the kernel refuses the value (EINVAL), try again after all other writes to this directory: it compares the
    /// value with that of another file (memory with memory+swap, period with quota), which is about to change too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_wait: bool,
}

/// What a missing file means.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IfMissing {
    /// The limit cannot be had, which is an error.
    Fail,
    /// The limit does not matter then.
    Ignore,
    /// This file has the same meaning.
    Use {
        /// Its name.
        file: Cow<'static, str>,
        /// The value in its own scale.
        value: String,
    },
}

impl IfMissing {
    fn is_failure(&self) -> bool {
        *self == IfMissing::Fail
    }
}

impl CgroupWrite {
    pub(super) fn new(
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        field: impl Into<Cow<'static, str>>,
    ) -> CgroupWrite {
        let (file, value, field) = (file.into(), value.to_string(), field.into());
        CgroupWrite { file, value, field, if_missing: IfMissing::Fail, may_wait: false }
    }

    pub(super) fn ignored_if_missing(mut self) -> CgroupWrite {
        self.if_missing = IfMissing::Ignore;
        self
    }

    pub(super) fn or(mut self, file: &'static str, value: impl ToString) -> CgroupWrite {
        self.if_missing = IfMissing::Use { file: file.into(), value: value.to_string() };
        self
    }

    pub(super) fn may_wait(mut self) -> CgroupWrite {
        self.may_wait = true;
        self
    }

    /// Whether a limit that was asked for would be without effect if this could not be written.
    pub(super) fn must_succeed(&self) -> bool {
        self.if_missing != IfMissing::Ignore
    }

    /// Whether it is from `linux.resources.unified`, where nobody but the kernel knows what a name means.
    pub(super) fn is_verbatim(&self) -> bool {
        self.field.starts_with("linux.resources.unified")
    }

    /// The controller whose file it is; `cgroup` for the files that every directory has.
    pub fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }
}
