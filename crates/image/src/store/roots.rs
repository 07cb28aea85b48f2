//! Roots: what bundles need, for as long as they are where they were made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Locked, Store, file};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result, SysContext};

/// A bundle, and what it needs of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// The bundle's directory, absolute; when it is gone, so is the need.
    pub bundle: PathBuf,
    /// The image's manifest, whose blobs stay.
    pub manifest: Digest,
    /// The snapshots below it, by diff-id.
    pub snapshots: Vec<Digest>,
}

impl Store {
    /// Has gc keep what the bundle needs; an earlier root of the same directory is replaced.
    pub fn add_root(&self, root: &Root, _lock: &Locked) -> Result<()> {
        let bytes = serde_json::to_vec(root).map_err(|error| Error::new(Kind::System, error.to_string()))?;
        file::replace(&self.root_path(&root.bundle), &bytes)
    }

    /// Forgets the bundle at `bundle`, which may be unknown.
    pub fn remove_root(&self, bundle: &std::path::Path, _lock: &Locked) -> Result<()> {
        file::remove(&self.root_path(bundle))
    }

    /// The bundles that are there; the roots of those that are gone are removed. The caller holds the lock.
    pub fn roots(&self, _lock: &Locked) -> Result<Vec<Root>> {
        let folder = self.path.join("roots");
        let mut roots = Vec::new();
        for name in file::names_in(&folder)? {
            let path = folder.join(name);
            if path.extension().is_some_and(|extension| extension == "tmp") {
                file::remove(&path)?;
                continue;
            }
            let bytes = std::fs::read(&path).sys("read", path.display())?;
            let root: Root = serde_json::from_slice(&bytes).map_err(|error| Error::corrupt(path.display(), error))?;
            match root.bundle.symlink_metadata() {
                Ok(_) => roots.push(root),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => file::remove(&path)?,
                Err(error) => return Err(error).sys("stat", root.bundle.display()),
            }
        }
        Ok(roots)
    }

    fn root_path(&self, bundle: &std::path::Path) -> PathBuf {
        let name = Digest::of(bundle.as_os_str().as_encoded_bytes());
        self.path.join("roots").join(format!("{}.json", name.hex()))
    }
}
