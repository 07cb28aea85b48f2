//! `import` and `export`: images as files.

use creel_image::archive;
use creel_image::error::Result;
use creel_image::platform::Platform;
use creel_image::store::Store;

use super::output;
use crate::cli::{Export, Import};

/// Imports, and prints each name and digest.
pub fn import(store: &Store, args: &Import) -> Result<()> {
    let images = archive::import(store, &args.source, args.name.as_ref())?;
    images.iter().try_for_each(|image| output::line(format_args!("{} {}", image.name, image.descriptor.digest)))
}

/// Exports.
pub fn export(store: &Store, args: &Export) -> Result<()> {
    let platform = args.image.platform.clone().unwrap_or_else(Platform::host);
    let image = store.find(&args.image.reference, &platform)?;
    archive::export(store, &image, &args.destination, args.form.into())
}
