//! Bundles: a root filesystem of an image's layers, and a config.json for it.
//!
//! ```text
//! BUNDLE/creel-image.json    what it was made of, for `mount` and `unbundle`
//! BUNDLE/config.json         for the runtime; written last, so a bundle that has it is whole
//! BUNDLE/rootfs              the overlay's mount point, or the copy
//! BUNDLE/upper, BUNDLE/work  what the container writes, where rootfs is an overlay
//! BUNDLE/volumes/N           what the image wants outside its root filesystem
//! ```
//!
//! The layers stay in the store, which keeps them for as long as the bundle is there ([`crate::store::Root`]).

pub mod command;
mod config;
mod directory;
mod passwd;
mod request;
mod rootfs;
mod user;
mod users;
mod volumes;

#[cfg(test)]
mod tests;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use directory::{Directory, check_unused};
pub use request::{Network, Request, Users};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result, SysContext, Within};
use crate::manifest::{Config, Descriptor, Manifest};
use crate::snapshot::{self, Snapshot};
use crate::store::{Lease, Root, Store};

const ABOUT: &str = "creel-image.json";

/// How a bundle gets its root filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A mount over the store's layers, which costs nothing.
    Overlay,
    /// Files of its own.
    Copy,
}

/// An image of the store, with all that a bundle needs to know of it.
#[derive(Debug)]
pub struct Source {
    /// Where its manifest is.
    pub descriptor: Descriptor,
    manifest: Manifest,
    config: Config,
}

/// What `creel-image.json` has.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    store: PathBuf,
    manifest: Descriptor,
    form: Form,
}

impl Source {
    /// Reads the image whose manifest `descriptor` tells.
    pub fn read(store: &Store, descriptor: &Descriptor) -> Result<Source> {
        let manifest = store.manifest(descriptor)?;
        let config = store.config(&manifest)?;
        Ok(Source { descriptor: descriptor.clone(), manifest, config })
    }

    fn diff_ids(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }

    /// Its layers, lowest first; those that are not unpacked yet are now.
    pub fn unpacked(&self, store: &Store) -> Result<Vec<Snapshot>> {
        let layers = store.unpack_missing(&self.manifest, &self.config)?;
        layers.iter().try_for_each(Snapshot::settle)?;
        Ok(layers)
    }
}

/// Makes a bundle of `image` in `directory`. Says what of the image could not be had.
pub fn create(
    store: &Store,
    image: &Source,
    directory: &Directory,
    form: Form,
    request: &Request,
) -> Result<Vec<String>> {
    let made = fill(store, image, directory, form, request);
    if made.is_err() {
        // The first error is the one that counts.
        let _ = directory.remove();
    }
    made.within(|| format!("bundle {}", directory.path().display()))
}

/// Copies the root filesystem of `image` into `path`, which must be empty or not there. Says what could not be had.
pub fn unpack(store: &Store, image: &Source, path: &Path) -> Result<Vec<String>> {
    let _directory = Directory::new(path)?;
    let lease = Lease::new(store)?;
    lease.keep(image.diff_ids().iter().chain([&image.descriptor.digest]))?;
    let layers = image.unpacked(store)?;
    if let Err(error) = snapshot::copy(&layers, path, None) {
        // Half a tree looks like a whole one. The first error is the one that counts.
        let _ = snapshot::remove_tree(path);
        return Err(error.within(format!("copy to {}", path.display())));
    }
    Ok(omissions(&layers))
}

fn fill(store: &Store, image: &Source, directory: &Directory, form: Form, request: &Request) -> Result<Vec<String>> {
    let path = directory.path();
    let about = About { store: store.path().to_owned(), manifest: image.descriptor.clone(), form };
    let lease = Lease::new(store)?;
    lease.keep(image.diff_ids().iter().chain([&image.descriptor.digest]))?;
    let root = Root {
        bundle: path.to_owned(),
        manifest: image.descriptor.digest.clone(),
        snapshots: image.diff_ids().to_vec(),
    };
    // The note first: with it, whatever is left by a kill can be removed.
    write_json(&path.join(ABOUT), &about)?;
    store.add_root(&root, &store.lock()?)?;
    let layers = image.unpacked(store)?;
    let mut notes = omissions(&layers);
    let shift = request.users.as_ref().and_then(Users::shift);
    notes.extend(rootfs::make(&layers, path, about, request.users.as_ref())?);
    let rootfs = path.join("rootfs");
    let volumes = volumes::make(&image.config.config, path, shift)?;
    let config = config::build(&image.config, request, &rootfs, volumes)?;
    if let Some(maps) = shift {
        notes.extend(directory.let_through(maps)?);
    }
    write_json(&path.join("config.json"), &config)?;
    Ok(notes)
}

/// Mounts the bundle's root filesystem again, as after a restart of the machine. `passing`: the mount namespace of this
/// process ends with it.
pub fn mount(path: &Path, passing: bool) -> Result<()> {
    let directory = Directory::open(path)?;
    let path = directory.path();
    let about = read_about(path)?;
    if about.form == Form::Copy {
        return Ok(());
    }
    if passing {
        let why = format!("bundle {}: a mount that is not root's would end with this command", path.display());
        return Err(Error::unsupported(why).remedy("make a bundle with --copy, or use run, which mounts for itself"));
    }
    let store = Store::open(&about.store)?;
    let layers = Source::read(&store, &about.manifest)?.unpacked(&store)?;
    snapshot::unmount(&path.join("rootfs"))?;
    rootfs::mount(&layers, path)
}

/// Only its owner gets in; the image's own modes are inside.
fn private_directory(path: &Path) -> Result<()> {
    DirBuilder::new().mode(0o755).create(path).sys("mkdir", path.display())
}

fn read_about(path: &Path) -> Result<About> {
    let file = path.join(ABOUT);
    let bytes = std::fs::read(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(Kind::NotFound, format!("{} is no bundle of creel-image", path.display()))
        }
        _ => {
            Err::<(), _>(error).sys("open", file.display()).err().unwrap_or_else(|| Error::invalid(ABOUT, "unreadable"))
        }
    })?;
    serde_json::from_slice(&bytes).map_err(|error| Error::corrupt(file.display(), error))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Error::invalid(path.display(), error))?;
    bytes.push(b'\n');
    crate::store::replace_file(path, &bytes)
}

fn omissions(layers: &[Snapshot]) -> Vec<String> {
    let lacking = layers.iter().filter(|layer| !layer.about.omitted.is_empty());
    lacking.map(|layer| layer.about.omitted.to_string()).collect()
}
