//! Whiteouts that overlayfs would show.
//!
//! It hides them only in directories that it merges from several layers. One whose directory no layer below has stands in
//! such a directory alone, and its name would be listed. Once the bundle's writable directory has that directory too, it is
//! merged like the others.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::fstat;

use super::implied::{covers, open_beneath};
use super::{Snapshot, attributes, open_dir};
use crate::error::{Result, SysContext};
use crate::layer::tar::Shown;

/// Hides them in `root`, where `layers` (lowest first) are mounted.
pub fn hide(layers: &[Snapshot], root: &Path) -> Result<()> {
    let root = open_dir(root)?;
    let open: Vec<OwnedFd> = layers.iter().map(Snapshot::open).collect::<Result<_>>()?;
    for (number, layer) in layers.iter().enumerate() {
        // The root is always merged.
        for path in layer.whited.iter().filter(|path| !path.is_empty()) {
            if is_alone(&layers[..number], &open[..number], path)?
                && let Some(directory) = open_beneath(&root, path)?
            {
                // Any change has overlayfs make it; this one changes nothing.
                attributes::times(&fstat(&directory).sys("fstat", Shown(path))?, &directory)?;
            }
        }
    }
    Ok(())
}

/// Whether none of the layers below, seen from above, has the directory.
fn is_alone(below: &[Snapshot], open: &[OwnedFd], path: &[u8]) -> Result<bool> {
    for (layer, root) in below.iter().zip(open).rev() {
        if open_beneath(root, path)?.is_some() {
            return Ok(false);
        }
        if covers(root, path, layer.about.privilege.marks)? {
            return Ok(true);
        }
    }
    Ok(true)
}
