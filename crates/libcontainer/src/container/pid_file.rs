//! `--pid-file`: appears with its content, or not at all.

use std::path::Path;

use crate::error::{During, Phase, Result, SysContext};

/// Writes `pid` to a file beside `path` and renames it there.
pub(crate) fn write(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = path.with_file_name(format!(".{name}"));
    let write = || {
        std::fs::write(&new, pid.to_string()).sys("write", new.display())?;
        std::fs::rename(&new, path).sys("rename", path.display())
    };
    write().within(|| "--pid-file").during(Phase::State)
}
