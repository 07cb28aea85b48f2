//! `bundle`, `unpack`, `mount` and `unbundle`.

use std::path::{Path, PathBuf};

use creel_image::bundle::{self, Source};
use creel_image::error::{Result, SysContext};
use creel_image::snapshot;
use creel_image::store::{Lease, Store};

use super::Context;
use crate::cli::bundle::{Bundle, Mount, Unbundle, Unpack};

/// Makes a bundle.
pub fn bundle(context: &Context, args: Bundle) -> Result<()> {
    let store = context.store()?;
    let source = Source::read(&store, &context.local_image(&store, &args.image)?.descriptor)?;
    let form = args.form();
    let request = args.wishes.request(args.args);
    for omitted in bundle::create(&store, &source, &args.directory, form, &request)? {
        context.warn(&omitted);
    }
    Ok(())
}

/// Copies a root filesystem.
pub fn unpack(context: &Context, args: &Unpack) -> Result<()> {
    let store = context.store()?;
    let source = Source::read(&store, &context.local_image(&store, &args.image)?.descriptor)?;
    for omitted in bundle::unpack(&store, &source, &args.directory)? {
        context.warn(&omitted);
    }
    Ok(())
}

/// Mounts again.
pub fn mount(args: &Mount) -> Result<()> {
    bundle::mount(&args.directory)
}

/// Removes.
pub fn unbundle(context: &Context, args: &Unbundle) -> Result<()> {
    let name = args.directory.as_os_str().to_str().filter(|name| !name.contains('/') && !args.directory.exists());
    match name {
        Some(name) => bundle::remove(&container(&context.store()?, name)),
        None => bundle::remove(&args.directory),
    }
}

/// Where `run` keeps the bundle of the container `name`.
pub fn container(store: &Store, name: &str) -> PathBuf {
    store.path().join("containers").join(name)
}
