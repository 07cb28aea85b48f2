//! What images and users want outside the root filesystem.

use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::error::{Error, Result, SysContext};
use crate::manifest::Execution;
use crate::snapshot;
use crate::userns::Maps;

/// Makes a directory for each volume that the image declares, with what the image has there; gives the mounts.
///
/// `shift` tells whose the files of the image's root are outside the container's user namespace.
pub fn make(config: &Execution, bundle: &Path, shift: Option<&Maps>) -> Result<Vec<Value>> {
    let mut mounts = Vec::new();
    if config.volumes.is_empty() {
        return Ok(mounts);
    }
    let folder = bundle.join("volumes");
    super::private_directory(&folder)?;
    for (number, target) in config.volumes.keys().enumerate() {
        let target = absolute(target, "the image's volume")?;
        if target == "/" {
            return Err(Error::corrupt("the image's volume \"/\"", "would hide the whole image"));
        }
        let directory = folder.join(number.to_string());
        super::private_directory(&directory)?;
        if let Some(maps) = shift {
            std::os::unix::fs::chown(&directory, Some(maps.uid(0)?), Some(maps.gid(0)?))
                .sys("chown", directory.display())?;
        }
        seed(&bundle.join("rootfs"), target, &directory)?;
        mounts.push(json!({
            "destination": target, "type": "bind", "source": directory, "options": ["rbind", "rprivate", "nodev"],
        }));
    }
    Ok(mounts)
}

/// Copies what the image has in a volume's place, with owner and mode of the directory.
fn seed(rootfs: &Path, target: &str, directory: &Path) -> Result<()> {
    let root = snapshot::open_dir(rootfs)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let relative = target.trim_start_matches('/');
    match openat2(&root, relative, flags, Mode::empty(), resolve) {
        Ok(source) => {
            // A volume at a link to the root would be copied into itself.
            let (inner, outer) = (fstat(&source).sys("fstat", target)?, fstat(&root).sys("fstat", rootfs.display())?);
            if (inner.st_dev, inner.st_ino) == (outer.st_dev, outer.st_ino) {
                return Ok(());
            }
            snapshot::copy_tree(source, directory)
        }
        // Nothing there, or a file: the volume begins empty.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
        Err(errno) => Err(Error::system("openat2", target, errno)),
    }
}

/// A user's `SOURCE:TARGET[:ro|rw]` as a mount.
pub fn requested(text: &str) -> Result<Value> {
    let wrong = |why: &str| {
        Error::invalid(format!("--volume {text:?}"), why).remedy("write SOURCE:TARGET, or SOURCE:TARGET:ro")
    };
    let mut parts = text.split(':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else { return Err(wrong("has no target")) };
    let access = match (parts.next(), parts.next()) {
        (None | Some("rw"), None) => "rw",
        (Some("ro"), None) => "ro",
        _ => return Err(wrong("has an unknown option")),
    };
    let target = absolute(target, "--volume's target")?;
    let source = std::path::absolute(source).sys("getcwd", source)?;
    let source = source.canonicalize().sys("realpath", source.display())?;
    Ok(json!({"destination": target, "type": "bind", "source": source, "options": ["rbind", "rprivate", access]}))
}

fn absolute<'a>(path: &'a str, what: &str) -> Result<&'a str> {
    if path.starts_with('/') && !path.split('/').any(|part| part == "..") && !path.contains('\0') {
        return Ok(path);
    }
    Err(Error::invalid(format!("{what} {path:?}"), "must be an absolute path without `..`"))
}
