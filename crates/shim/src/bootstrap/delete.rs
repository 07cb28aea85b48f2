//! `delete`: what containerd calls when a shim is gone, whatever state its container is in.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::MessageField;
use libcontainer::container;

use super::address;
use crate::args::Args;
use crate::events::{encode, timestamp};
use crate::mounts;
use crate::options::Options;
use crate::service::create::{PID_FILE, ROOTFS};

/// It was killed, as a shell tells it (128 and SIGKILL).
const KILLED: u32 = 137;

/// Kills and removes the container, and unmounts its root file system; gives the answer.
///
/// # Errors
/// If something of it is left. Doing it again goes on from there.
pub fn delete(args: &Args) -> Result<Vec<u8>, String> {
    let bundle = bundle_of(args)?;
    let store = Options::load(&bundle).store(&args.namespace);
    let pid = std::fs::read_to_string(bundle.join(PID_FILE)).ok().and_then(|text| text.trim().parse().ok());
    container::delete(&store, &args.id, true).map_err(|error| error.to_string())?;
    mounts::unmount_all(&bundle.join(ROOTFS)).map_err(|error| error.to_string())?;
    remove_socket(args, &bundle);
    Ok(encode(&DeleteResponse {
        pid: pid.unwrap_or(0),
        exit_status: KILLED,
        exited_at: MessageField::some(timestamp(SystemTime::now())),
        ..DeleteResponse::default()
    }))
}

/// It is called in the bundle, or beside it.
fn bundle_of(args: &Args) -> Result<PathBuf, String> {
    if !args.bundle.is_empty() {
        return Ok(PathBuf::from(&args.bundle));
    }
    let here = std::env::current_dir().map_err(|error| format!("the working directory: {error}"))?;
    Ok(here.parent().unwrap_or(Path::new("/")).join(&args.id))
}

/// A shim that was killed could not do it.
fn remove_socket(args: &Args, bundle: &Path) {
    let group = super::group_of(bundle).ok().flatten().unwrap_or_else(|| args.id.clone());
    let known = std::fs::read_to_string(bundle.join("address")).unwrap_or_default();
    let path = Path::new(known.strip_prefix("unix://").unwrap_or_default());
    if let Some(directory) = path.parent().filter(|directory| directory.is_absolute()) {
        address::remove_stale(directory, &args.address, &args.namespace, &group);
    }
}
