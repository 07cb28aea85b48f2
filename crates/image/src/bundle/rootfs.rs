//! A bundle's root filesystem: the layers mounted together, by the kernel or by fuse-overlayfs, or copied together.

use std::path::Path;

use rustix::io::Errno;

use super::directory::remove_any;
use super::{ABOUT, About, Form, Users, private_directory, write_json};
use crate::error::{Error, Result};
use crate::snapshot::{self, Snapshot};

/// Makes it in the bundle `path`; says so if it is not what `about` wanted.
pub fn make(layers: &[Snapshot], path: &Path, mut about: About, users: Option<&Users>) -> Result<Option<String>> {
    let rootfs = path.join("rootfs");
    private_directory(&rootfs)?;
    let (shift, rootless) = (users.and_then(Users::shift), users.is_some_and(|users| users.rootless));
    let note = match about.form {
        Form::Overlay if shift.is_some() => Some("the files were copied, to belong to the mapped ids".to_owned()),
        Form::Overlay if !layers.is_empty() => match overlay(layers, path, rootless)? {
            Mounted::Whole(note) => return Ok(note),
            Mounted::Not(why) => Some(format!("the files were copied, since {why}")),
        },
        _ => None,
    };
    about.form = Form::Copy;
    write_json(&path.join(ABOUT), &about)?;
    snapshot::copy(layers, &rootfs, shift)?;
    Ok(note)
}

/// Mounts it once more.
pub fn mount(layers: &[Snapshot], path: &Path) -> Result<()> {
    snapshot::mount(layers, &path.join("upper"), &path.join("work"), &path.join("rootfs"))
}

/// What came of mounting.
enum Mounted {
    /// It is mounted, with something to say of how.
    Whole(Option<String>),
    /// It cannot be here, for this reason.
    Not(String),
}

fn overlay(layers: &[Snapshot], path: &Path, rootless: bool) -> Result<Mounted> {
    let (rootfs, upper, work) = (path.join("rootfs"), path.join("upper"), path.join("work"));
    for directory in [&upper, &work] {
        private_directory(directory)?;
    }
    let why = match mount(layers, path) {
        Ok(()) => return whole(layers, &rootfs, None),
        Err(error) if is_refusal(&error) => error,
        Err(error) => return Err(error),
    };
    let why = match rootless.then(|| snapshot::mount_by_fuse(layers, &upper, &work, &rootfs)) {
        Some(Ok(())) => return whole(layers, &rootfs, Some(format!("mounted by fuse-overlayfs, since {why}"))),
        Some(Err(second)) => format!("{why}; and {second}"),
        None => why.to_string(),
    };
    for directory in [&upper, &work] {
        remove_any(directory)?;
    }
    Ok(Mounted::Not(why))
}

/// A new upper directory has no attributes of the image's; later mounts find them there.
fn whole(layers: &[Snapshot], rootfs: &Path, note: Option<String>) -> Result<Mounted> {
    snapshot::repair(layers, rootfs)?;
    Ok(Mounted::Whole(note))
}

/// Whether the kernel does not let this caller mount an overlay here.
fn is_refusal(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NODEV | Errno::OPNOTSUPP))
}
