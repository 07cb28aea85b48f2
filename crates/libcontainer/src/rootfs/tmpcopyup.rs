//! `tmpcopyup`: a tmpfs that starts with what is in the directory that it covers.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Uid, XattrFlags, chownat, fchmod, fgetxattr, flistxattr,
    fsetxattr, fstat, mkdirat, mknodat, openat, readlinkat, sendfile, statat, symlinkat,
};
use rustix::io::Errno;

use crate::error::{During, Error, Kind, Result, SysContext};

/// How much is asked of one sendfile(2); the kernel's own limit is just below 2 GiB.
const CHUNK: usize = 1 << 30;

/// Copies what is in the directory `from` (`O_PATH` is enough) into the empty directory `to`, with owners, permissions and
/// extended attributes. No symlink is followed.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    copy_directory(open_directory(from, c".")?, &open_directory(to, c".")?).within(|| "tmpcopyup")
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_directory(at: impl AsFd, name: &CStr) -> Result<OwnedFd> {
    openat(at, name, DIRECTORY, Mode::empty()).sys("openat", name.to_string_lossy())
}

fn copy_directory(from: OwnedFd, to: &OwnedFd) -> Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.sys("getdents64", "")?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(&from, to, name).within(|| name.to_string_lossy().into_owned())?;
        }
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).sys("fstatat", "")?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU).sys("mkdirat", "")?;
            let (source, copy) = (open_directory(from, name)?, open_directory(to, name)?);
            copy_metadata(&source, &copy, &stat, mode)?;
            copy_directory(source, &copy)
        }
        FileType::RegularFile => copy_file(from, to, name, &stat, mode),
        FileType::Symlink => {
            let target = readlinkat(from, name, Vec::new()).sys("readlinkat", "")?;
            symlinkat(&target, to, name).sys("symlinkat", "")?;
            own(to, name, &stat)
        }
        FileType::Socket => Ok(()), // nobody listens on a copy
        kind => {
            mknodat(to, name, kind, mode, stat.st_rdev).sys("mknodat", "")?;
            own(to, name, &stat)
        }
    }
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat, mode: Mode) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = openat(from, name, flags, Mode::empty()).sys("openat", "")?;
    // A container that lives, or shares the directory, may have put a device there meanwhile, which it may not open itself.
    let opened = fstat(&source).sys("fstat", "")?;
    if (opened.st_dev, opened.st_ino, opened.st_mode) != (stat.st_dev, stat.st_ino, stat.st_mode) {
        return Err(Error::new(Kind::WrongState, "it was replaced or changed while it was copied"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = openat(to, name, flags, Mode::RUSR | Mode::WUSR).sys("openat", "")?;
    while sendfile(&copy, &source, None, CHUNK).sys("sendfile", "")? > 0 {}
    copy_metadata(&source, &copy, stat, mode)
}

/// The owner first, since a change of it takes set-user-id bits and capabilities away.
fn copy_metadata(source: &OwnedFd, copy: &OwnedFd, stat: &Stat, mode: Mode) -> Result<()> {
    own(copy, c"", stat)?;
    fchmod(copy, mode).sys("fchmod", "")?;
    copy_xattrs(source, copy)
}

fn own(at: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let (user, group) = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    chownat(at, name, user, group, flags).sys("fchownat", "")
}

/// Extended attributes, as far as tmpfs has them: `user.*` only since Linux 6.6.
fn copy_xattrs(source: &OwnedFd, copy: &OwnedFd) -> Result<()> {
    // XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
    let (mut names, mut value) = (vec![0u8; 65536], Vec::new());
    let length = match flistxattr(source, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        result => result.sys("flistxattr", "")?,
    };
    for name in names.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        value.resize(65536, 0);
        let length = fgetxattr(source, name, &mut value[..]).sys("fgetxattr", name.to_string_lossy())?;
        match fsetxattr(copy, name, value.get(..length).unwrap_or_default(), XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => (),
            result => result.sys("fsetxattr", name.to_string_lossy())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, makedev, open, rename};

    use super::*;
    use crate::paths::tests::TempDir;
    use crate::testing::is_root;

    #[test]
    fn a_device_that_takes_a_files_place_is_not_read() {
        if !is_root("a_device_that_takes_a_files_place_is_not_read") {
            return;
        }
        let dir = TempDir::new("copyup");
        let (file, device) = (dir.path().join("file"), dir.path().join("device"));
        std::fs::write(&file, "content").expect("write");
        std::fs::create_dir(dir.path().join("to")).expect("mkdir");
        mknodat(CWD, &device, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).expect("mknod");
        let from = open(dir.path(), OFlags::PATH, Mode::empty()).expect("open");
        let to = open(dir.path().join("to"), OFlags::PATH, Mode::empty()).expect("open");
        let found = statat(&from, c"file", AtFlags::SYMLINK_NOFOLLOW).expect("stat");
        copy_file(&from, &to, c"file", &found, Mode::RUSR).expect("what was found");
        std::fs::remove_file(dir.path().join("to/file")).expect("remove");
        // Between the look at what it is and the opening of it.
        rename(&device, &file).expect("rename");
        let error = copy_file(&from, &to, c"file", &found, Mode::RUSR).expect_err("a device").to_string();
        assert!(error.contains("replaced") && !dir.path().join("to/file").exists(), "{error}");
    }
}
