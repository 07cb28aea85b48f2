//! `bundle`, `unpack`, `mount` and `unbundle`.

use std::path::PathBuf;

use creel_image::bundle::{self, Source};
use creel_image::error::Result;
use creel_image::platform::Platform;
use creel_image::store::Store;

use super::output;
use crate::cli::{Bundle, Named, Unbundle, Unpack};

/// Makes a bundle.
pub fn bundle(store: &Store, args: Bundle) -> Result<()> {
    let (source, form) = (find(store, &args.image)?, args.form());
    let request = args.wishes.request(args.args);
    warn(bundle::create(store, &source, &args.directory, form, &request)?)
}

/// Copies a root filesystem.
pub fn unpack(store: &Store, args: &Unpack) -> Result<()> {
    warn(bundle::unpack(store, &find(store, &args.image)?, &args.directory)?)
}

/// Removes. The store is only asked where `run` keeps its bundles.
pub fn unbundle(store: impl Fn() -> Result<Store>, args: &Unbundle) -> Result<()> {
    let name = args.directory.as_os_str().to_str().filter(|name| !name.contains('/') && !args.directory.exists());
    match name {
        Some(name) => bundle::remove(&container(&store()?, name)),
        None => bundle::remove(&args.directory),
    }
}

/// Where `run` keeps the bundle of the container `name`.
pub fn container(store: &Store, name: &str) -> PathBuf {
    store.path().join("containers").join(name)
}

/// Says what of an image could not be had; the command has succeeded all the same.
pub fn warn(omissions: Vec<String>) -> Result<()> {
    omissions.iter().try_for_each(|omitted| output::note(format_args!("note: {omitted}")))
}

fn find(store: &Store, image: &Named) -> Result<Source> {
    let platform = image.platform.clone().unwrap_or_else(Platform::host);
    Source::read(store, &store.find(&image.reference, &platform)?.descriptor)
}
