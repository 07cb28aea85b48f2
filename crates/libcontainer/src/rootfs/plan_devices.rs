//! Which device nodes the container gets.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::plan::no_nul;
use super::plan_mounts::{Action, MountStep};
use crate::error::{Error, Result};
use crate::paths::clean;
use crate::spec::Device;

/// A device node (or FIFO) to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceNode {
    /// Where, inside the root.
    pub path: PathBuf,
    /// Of which kind.
    pub kind: DeviceKind,
    /// Its major and minor number; 0 and 0 for a FIFO.
    pub number: (u32, u32),
    /// Its permissions, to which no umask applies.
    pub mode: u32,
    /// Its user and group; absent if it is born with the right ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
}

/// What kind of special file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum DeviceKind {
    Char,
    Block,
    Fifo,
}

/// The nodes that config-linux.md "Default Devices" demands; /dev/ptmx and /dev/console are made elsewhere.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

const MODE: u32 = 0o666;

pub(super) fn plan(devices: &[Device], mounts: &[MountStep], terminal: bool) -> Result<Vec<DeviceNode>> {
    let mut configured = Vec::with_capacity(devices.len());
    for (i, device) in devices.iter().enumerate() {
        configured.push(node(i, device)?);
    }
    let default = DEFAULT.iter().map(|(path, major, minor)| DeviceNode {
        path: PathBuf::from(path),
        kind: DeviceKind::Char,
        number: (*major, *minor),
        mode: MODE,
        owner: Some((0, 0)),
    });
    let default = default.filter(|default| configured.iter().all(|node| node.path != default.path));
    let mut nodes: Vec<DeviceNode> = default.chain(configured.iter().cloned()).collect();
    let elsewhere = |path: &Path| path == Path::new("/dev/ptmx") || (terminal && path == Path::new("/dev/console"));
    // A node whose path something is mounted on is hidden by it, or is a device of the host's that was bound there.
    nodes.retain(|node| !elsewhere(&node.path) && mounts.iter().all(|step| step.destination != node.path));
    let fresh_dev = mounts.iter().any(is_fresh_dev);
    for node in &mut nodes {
        // In a tmpfs that nobody else has written to, what root makes is root's: no chown is needed.
        if fresh_dev && node.owner == Some((0, 0)) && node.path.parent() == Some(Path::new("/dev")) {
            node.owner = None;
        }
    }
    Ok(nodes)
}

fn is_fresh_dev(step: &MountStep) -> bool {
    let Action::Filesystem(filesystem) = &step.action else { return false };
    step.destination == Path::new("/dev") && filesystem.kind == "tmpfs" && !filesystem.copy_up
}

fn node(i: usize, device: &Device) -> Result<DeviceNode> {
    let field = |name: &str| format!("linux.devices[{i}].{name}");
    let path = clean(no_nul(&device.path, || field("path"))?);
    if path == Path::new("/") {
        return Err(Error::invalid(field("path"), format!("\"{}\" does not name a device node", device.path)));
    }
    let kind = match device.kind.as_str() {
        "c" | "u" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        "p" => DeviceKind::Fifo,
        other => {
            let why = format!("\"{other}\" is not one of c, u, b, p");
            return Err(Error::invalid(field("type"), why));
        }
    };
    let number = |name: &str, value: i64, limit: i64| match u32::try_from(value) {
        Ok(number) if value < limit => Ok(number),
        _ => Err(Error::invalid(field(name), format!("{value} is not between 0 and {}", limit - 1))),
    };
    for (name, id) in [("uid", device.uid), ("gid", device.gid)] {
        if id == Some(u32::MAX) {
            return Err(Error::invalid(field(name), format!("{} is no id, the kernel reserves it", u32::MAX)));
        }
    }
    Ok(DeviceNode {
        path,
        kind,
        number: match kind {
            DeviceKind::Fifo => (0, 0),
            // 12 and 20 bits: include/linux/kdev_t.h.
            _ => (number("major", device.major, 1 << 12)?, number("minor", device.minor, 1 << 20)?),
        },
        // Engines may send the file type along, as stat(2) gives it.
        mode: device.file_mode.map_or(MODE, |mode| mode & 0o7777),
        owner: Some((device.uid.unwrap_or(0), device.gid.unwrap_or(0))),
    })
}
