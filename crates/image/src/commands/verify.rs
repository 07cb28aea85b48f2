//! `verify`: whether a key's owner has signed an image of the store.

use creel_image::error::Result;
use creel_image::platform::Platform;
use creel_image::registry::Registry;
use creel_image::store::Store;
use creel_image::verify::{self, Key};

use super::output;
use crate::cli;

/// Verifies, and says what was checked and what was not.
pub fn verify(store: &Store, args: cli::Verify) -> Result<()> {
    let reference = &args.image.reference;
    let platform = args.image.platform.clone().unwrap_or_else(Platform::host);
    let image = store.find(reference, &platform)?;
    let key = Key::read(&args.key)?;
    let registry = Registry::new(reference, &args.registry.into())?;
    let signed = verify::verify(&registry, reference, &image, &key)?;
    output::line(format_args!("verified: {} {signed} is signed by the key {}", image.name, args.key.display()))?;
    output::line(verify::NOT_CHECKED)
}
