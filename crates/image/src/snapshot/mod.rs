//! Unpacked layers: made once, shared by every bundle of every image that has them.
//!
//! ```text
//! snapshots/ALGORITHM/HEX/fs        the layer, in overlayfs's form; HEX is of the diff id
//! snapshots/ALGORITHM/HEX/about     what there is to know of it; `implied` and `whited` beside it, paths that end with NUL
//! snapshots/.new-PID-N              what is being made, locked by who makes it
//! ```
//!
//! A snapshot appears by rename, whole. It can be made again from its blob; so nobody waits until a gigabyte of files is on
//! the disk. Instead `about` says in which boot it was made; one of an earlier boot that was not yet known to
//! be on the disk is thrown away, and made again.

mod attributes;
mod files;
mod fuse;
mod implied;
mod ingest;
mod merge;
mod overlay;
mod shown;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

pub use files::remove_tree;
pub use fuse::mount_by_fuse;
pub use ingest::New;
pub use merge::{copy, copy_tree};
pub use overlay::{mount, unmount};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result, SysContext};
use crate::layer::{Omitted, Privilege};
use crate::userns::Maps;

/// Where snapshots are.
#[derive(Clone, Debug)]
pub struct Snapshots {
    path: PathBuf,
}

/// An unpacked layer.
#[derive(Debug)]
pub struct Snapshot {
    /// Its directory, with `fs` and `about`.
    path: PathBuf,
    /// What is known of it.
    pub about: About,
    /// Directories of which the layer says nothing, see [`crate::layer::Unpacked::implied`].
    pub implied: BTreeSet<Vec<u8>>,
    /// Directories that have whiteouts, see [`crate::layer::Unpacked::whited`].
    pub whited: BTreeSet<Vec<u8>>,
}

/// What is written beside an unpacked layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The bytes of the uncompressed archive.
    pub size: u64,
    /// Its members.
    pub members: u64,
    /// With what privilege it was unpacked.
    pub privilege: Privilege,
    /// What its owners' ids mean, where they are those of a user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps: Option<Maps>,
    /// It hides all layers below it.
    #[serde(default)]
    pub opaque_root: bool,
    /// What could not be had.
    #[serde(default)]
    pub omitted: Omitted,
    /// The boot in which it was made, until it is known to be on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

impl Snapshots {
    /// The snapshots in the directory `path`, which exists.
    pub fn new(path: PathBuf) -> Snapshots {
        Snapshots { path }
    }

    /// The unpacked layer with this diff id, if it is here, whole, and fit for who asks.
    pub fn get(&self, diff_id: &Digest) -> Result<Option<Snapshot>> {
        let path = self.place(diff_id);
        let about = match std::fs::read(path.join("about")) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).sys("open", path.join("about").display()),
        };
        // What a loss of power left of it is not worth an error.
        let Ok(about) = serde_json::from_slice::<About>(&about) else {
            self.remove(diff_id)?;
            return Ok(None);
        };
        if about.boot.is_some() && about.boot != boot_id() {
            self.remove(diff_id)?;
            return Ok(None);
        }
        about.check_fit().map_err(|error| error.within(format!("snapshot {}", diff_id.short())))?;
        let implied = std::fs::read(path.join("implied")).sys("read", path.join("implied").display())?;
        let whited = match std::fs::read(path.join("whited")) {
            // Of an older version of this program.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read.sys("read", path.join("whited").display())?,
        };
        Ok(Some(Snapshot { path, about, implied: paths_in(&implied), whited: paths_in(&whited) }))
    }

    /// Removes a snapshot at once, for everybody else; the files go afterwards.
    pub fn remove(&self, diff_id: &Digest) -> Result<()> {
        let (gone, _lock) = self.private("gone")?;
        match std::fs::rename(self.place(diff_id), gone.join("it")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).sys("rename", self.place(diff_id).display());
            }
            _ => (),
        }
        remove_tree(&gone)
    }

    /// Removes what killed processes left; says how many.
    pub fn sweep(&self) -> Result<usize> {
        let mut swept = 0;
        for entry in std::fs::read_dir(&self.path).sys("opendir", self.path.display())? {
            let entry = entry.sys("readdir", self.path.display())?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Somebody else may have removed it just now.
            let Ok(dir) = File::open(entry.path()) else { continue };
            if try_lock(&dir)? {
                remove_tree(&entry.path())?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn place(&self, diff_id: &Digest) -> PathBuf {
        self.path.join(diff_id.algorithm().name()).join(diff_id.hex())
    }

    /// A directory of this process's own, on the same file system, with its lock.
    fn private(&self, what: &str) -> Result<(PathBuf, File)> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = self.path.join(format!(".{what}-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                // Of an earlier process with the same number, perhaps in another PID namespace.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.sys("mkdir", path.display())?,
            }
            // Between mkdir and flock a sweep may take it for a dead one's, and remove it.
            if let Ok(dir) = File::open(&path)
                && try_lock(&dir)?
                && path.symlink_metadata().is_ok()
            {
                return Ok((path, dir));
            }
        }
    }
}

impl Snapshot {
    /// The layer's root.
    pub fn fs(&self) -> PathBuf {
        self.path.join("fs")
    }

    /// Opens the layer's root.
    pub fn open(&self) -> Result<OwnedFd> {
        open_dir(&self.fs())
    }

    /// Notes that the files are on the disk, once the kernel has had time to write them: then it costs nothing.
    pub fn settle(&self) -> Result<()> {
        const WRITTEN_BACK: std::time::Duration = std::time::Duration::from_secs(60);
        let about = self.path.join("about");
        let age = std::fs::metadata(&about).and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if self.about.boot.is_none() || age.is_none_or(|age| age < WRITTEN_BACK) {
            return Ok(());
        }
        rustix::fs::syncfs(self.open()?).sys("syncfs", self.path.display())?;
        About { boot: None, ..self.about.clone() }.write(&self.path)
    }
}

impl About {
    /// Fails if what is on the disk is not what this process would have made.
    fn check_fit(&self) -> Result<()> {
        let (wanted, maps) = (Privilege::of_this_process(), Maps::of_this_process().filter(Maps::has_others));
        let why = if self.privilege != wanted {
            format!("was unpacked with {:?}, and this process has {wanted:?}", self.privilege)
        } else if self.maps.is_some() && self.maps != maps {
            "was unpacked when other ids were mapped, in /etc/subuid and /etc/subgid, than are now".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Unsupported, why).remedy(
            "use another store, with --store, or remove the image with rm and gc, and its bundles with unbundle",
        ))
    }

    /// Written to the disk, by rename.
    fn write(&self, dir: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|error| Error::new(Kind::System, error.to_string()))?;
        let (new, path) = (dir.join(format!("about.{}", std::process::id())), dir.join("about"));
        std::fs::write(&new, bytes).sys("write", new.display())?;
        std::fs::rename(&new, &path).sys("rename", path.display())
    }
}

/// The layers of an image that show, lowest first: one that hides everything is the lowest.
pub fn visible(layers: &[Snapshot]) -> &[Snapshot] {
    let lowest = layers.iter().rposition(|layer| layer.about.opaque_root).unwrap_or(0);
    &layers[lowest..]
}

/// Puts right, in `root` where these layers are mounted, the directories that a layer has without saying anything
/// about them (they get what the next layer below says), and whiteouts that would be seen.
pub fn repair(layers: &[Snapshot], root: &Path) -> Result<()> {
    implied::repair(visible(layers), root, None)?;
    shown::hide(visible(layers), root)
}

/// Each path ends with a NUL, so that a list can have the root's empty one.
fn paths_in(bytes: &[u8]) -> BTreeSet<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == 0).map(|path| path.strip_suffix(&[0]).unwrap_or(path).to_vec()).collect()
}

pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).sys("open", path.display())
}

/// Whether nobody holds the directory's lock; if so, it is held now.
fn try_lock(file: &File) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error).sys("flock", "a snapshot"),
    }
}

/// Which boot of the kernel this is; nothing if /proc does not tell, and then no snapshot is distrusted.
fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}
