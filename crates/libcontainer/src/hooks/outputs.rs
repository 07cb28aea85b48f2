//! crun's annotations `run.oci.hooks.stdout` and `run.oci.hooks.stderr`: files that hooks print to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::state::HookState;
use crate::error::{During, Phase, Result, SysContext};

const STDOUT: &str = "run.oci.hooks.stdout";
const STDERR: &str = "run.oci.hooks.stderr";

/// Files of the host's, in place of what the runtime reads from a hook for its message.
#[derive(Debug, Default)]
pub struct Outputs {
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

impl Outputs {
    /// Opens those that the container's annotations name, from its bundle on; made if they are missing.
    ///
    /// # Errors
    /// Names the annotation whose file cannot be opened.
    pub fn open(container: &HookState) -> Result<Outputs> {
        let open = |name: &str| {
            let Some(path) = container.annotations.get(name).filter(|path| !path.is_empty()) else { return Ok(None) };
            let path = container.bundle.join(path);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOCTTY | OFlags::CLOEXEC;
            let opened = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR).sys("open", path.display());
            opened.map(Some).within(|| format!("annotations[\"{name}\"]")).during(Phase::Hooks)
        };
        Ok(Outputs { stdout: open(STDOUT)?, stderr: open(STDERR)? })
    }

    /// What has to stay open for them.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.stdout, &self.stderr].into_iter().flatten().map(AsFd::as_fd)
    }
}
