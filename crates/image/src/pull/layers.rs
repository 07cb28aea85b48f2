//! The layers of an image, a few at a time: each is verified, stored and unpacked while it comes in.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Pull;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result, Within};
use crate::manifest::{Compression, Descriptor};
use crate::progress;
use crate::registry::{Download, Registry};
use crate::snapshot::Snapshots;
use crate::store::Ingest;

/// More would not make a disk or a line faster, and each costs its buffers.
const SIDE_BY_SIDE: usize = 3;

/// Brings every layer into the store. The first failure stops the others, which a later pull resumes.
pub fn fetch(pull: &Pull, registry: &Registry, layers: &[Descriptor], diff_ids: &[Digest]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let layers: Vec<_> = layers.iter().zip(diff_ids).filter(|(layer, _)| seen.insert(&layer.digest)).collect();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(layers.len()) {
            scope.spawn(|| {
                while let Some((layer, diff_id)) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = One { pull, registry, layer, diff_id, stop: &stop };
                    if let Err(error) = one.fetch().within(|| format!("layer {}", layer.digest.short())) {
                        stop.store(true, Ordering::Relaxed);
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// A layer, and what it is uncompressed.
struct One<'a> {
    pull: &'a Pull<'a>,
    registry: &'a Registry,
    layer: &'a Descriptor,
    diff_id: &'a Digest,
    stop: &'a AtomicBool,
}

impl One<'_> {
    fn fetch(&self) -> Result<()> {
        let snapshots = Snapshots::new(self.pull.store.snapshots());
        let unpack = match self.layer.media_type.compression() {
            Some(compression) if self.pull.unpack && snapshots.get(self.diff_id)?.is_none() => Some(compression),
            _ => None,
        };
        let bar = self.pull.progress.layer(&self.layer.digest, self.layer.size);
        let mut again = true;
        while let Some(ingest) = Ingest::begin(self.pull.store, self.layer)? {
            let download = Download::new(self.registry, self.layer, ingest, |bytes| self.advance(&bar, bytes))?;
            let resumed = download.resumed() > 0;
            match self.receive(download, &snapshots, unpack) {
                Ok(()) => {
                    bar.done("downloaded");
                    return Ok(());
                }
                // What was left from before may be what a loss of power made of it: once more, from the beginning.
                Err(error) if error.kind() == Kind::Corrupt && resumed && again => again = false,
                Err(error) => return Err(error),
            }
        }
        // Another process may have had it, and unpacked it, while this one waited.
        if let Some(compression) = unpack.filter(|_| snapshots.get(self.diff_id).is_ok_and(|found| found.is_none())) {
            snapshots.unpack(self.pull.store.open_blob(self.layer)?, compression, self.diff_id)?;
        }
        bar.done("present");
        Ok(())
    }

    /// One pass: the bytes go to the store and to the unpacker at once; the snapshot counts when all digests are right.
    fn receive(&self, mut download: Download, snapshots: &Snapshots, unpack: Option<Compression>) -> Result<()> {
        let Some(compression) = unpack else { return download.finish().map(drop) };
        let new = snapshots.begin()?;
        let unpacked = new.unpack(&mut download, compression, self.diff_id);
        // A wrong digest explains an archive that makes no sense, not the other way round.
        let _held = download.finish()?;
        new.commit(&unpacked?)
    }

    fn advance(&self, bar: &progress::Layer, bytes: u64) -> Result<()> {
        bar.advance(bytes);
        if self.stop.load(Ordering::Relaxed) { Err(Error::new(Kind::Network, "stopped")) } else { Ok(()) }
    }
}
