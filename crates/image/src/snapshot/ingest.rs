//! Making a snapshot: in a directory of its own, which is renamed when it is whole.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::{About, Snapshots, boot_id, open_dir, remove_tree};
use crate::digest::Digest;
use crate::error::{Error, Result, SysContext};
use crate::layer::{self, Privilege, Unpacked};
use crate::manifest::Compression;
use crate::userns::Maps;

/// A snapshot that is being made, and that goes away again unless it is [`New::commit`]ted.
#[derive(Debug)]
pub struct New {
    snapshots: Snapshots,
    path: PathBuf,
    /// Held open: its lock says that its maker lives.
    _lock: File,
    privilege: Privilege,
}

impl Snapshots {
    /// Begins a snapshot.
    pub fn begin(&self) -> Result<New> {
        let (path, lock) = self.private("new")?;
        // From here on its clean-up is that of `New`.
        let new = New { snapshots: self.clone(), path, _lock: lock, privilege: Privilege::of_this_process() };
        let fs = new.path.join("fs");
        DirBuilder::new().mode(0o700).create(&fs).sys("mkdir", fs.display())?;
        Ok(new)
    }

    /// Unpacks `blob` into a snapshot, unless there is one by then.
    pub fn unpack(&self, blob: impl Read + Send, compression: Compression, diff_id: &Digest) -> Result<()> {
        let new = self.begin()?;
        let unpacked = new.unpack(blob, compression, diff_id)?;
        new.commit(&unpacked)
    }
}

impl New {
    /// Unpacks a layer whose uncompressed archive must have the digest `diff_id`. Whoever checks the digest of the blob does
    /// so after this, and before [`New::commit`].
    pub fn unpack(&self, blob: impl Read + Send, compression: Compression, diff_id: &Digest) -> Result<Unpacked> {
        let target = open_dir(&self.path.join("fs"))?;
        let unpacked = layer::unpack(blob, compression, target.as_fd(), self.privilege)?;
        if unpacked.diff_id != *diff_id {
            let found = format!("uncompressed, the layer's digest is {}", unpacked.diff_id);
            return Err(Error::corrupt(diff_id, found).cause("the image's configuration and its layers disagree"));
        }
        Ok(unpacked)
    }

    /// Makes the snapshot known. Another process may have been faster; then that one's counts.
    pub fn commit(self, unpacked: &Unpacked) -> Result<()> {
        let about = About {
            size: unpacked.size,
            members: unpacked.members,
            privilege: self.privilege,
            maps: Maps::of_this_process().filter(Maps::has_others),
            opaque_root: unpacked.opaque_root,
            omitted: unpacked.omitted.clone(),
            boot: boot_id(),
        };
        for (name, paths) in [("implied", &unpacked.implied), ("whited", &unpacked.whited)] {
            let file = self.path.join(name);
            let bytes: Vec<u8> = paths.iter().flat_map(|path| [path.as_slice(), &[0]].concat()).collect();
            std::fs::write(&file, bytes).sys("write", file.display())?;
        }
        about.write(&self.path)?;
        let place = self.snapshots.place(&unpacked.diff_id);
        if let Some(parent) = place.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).sys("mkdir", parent.display())?;
        }
        let renamed = rustix::fs::renameat_with(
            rustix::fs::CWD,
            &self.path,
            rustix::fs::CWD,
            &place,
            rustix::fs::RenameFlags::NOREPLACE,
        );
        match renamed {
            Err(rustix::io::Errno::EXIST) => Ok(()),
            renamed => renamed.sys("renameat2", place.display()),
        }
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // What cannot be removed now, gc removes. After a commit nothing is there.
        if self.path.symlink_metadata().is_ok() {
            let _ = remove_tree(&self.path);
        }
    }
}
