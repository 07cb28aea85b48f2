//! `--pid-file`: appears with its content, or not at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::error::{During, Phase, Result, SysContext};

/// Writes `pid` to a file beside `path` and renames it there.
pub(crate) fn write(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = path.with_file_name(format!(".{name}"));
    let write = || {
        // In a directory that others may write to, a link of theirs must not be written through.
        // One of ours, left by a kill, is in nobody's way.
        let _ = std::fs::remove_file(&new);
        let mut file = File::create_new(&new).sys("open", new.display())?;
        let written = file.write_all(pid.to_string().as_bytes()).sys("write", new.display());
        written.and_then(|()| std::fs::rename(&new, path).sys("rename", path.display())).inspect_err(|_| {
            let _ = std::fs::remove_file(&new);
        })
    };
    write().within(|| "--pid-file").during(Phase::State)
}
