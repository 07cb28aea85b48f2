//! fuse-overlayfs: layers mounted by a program, for users whose kernel does not let them mount an overlay.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Snapshot, visible};
use crate::error::{Error, Kind, Result, SysContext};
use crate::sys;

const PROGRAM: &str = "fuse-overlayfs";
const LONGEST: Duration = Duration::from_secs(20);

/// Mounts `layers` (lowest first) with what is written in `upper` on `target`, for as long as this process lives: it is one of
/// its children that answers for the files. All paths are absolute.
///
/// # Errors
/// If the program is not installed, or fails; the caller copies then.
pub fn mount_by_fuse(layers: &[Snapshot], upper: &Path, work: &Path, target: &Path) -> Result<()> {
    let lower: Vec<_> = visible(layers).iter().rev().map(|layer| layer.fs().display().to_string()).collect();
    let paths = [upper.display().to_string(), work.display().to_string()];
    if lower.iter().chain(&paths).any(|path| path.contains([':', ',', '\\'])) {
        return Err(Error::unsupported(format!("{PROGRAM} takes no path with `:`, `,` or a backslash")));
    }
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), paths[0], paths[1]);
    let before = device(target)?;
    let mut command = Command::new(PROGRAM);
    command.args(["-f", "-o", &options]).arg(target).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // The mount namespace, which the program itself keeps alive, would else never end.
    let mut child = sys::die_with_parent(&mut command).spawn().sys("execve", PROGRAM)?;
    let begin = Instant::now();
    while device(target)? == before {
        if let Some(status) = child.try_wait().sys("waitid", PROGRAM)? {
            return Err(Error::new(
                Kind::System,
                format!("{PROGRAM}: {}", said(&mut child).unwrap_or(status.to_string())),
            ));
        }
        if begin.elapsed() > LONGEST {
            // It may end at this very moment; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(
                Kind::System,
                format!("{PROGRAM} has mounted nothing in {} seconds", LONGEST.as_secs()),
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn device(path: &Path) -> Result<u64> {
    path.metadata().map(|metadata| metadata.dev()).sys("stat", path.display())
}

/// What it wrote to stderr before it ended.
fn said(child: &mut Child) -> Option<String> {
    let mut text = String::new();
    child.stderr.take()?.take(4096).read_to_string(&mut text).ok()?;
    Some(text.trim().replace('\n', ": ")).filter(|text| !text.is_empty())
}
