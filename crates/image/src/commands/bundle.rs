//! `bundle`, `unpack`, `mount` and `unbundle`.

use std::path::{Path, PathBuf};

use creel_image::bundle::{self, Directory, Form, Source};
use creel_image::error::Result;
use creel_image::platform::Platform;
use creel_image::store::Store;
use creel_image::userns::Maps;

use super::output;
use crate::cli::{Bundle, Named, Unbundle, Unpack};

/// Makes a bundle; `own` is the user namespace that this process has gone into for it.
pub fn bundle(store: &Store, args: Bundle, own: Option<Maps>) -> Result<()> {
    let (source, mut form) = (find(store, &args.image)?, args.form());
    if own.is_some() && form == Form::Overlay {
        form = Form::Copy;
        output::note("note: the files are copied: a mount that is not root's would end with this command")?;
    }
    let request = args.wishes.request(args.args, own)?;
    let directory = Directory::new(&args.directory)?;
    warn(bundle::create(store, &source, &directory, form, &request)?)
}

/// Copies a root filesystem.
pub fn unpack(store: &Store, args: &Unpack) -> Result<()> {
    warn(bundle::unpack(store, &find(store, &args.image)?, &args.directory)?)
}

/// Removes.
pub fn unbundle(place: &Result<PathBuf>, args: &Unbundle) -> Result<()> {
    Directory::open(&named(place, &args.directory)?)?.remove()
}

/// The bundle that is meant: a directory, or else what `run` made in the store at `place`.
pub fn named(place: &Result<PathBuf>, directory: &Path) -> Result<PathBuf> {
    match directory.to_str().filter(|name| !name.contains('/') && !directory.exists()) {
        Some(name) => Ok(container(&place.clone()?, name)),
        None => Ok(directory.to_owned()),
    }
}

/// Where `run` keeps the bundle of the container `name`.
pub fn container(place: &Path, name: &str) -> PathBuf {
    place.join("containers").join(name)
}

/// Says what of an image could not be had; the command has succeeded all the same.
pub fn warn(omissions: Vec<String>) -> Result<()> {
    omissions.iter().try_for_each(|omitted| output::note(format_args!("note: {omitted}")))
}

fn find(store: &Store, image: &Named) -> Result<Source> {
    let platform = image.platform.clone().unwrap_or_else(Platform::host);
    Source::read(store, &store.find(&image.reference, &platform)?.descriptor)
}
