//! Images as files: OCI layouts (a directory, or a tar archive of one) and what `docker save` writes.

mod docker;
mod export;
mod layout;
mod sink;
mod source;

use std::path::Path;

pub use export::{Form, export};

use crate::error::{Error, Result, Within};
use crate::reference::Reference;
use crate::store::{Image, Lease, Store};
use source::Source;

/// Imports what `path` has: a directory or an archive, an OCI layout or Docker's form. `name` is for an image that the
/// source names not at all, or only by a tag; then there must be just one.
pub fn import(store: &Store, path: &Path, name: Option<&Reference>) -> Result<Vec<Image>> {
    let lease = Lease::new(store)?;
    let source = Source::open(store, path)?;
    let images = if source.has("oci-layout") {
        layout::import(store, &lease, &source, name)
    } else if source.has("manifest.json") {
        docker::import(store, &lease, &source, name)
    } else {
        let error = Error::invalid("source", "has neither oci-layout nor manifest.json");
        Err(error.cause("it is neither an OCI layout nor what `docker save` writes"))
    };
    let images = images.within(|| path.display())?;
    let lock = store.lock()?;
    images.iter().try_for_each(|image| store.name(image, &lock))?;
    Ok(images)
}

/// The name for an image that its source calls `own`.
fn named(own: Option<&str>, given: Option<&Reference>, alone: bool) -> Result<String> {
    match (given, own) {
        (Some(given), _) if alone => Ok(given.to_string()),
        (Some(_), _) => Err(Error::invalid("--name", "names one image, and the source has several")),
        // A tag alone is no name: `latest` is not docker.io/library/latest.
        (None, Some(own)) if own.contains(['/', ':', '@']) => Ok(own.parse::<Reference>()?.to_string()),
        (None, _) => Err(Error::invalid("image", "the source does not name it").remedy("give it a name with --name")),
    }
}
