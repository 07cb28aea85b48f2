//! Owner, mode, times and extended attributes of what was just made.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, fchmod, fchown, fsetxattr, futimens,
    setxattr, utimensat,
};
use rustix::io::Errno;

use super::tar::Entry;
use super::{Omitted, Privilege, overlay};
use crate::error::{Error, Result, SysContext};

/// Sets what an archive says about its members, as far as the privilege goes.
pub struct Setter {
    privilege: Privilege,
    /// Whose files are made when nobody is asked for.
    own: (u32, u32),
    /// What was left out.
    pub omitted: Omitted,
}

/// What to set an attribute on.
#[derive(Clone, Copy)]
enum Object<'a, F> {
    /// An open file or directory.
    Open(&'a F),
    /// What was opened with `O_PATH`: links and special files.
    Path(&'a F),
}

impl Setter {
    /// Begins with nothing left out.
    pub fn new(privilege: Privilege) -> Self {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Setter { privilege, own, omitted: Omitted::default() }
    }

    /// All attributes of an open file, in the order that keeps them: a change of owner takes away setuid and
    /// capabilities, and anything changes the times.
    pub fn file(&mut self, file: &impl AsFd, entry: &Entry) -> Result<()> {
        self.owner(file, entry)?;
        fchmod(file, Mode::from_raw_mode(entry.mode)).sys("fchmod", "it")?;
        self.xattrs(Object::Open(file), entry)?;
        futimens(file, &times(entry.mtime)).sys("utimensat", "it")
    }

    /// Owner and extended attributes of an open directory; mode and times are set when it is left.
    pub fn directory(&mut self, directory: &impl AsFd, entry: &Entry) -> Result<()> {
        self.owner(directory, entry)?;
        self.xattrs(Object::Open(directory), entry)
    }

    /// All attributes of a link or special file that was opened with `O_PATH`.
    pub fn special(&mut self, special: &impl AsFd, entry: &Entry, has_mode: bool) -> Result<()> {
        if let Some((uid, gid)) = self.new_owner(entry) {
            chownat(special, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
                .map_err(|errno| owner_error(errno, entry))?;
        }
        if has_mode {
            // fchmodat2 is new in Linux 6.6; /proc leads to the same inode.
            chmod(proc_path(special), Mode::from_raw_mode(entry.mode)).sys("chmod", "it")?;
        }
        self.xattrs(Object::Path(special), entry)?;
        utimensat(special, "", &times(entry.mtime), AtFlags::EMPTY_PATH).sys("utimensat", "it")
    }

    /// The owner to give it to, unless it is whoever makes it, or cannot be.
    fn new_owner(&mut self, entry: &Entry) -> Option<(Uid, Gid)> {
        if (entry.uid, entry.gid) == self.own {
            return None;
        }
        if !self.privilege.owners {
            self.omitted.owners += 1;
            return None;
        }
        Some((Uid::from_raw(entry.uid), Gid::from_raw(entry.gid)))
    }

    fn owner(&mut self, object: &impl AsFd, entry: &Entry) -> Result<()> {
        match self.new_owner(entry) {
            None => Ok(()),
            Some((uid, gid)) => fchown(object, Some(uid), Some(gid)).map_err(|errno| owner_error(errno, entry)),
        }
    }

    fn xattrs<F: AsFd>(&mut self, object: Object<'_, F>, entry: &Entry) -> Result<()> {
        for (name, value) in &entry.xattrs {
            // SELinux's label is the host's to give.
            if overlay::is_private(name) || name == b"security.selinux" {
                self.omitted.xattr(name);
                continue;
            }
            let set = match object {
                Object::Open(file) => fsetxattr(file, name.as_slice(), value, XattrFlags::empty()),
                Object::Path(file) => setxattr(proc_path(file), name.as_slice(), value, XattrFlags::empty()),
            };
            match set {
                Ok(()) => (),
                Err(Errno::PERM | Errno::OPNOTSUPP) => self.omitted.xattr(name),
                Err(errno) => return Err(Error::system("setxattr", String::from_utf8_lossy(name), errno)),
            }
        }
        Ok(())
    }
}

/// The kernel's name of an open file; it leads to the inode, whatever happens to its name.
fn proc_path(file: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

fn owner_error(errno: Errno, entry: &Entry) -> Error {
    let error = Error::system("chown", format!("owner {}:{}", entry.uid, entry.gid), errno);
    match errno {
        Errno::INVAL => error.cause("this user namespace does not map the id").remedy("map more ids"),
        _ => error,
    }
}

/// Both times; layers have no reliable access time.
pub fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
