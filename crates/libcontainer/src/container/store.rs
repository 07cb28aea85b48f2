//! The state store: one directory per container below the root.

use std::path::{Path, PathBuf};

/// A directory that holds one sub-directory per container.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `root` (`/run/creel` unless the user says otherwise); made at the first `create`.
    pub fn new(root: &Path) -> Store {
        Store { root: root.to_owned() }
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
