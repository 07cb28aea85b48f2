//! The layers of an image, a few at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Pull;
use crate::error::{Error, Kind, Result, Within};
use crate::manifest::{Descriptor, Manifest};
use crate::registry::{Download, Registry};
use crate::store::Ingest;

/// More would not make a disk or a line faster, and each costs its buffers.
const SIDE_BY_SIDE: usize = 3;

/// Brings every layer into the store. The first failure stops the others, which a later pull resumes.
pub fn fetch(pull: &Pull, registry: &Registry, manifest: &Manifest) -> Result<()> {
    let mut seen = BTreeSet::new();
    let layers: Vec<&Descriptor> = manifest.layers.iter().filter(|layer| seen.insert(&layer.digest)).collect();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(layers.len()) {
            scope.spawn(|| {
                while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let fetched =
                        fetch_one(pull, registry, layer, &stop).within(|| format!("layer {}", layer.digest.short()));
                    if let Err(error) = fetched {
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

fn fetch_one(pull: &Pull, registry: &Registry, layer: &Descriptor, stop: &AtomicBool) -> Result<()> {
    let bar = pull.progress.layer(&layer.digest, layer.size);
    let mut resumed_before = false;
    loop {
        let Some(ingest) = Ingest::begin(pull.store, layer)? else {
            bar.done("present");
            return Ok(());
        };
        let download = Download::new(registry, layer, ingest, |bytes| {
            bar.advance(bytes);
            if stop.load(Ordering::Relaxed) { Err(Error::new(Kind::Network, "stopped")) } else { Ok(()) }
        })?;
        let resumed = download.resumed() > 0;
        match download.finish() {
            Ok(()) => {
                bar.done("downloaded");
                return Ok(());
            }
            // What was left from before may be what a loss of power made of it: once more, from the beginning.
            Err(error) if error.kind() == Kind::Corrupt && resumed && !resumed_before => resumed_before = true,
            Err(error) => return Err(error),
        }
    }
}
