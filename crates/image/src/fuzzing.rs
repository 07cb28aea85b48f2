//! What the fuzz targets of `fuzz/` call, one function each: any bytes must be taken or refused, without a panic and in
//! memory of their own order. Compiled for them and for tests only; `cargo test` gives each its corpus.

#![allow(missing_docs)] // each is its name

use crate::error::Result;
use crate::layer::tar::Archive;
use crate::manifest::{Config, Document, Index, MediaType};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::challenge;

/// A target's name, which is that of its corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 4] =
    [("manifest", manifest), ("reference", reference), ("tar", tar), ("www-authenticate", www_authenticate)];

/// An archive: no more comes out of it than it has.
pub fn tar(bytes: &[u8]) {
    let mut archive = Archive::new(bytes);
    let mut came = 0;
    while let Some(Some(entry)) = accepted(archive.next_entry()) {
        let mut end = 0;
        for segment in entry.segments.iter().flatten() {
            assert!(segment.offset >= end, "segments in order");
            end = segment.offset + segment.length;
            assert!(end <= entry.size, "segments within the file");
        }
        assert!(entry.mtime.1 < 1_000_000_000 && entry.mode <= 0o7777);
        let read = archive.read(u64::MAX, |piece| {
            came += piece.len();
            Ok(())
        });
        if accepted(read).is_none() {
            break;
        }
    }
    assert!(came <= bytes.len(), "more data than there is");
}

/// A manifest or an index, under each of the names that it may come under; an image's configuration.
pub fn manifest(bytes: &[u8]) {
    for claimed in MediaType::accepted().split(", ").map(|name| MediaType::from(name.to_owned())) {
        match accepted(Document::parse(&claimed, bytes)) {
            Some(Document::Index(index)) => select(&index),
            Some(Document::Manifest(manifest)) => assert!(manifest.layers.len() <= bytes.len()),
            None => {}
        }
    }
    if let Some(config) = accepted(Config::parse(bytes)) {
        let platform = Platform::of(&config.platform());
        assert!(platform.runs(&platform), "a platform runs itself");
    }
}

fn select(index: &Index) {
    let wanted = Platform::host();
    if let Some(found) = accepted(wanted.select(index)) {
        assert!(index.manifests.iter().any(|one| one.digest == found.digest));
    }
}

/// A name: what is one means the same when it is written whole.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(name) = accepted(text.parse::<Reference>()) else { return };
    assert_eq!(name.to_string().parse::<Reference>().ok(), Some(name));
}

/// A registry's challenge.
pub fn www_authenticate(bytes: &[u8]) {
    let header = String::from_utf8_lossy(bytes);
    for challenge in challenge::parse(&header) {
        assert!(!challenge.scheme.is_empty() && challenge.scheme.len() <= header.len());
        assert!(challenge.parameters.values().map(String::len).sum::<usize>() <= header.len());
    }
}

/// What was taken; what was refused must say why.
fn accepted<T>(result: Result<T>) -> Option<T> {
    result.inspect_err(|error| assert!(!error.to_string().trim().is_empty(), "an error without words")).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_corpus_is_taken() {
        for (name, target) in TARGETS {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
            let inputs = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
            let ran = inputs.map(|input| target(&std::fs::read(input.expect("entry").path()).expect("read"))).count();
            assert!(ran > 0, "{name}: an empty corpus");
        }
    }
}
