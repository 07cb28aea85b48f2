//! The store: a directory in OCI image-layout form, shared by any number of processes.
//!
//! ```text
//! oci-layout, index.json    the layout; index.json has the names
//! blobs/ALGORITHM/HEX       content; a file that is here is whole and was verified
//! ingest/ALGORITHM-HEX      content that is coming in; what a killed process leaves here, the next one resumes
//! snapshots/                unpacked layers
//! leases/, roots/           what running commands and bundles need
//! lock                      held while names, leases or roots change, and by gc from beginning to end
//! ```
//!
//! Every file appears by rename, after it was written to disk: a process may be killed at any instant. Locks are
//! flock(2), which ends with its holder.

mod blobs;
mod file;
mod gc;
mod ingest;
mod lease;
mod names;
mod roots;
mod unpack;

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

pub(crate) use blobs::too_long;
pub(crate) use file::{is_named, replace as replace_file, try_lock};
pub use gc::Swept;
pub use ingest::{Held, Ingest};
pub use lease::Lease;
pub use names::{INDEX_ANNOTATION, Image, NAME_ANNOTATION};
pub use roots::Root;
pub use unpack::pairs;

use crate::error::{Error, Result, SysContext};

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const FOLDERS: [&str; 6] = ["blobs/sha256", "blobs/sha512", "ingest", "snapshots", "leases", "roots"];

/// An open store.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// The store's lock, held until it is dropped.
#[derive(Debug)]
pub struct Locked {
    _file: File,
}

impl Store {
    /// Opens the store at `path`, and makes it if there is none.
    pub fn open(path: &Path) -> Result<Self> {
        // Nobody else reads here: images may have set-user-ID files (containerd's CVE-2021-41103).
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        if let Some(parent) = path.parent() {
            builder.mode(0o711).create(parent).sys("mkdir", parent.display())?;
        }
        builder.mode(0o700);
        for folder in FOLDERS {
            let folder = path.join(folder);
            builder.create(&folder).sys("mkdir", folder.display())?;
        }
        let path = path.canonicalize().sys("realpath", path.display())?;
        let store = Store { path };
        let layout = store.path.join("oci-layout");
        match std::fs::read(&layout) {
            Ok(text) => check_version(&text, &layout)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => file::replace(&layout, LAYOUT)?,
            Err(error) => return Err(error).sys("open", layout.display()),
        }
        Ok(store)
    }

    /// Where the store is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where unpacked layers are.
    pub fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Lets everybody through to the directory `name`, and see nothing on the way: what is in the others is private as before.
    pub fn let_through(&self, name: &str) -> Result<()> {
        for path in [self.path.clone(), self.path.join(name)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o711)).sys("chmod", path.display())?;
        }
        Ok(())
    }

    /// Waits for the lock. It is held for moments only; no download happens under it.
    pub fn lock(&self) -> Result<Locked> {
        let path = self.path.join("lock");
        let file = file::open_or_create(&path)?;
        file::flock(&file, FlockOperation::LockExclusive, &path)?;
        Ok(Locked { _file: file })
    }
}

/// Fails unless the layout is of the version that this program reads.
pub(crate) fn check_version(text: &[u8], path: &Path) -> Result<()> {
    let layout: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| Error::corrupt(path.display(), error))?;
    match layout.get("imageLayoutVersion").and_then(|version| version.as_str()) {
        Some("1.0.0") => Ok(()),
        version => Err(Error::corrupt(path.display(), format!("imageLayoutVersion is {version:?}, and must be 1.0.0"))),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A store in a directory of its own, which goes with it.
    pub struct Throwaway(pub Store);

    impl Throwaway {
        pub fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!("creel-image-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            Throwaway(Store::open(&std::env::temp_dir().join(name)).expect("a store"))
        }
    }

    impl Drop for Throwaway {
        fn drop(&mut self) {
            std::fs::remove_dir_all(self.0.path()).expect("the store is removed");
        }
    }
}
