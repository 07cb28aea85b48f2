//! `inspect`: an image's manifest and configuration.

use creel_image::error::{Error, Result};
use creel_image::platform::Platform;
use creel_image::store::Store;
use serde_json::{Value, json};

use super::output;
use crate::cli;

/// Prints the documents as they are, not only the members that are known here.
pub fn inspect(store: &Store, args: &cli::Inspect) -> Result<()> {
    let platform = args.image.platform.clone().unwrap_or_else(Platform::host);
    let image = store.find(&args.image.reference, &platform)?;
    let manifest = store.manifest(&image.descriptor)?;
    // Checked once, so that what is shown is what would be used.
    store.config(&manifest)?;
    let whole = json!({
        "name": image.name,
        "digest": image.descriptor.digest,
        "index": image.index(),
        "platform": image.platform().to_string(),
        "manifest": document(&store.read_document(&image.descriptor)?)?,
        "config": document(&store.read_document(&manifest.config)?)?,
    });
    output::line(format_args!("{whole:#}"))
}

fn document(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Error::corrupt("document", error))
}
