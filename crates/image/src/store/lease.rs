//! Leases: what a running command needs, for as long as its process lives.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Store, file};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result, SysContext};

/// Keeps gc away from content until it is dropped, or its process dies.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    path: PathBuf,
    file: Mutex<File>,
}

impl Lease {
    /// A lease on nothing yet.
    pub fn new(store: &Store) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = store.path().join("leases").join(name);
        // Under the lock, so that gc does not take the file for that of a dead process before it is locked.
        let _lock = store.lock()?;
        file::remove(&path)?;
        let file = file::open_or_create(&path)?;
        if !file::try_lock(&file, &path)? {
            return Err(Error::new(Kind::System, format!("{}: somebody else has locked it", path.display())));
        }
        Ok(Lease { store: store.clone(), path, file: Mutex::new(file) })
    }

    /// Keeps `digests` (blobs, and snapshots by diff-id) from now on. Ask whether something is there after this, not before.
    pub fn keep<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<()> {
        let text: String = digests.into_iter().map(|digest| format!("{digest}\n")).collect();
        let _lock = self.store.lock()?;
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(text.as_bytes()).sys("write", self.path.display())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // gc removes what could not be removed here.
        let _ = file::remove(&self.path);
    }
}

impl Store {
    /// What living processes have leased; the caller holds the lock. Leases of the dead are removed.
    pub(super) fn leased(&self) -> Result<Vec<Digest>> {
        let folder = self.path.join("leases");
        let mut digests = Vec::new();
        for name in file::names_in(&folder)? {
            let path = folder.join(name);
            let Some(file) = file::open_if_there(&path)? else { continue };
            if file::try_lock(&file, &path)? {
                file::remove(&path)?;
                continue;
            }
            // Not by its path: its holder removes it without the lock, at any moment.
            let text = std::io::read_to_string(&file).sys("read", path.display())?;
            for line in text.lines() {
                digests.push(line.parse().map_err(|error: Error| error.within(path.display()))?);
            }
        }
        Ok(digests)
    }
}
