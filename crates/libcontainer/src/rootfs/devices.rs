//! Device nodes and the links of /dev.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, access, chownat, fstat, makedev, mknodat, openat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::mount::attach_error;
use super::plan_devices::{DeviceKind, DeviceNode};
use super::target::{self, Make};
use crate::error::{During, Error, Kind, Result, SysContext};
use crate::paths::{Root, split};
use crate::tree::{self, attach};

/// Makes the nodes, or binds the host's, and then the links; nothing is made outside `root`, whatever /dev is in the
/// image (CVE-2026-41579).
pub(super) fn make(root: &Root, nodes: &[DeviceNode], bind: bool) -> Result<()> {
    let dev = root.mkdir_all("/dev", 0o755).within(|| "/dev")?;
    for node in nodes {
        let (parent, name) = split(&node.path)?;
        let result = match parent == Path::new("/dev") {
            // Anybody may make a FIFO.
            _ if bind && node.kind != DeviceKind::Fifo => bind_node(root, node),
            true => make_node(&dev, &name, node),
            false => root.mkdir_all(parent, 0o755).and_then(|dir| make_node(&dir, &name, node)),
        };
        result.within(|| format!("device {}", node.path.display()))?;
    }
    make_links(&dev).within(|| "/dev")
}

fn make_node(dir: &OwnedFd, name: &std::ffi::OsStr, node: &DeviceNode) -> Result<()> {
    match mknodat(dir, name, file_type(node), Mode::from_raw_mode(node.mode), number(node)) {
        Ok(()) => (),
        Err(Errno::EXIST) => return check_existing(dir, name, node),
        Err(errno) => {
            let error = Error::system("mknodat", node.path.display(), errno);
            return Err(match errno {
                Errno::PERM => error.cause("making device nodes takes CAP_MKNOD in the initial user namespace"),
                _ => error,
            });
        }
    }
    let Some((user, group)) = node.owner else { return Ok(()) };
    // Through a descriptor that was checked: in a shared volume somebody may have put something else in its place.
    let made = openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .sys("openat", node.path.display())?;
    let stat = fstat(&made).sys("fstat", node.path.display())?;
    if !is_node(&stat, node) {
        return Err(Error::new(Kind::System, "it was replaced while it was being made"));
    }
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    chownat(&made, c"", Some(user), Some(group), AtFlags::EMPTY_PATH).sys("fchownat", node.path.display())
}

/// Binds the host's node of the same path and number.
fn bind_node(root: &Root, node: &DeviceNode) -> Result<()> {
    let tree = tree::clone(CWD, &node.path, OpenTreeFlags::empty()).sys("open_tree", node.path.display()).map_err(
        |error| error.cause("in a user namespace, devices are those of the host, bound, and it has none of that path"),
    )?;
    if !is_node(&fstat(&tree).sys("fstat", node.path.display())?, node) {
        let why = "the host's device of that path is another, and in a user namespace none can be made";
        return Err(Error::new(Kind::Invalid, why));
    }
    let target = target::find(root, &node.path, || Ok(Make::File))?;
    attach(tree, &target.fd).map_err(|errno| attach_error(errno, &node.path))
}

/// What is there already will do if it is the same device.
fn check_existing(dir: &OwnedFd, name: &std::ffi::OsStr, node: &DeviceNode) -> Result<()> {
    let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).sys("fstatat", node.path.display())?;
    match is_node(&stat, node) {
        true => Ok(()),
        false => Err(Error::new(Kind::Invalid, "something else is there already")
            .remedy("remove it from the image, or mount a tmpfs on /dev")),
    }
}

fn is_node(stat: &Stat, node: &DeviceNode) -> bool {
    FileType::from_raw_mode(stat.st_mode) == file_type(node)
        && (node.kind == DeviceKind::Fifo || stat.st_rdev == number(node))
}

fn file_type(node: &DeviceNode) -> FileType {
    match node.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}

fn number(node: &DeviceNode) -> u64 {
    makedev(node.number.0, node.number.1)
}

/// The links of config-linux.md "Dev symbolic links", in /dev, and what they lead to.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

#[allow(clippy::disallowed_methods, reason = "the host's /proc: its root is not left yet")]
fn make_links(dev: &OwnedFd) -> Result<()> {
    // Where the kernel has no kcore (CONFIG_PROC_KCORE), the link would lead nowhere.
    let kcore = access("/proc/kcore", Access::EXISTS).is_ok().then_some(("core", "/proc/kcore"));
    for (name, target) in LINKS.into_iter().chain(kcore) {
        match symlinkat(target, dev, name) {
            Err(Errno::EXIST) => (),
            result => result.sys("symlinkat", name)?,
        }
    }
    // The multiplexer must be that of the container's own devpts, whatever the image has there.
    match symlinkat("pts/ptmx", dev, "ptmx") {
        Err(Errno::EXIST) => {
            unlinkat(dev, "ptmx", AtFlags::empty()).sys("unlinkat", "ptmx")?;
            symlinkat("pts/ptmx", dev, "ptmx").sys("symlinkat", "ptmx")
        }
        result => result.sys("symlinkat", "ptmx"),
    }
}

/// Opens /dev/null inside `root` with `flags`, and checks on the descriptor that it is the null device: an image or a
/// hook may have put a link to something else there (CVE-2025-31133).
///
/// # Errors
/// If it does not exist, or is anything but character device 1:3.
pub fn open_null(root: &Root, flags: OFlags) -> Result<OwnedFd> {
    let path = "/dev/null";
    // A device of another kind must not notice that it is opened: so it is looked at first.
    let null = root.resolve(path, OFlags::PATH)?;
    let stat = fstat(&null).sys("fstat", path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != makedev(1, 3) {
        return Err(Error::new(Kind::Invalid, "/dev/null in the container is not the null device (1:3)"));
    }
    if flags.contains(OFlags::PATH) {
        return Ok(null);
    }
    let opened = root.resolve(path, flags | OFlags::NOCTTY)?;
    let again = fstat(opened.as_fd()).sys("fstat", path)?;
    match (again.st_mode, again.st_rdev, again.st_ino) == (stat.st_mode, stat.st_rdev, stat.st_ino) {
        true => Ok(opened),
        false => Err(Error::new(Kind::System, "/dev/null was replaced while it was being opened")),
    }
}
