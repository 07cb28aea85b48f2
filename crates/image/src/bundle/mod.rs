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

mod config;
mod passwd;
mod request;
mod user;
mod volumes;

#[cfg(test)]
mod tests;

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use request::{Network, Request};

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

/// Makes a bundle of `image` in `path`, which must be empty or not there. Says what of the image could not be had.
pub fn create(store: &Store, image: &Source, path: &Path, form: Form, request: &Request) -> Result<Vec<String>> {
    let path = std::path::absolute(path).sys("getcwd", path.display())?;
    make_directory(&path)?;
    let path = path.canonicalize().sys("realpath", path.display())?;
    let made = fill(store, image, &path, form, request);
    if made.is_err() {
        // The first error is the one that counts.
        let _ = remove(&path);
    }
    made.within(|| format!("bundle {}", path.display()))
}

/// Copies the root filesystem of `image` into `path`, which must be empty or not there. Says what could not be had.
pub fn unpack(store: &Store, image: &Source, path: &Path) -> Result<Vec<String>> {
    make_directory(path)?;
    let lease = Lease::new(store)?;
    lease.keep(image.diff_ids().iter().chain([&image.descriptor.digest]))?;
    let layers = image.unpacked(store)?;
    if let Err(error) = snapshot::copy(&layers, path) {
        // Half a tree looks like a whole one. The first error is the one that counts.
        let _ = snapshot::remove_tree(path);
        return Err(error.within(format!("copy to {}", path.display())));
    }
    Ok(omissions(&layers))
}

fn fill(store: &Store, image: &Source, path: &Path, form: Form, request: &Request) -> Result<Vec<String>> {
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
    notes.extend(make_rootfs(&layers, path, about)?);
    let rootfs = path.join("rootfs");
    let volumes = volumes::make(&image.config.config, path)?;
    let config = config::build(&image.config, request, &rootfs, volumes)?;
    write_json(&path.join("config.json"), &config)?;
    Ok(notes)
}

/// Mounts or copies the layers; says so if a copy was all that could be had.
fn make_rootfs(layers: &[Snapshot], path: &Path, mut about: About) -> Result<Option<String>> {
    let rootfs = path.join("rootfs");
    let mut note = None;
    private_directory(&rootfs)?;
    if about.form == Form::Overlay && !layers.is_empty() {
        for name in ["upper", "work"] {
            private_directory(&path.join(name))?;
        }
        match mount_rootfs(layers, path) {
            // A new upper directory has no attributes of the image's; later mounts find them there.
            Ok(()) => return snapshot::repair(layers, &rootfs).map(|()| None),
            Err(error) if matches!(error.errno(), Some(Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NODEV)) => {
                note = Some(format!("the files were copied, since {error}"));
            }
            Err(error) => return Err(error),
        }
        for name in ["upper", "work"] {
            remove_any(&path.join(name))?;
        }
    }
    about.form = Form::Copy;
    write_json(&path.join(ABOUT), &about)?;
    snapshot::copy(layers, &rootfs)?;
    Ok(note)
}

/// Mounts the bundle's root filesystem again, as after a restart of the machine.
pub fn mount(path: &Path) -> Result<()> {
    let path = path.canonicalize().sys("realpath", path.display())?;
    let about = read_about(&path)?;
    if about.form == Form::Copy {
        return Ok(());
    }
    let store = Store::open(&about.store)?;
    let layers = Source::read(&store, &about.manifest)?.unpacked(&store)?;
    snapshot::unmount(&path.join("rootfs"))?;
    mount_rootfs(&layers, &path)
}

fn mount_rootfs(layers: &[Snapshot], path: &Path) -> Result<()> {
    snapshot::mount(layers, &path.join("upper"), &path.join("work"), &path.join("rootfs"))
}

/// Unmounts and removes a bundle, whole or half-made. That of a container which still runs stays as it is.
pub fn remove(path: &Path) -> Result<()> {
    let path = path.canonicalize().sys("realpath", path.display())?;
    let about = read_about(&path)?;
    check_unused(&path.join("rootfs"))?;
    snapshot::unmount(&path.join("rootfs"))?;
    // config.json was last, and goes first: without it nobody takes what is left for a bundle.
    for name in ["config.json", "rootfs", "upper", "work", "volumes"] {
        remove_any(&path.join(name))?;
    }
    let store = Store::open(&about.store)?;
    store.remove_root(&path, &store.lock()?)?;
    remove_any(&path.join(ABOUT))?;
    match std::fs::remove_dir(&path) {
        // What somebody else has put there stays.
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed.sys("rmdir", path.display()),
    }
}

/// Fails if a process has `rootfs` as its root. The mount does not tell: a container has its own in its mount namespace, and
/// the one here is not busy.
fn check_unused(rootfs: &Path) -> Result<()> {
    let inode = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    let Some(own) = inode(rootfs) else { return Ok(()) };
    for entry in Path::new("/proc").read_dir().sys("opendir", "/proc")? {
        let process = entry.sys("readdir", "/proc")?.path();
        // It may just have ended, be no process, or be somebody else's, whose root is none of ours.
        if inode(&process.join("root")) == Some(own) {
            let number = process.file_name().unwrap_or_default().display().to_string();
            return Err(Error::new(Kind::Invalid, format!("{}: process {number} runs in it", rootfs.display()))
                .remedy("delete the container first, with: creel delete --force NAME"));
        }
    }
    Ok(())
}

fn remove_any(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => snapshot::remove_tree(path),
        Ok(_) => std::fs::remove_file(path).sys("unlink", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).sys("lstat", path.display()),
    }
}

/// An empty directory; what a killed process left of a bundle is removed.
fn make_directory(path: &Path) -> Result<()> {
    if path.join(ABOUT).exists() && !path.join("config.json").exists() {
        remove(path)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let mut entries = path.read_dir().sys("opendir", path.display())?;
            match entries.next() {
                None => Ok(()),
                Some(_) => Err(Error::invalid(path.display(), "is not empty")
                    .remedy("name another directory, or remove a bundle with: creel-image unbundle DIRECTORY")),
            }
        }
        Err(error) => Err(error).sys("mkdir", path.display()),
    }
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
