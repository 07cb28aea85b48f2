//! `rm`: names go, content stays until gc.

use creel_image::error::Result;
use creel_image::platform::Platform;
use creel_image::store::Store;

use super::output;
use crate::cli;

/// Takes the names away, and prints them; the first that is not there is the error.
pub fn rm(store: &Store, args: &cli::Rm) -> Result<()> {
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    args.references.iter().try_for_each(|reference| {
        let lock = store.lock()?;
        let image = store.find(reference, &platform)?;
        store.unname(&image, &lock)?;
        output::line(image.name)
    })
}
