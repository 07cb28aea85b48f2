//! Overlays, of however many layers.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::error::{Error, Result, SysContext};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, move_mount,
};

use super::plan::Plan;
use super::{mount_with, set_flags};

/// What mount(2) takes as a file system's options: a page, with the zero at its end.
pub const LONGEST_DATA: usize = 4095;
const LOWER: &str = "lowerdir=";

/// Mounts it.
///
/// An image of many layers can have more than a page of lower directories. Then they are named from the directory that
/// they have in common, and if that is still too much, one by one, which kernels before 6.7 do not know.
pub fn mount(source: &Path, target: &Path, plan: &Plan) -> Result<()> {
    let data = plan.data.join(",");
    if data.len() <= LONGEST_DATA {
        return mount_with("overlay", source, target, plan, data);
    }
    let (directory, options) = shorten(&plan.data);
    if let Some(directory) = &directory {
        rustix::process::chdir(directory).sys("chdir", directory.display())?;
    }
    let data = options.join(",");
    let made = match data.len() <= LONGEST_DATA {
        true => mount_with("overlay", source, target, plan, data),
        false => mount_one_by_one(source, target, plan, &options),
    };
    rustix::process::chdir("/").sys("chdir", "/")?;
    made
}

/// The lower directories, the top one first, and whether each is one for data only (after a double colon).
pub fn lower_directories(options: &[String]) -> Vec<(&str, bool)> {
    let text = options.iter().find_map(|option| option.strip_prefix(LOWER)).unwrap_or_default();
    let mut is_data = false;
    let mut directories = Vec::new();
    for part in text.split(':') {
        match part.is_empty() {
            true => is_data = true,
            false => directories.push((part, is_data)),
        }
    }
    directories
}

/// The directory to go to, and the options with the lower directories as seen from there.
fn shorten(options: &[String]) -> (Option<PathBuf>, Vec<String>) {
    let layers = lower_directories(options).into_iter().map(|(layer, _)| Path::new(layer));
    let common = layers.map(|path| path.parent().unwrap_or(path)).reduce(common_prefix);
    let Some(common) = common.filter(|common| common.parent().is_some()) else { return (None, options.to_vec()) };
    let prefix = format!("{}/", common.display());
    let near = |layer: &str| layer.strip_prefix(&prefix).unwrap_or(layer).to_owned();
    let shortened = options.iter().map(|option| match option.strip_prefix(LOWER) {
        Some(layers) => format!("{LOWER}{}", layers.split(':').map(near).collect::<Vec<_>>().join(":")),
        None => option.clone(),
    });
    (Some(common.to_owned()), shortened.collect())
}

fn common_prefix<'a>(one: &'a Path, other: &'a Path) -> &'a Path {
    one.ancestors().find(|ancestor| other.starts_with(ancestor)).unwrap_or(Path::new(""))
}

/// With a call for each option: no limit but the kernel's 500 layers.
fn mount_one_by_one(source: &Path, target: &Path, plan: &Plan, options: &[String]) -> Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).sys("fsopen", "overlay")?;
    fsconfig_set_string(&context, "source", source).map_err(|errno| refused("source", errno))?;
    for (layer, is_data) in lower_directories(options) {
        let key = if is_data { "datadir+" } else { "lowerdir+" };
        fsconfig_set_string(&context, key, layer).map_err(|errno| refused(&format!("{key}={layer}"), errno))?;
    }
    for option in options.iter().filter(|option| !option.starts_with(LOWER)) {
        let set = match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value),
            None => fsconfig_set_flag(&context, option),
        };
        set.map_err(|errno| refused(option, errno))?;
    }
    if plan.is_read_only() {
        fsconfig_set_flag(&context, "ro").map_err(|errno| refused("ro", errno))?;
    }
    fsconfig_create(&context).map_err(|errno| refused("create", errno))?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).sys("fsmount", "overlay")?;
    attach(&mount, target)?;
    set_flags(target, plan)
}

fn refused(what: &str, errno: Errno) -> Error {
    let error = Error::system("fsconfig", format_args!("overlay, {what}"), errno);
    match errno {
        Errno::INVAL => error
            .cause(format!("its options are longer than {LONGEST_DATA} bytes, which Linux takes from 6.7 on"))
            .remedy("use an image of fewer layers"),
        _ => error,
    }
}

/// Attaches a tree that is not attached yet.
pub fn attach(tree: &OwnedFd, target: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(tree.as_fd(), "", CWD, target, flags).sys("move_mount", target.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_layers_are_named_from_their_common_directory() {
        let layers: Vec<String> =
            (0..100).map(|n| format!("/var/lib/containerd/snapshots/{n}/a-rather-long-name")).collect();
        let options = ["upperdir=/u".to_owned(), format!("lowerdir={}::/var/lib/data", layers.join(":"))];
        let (directory, options) = shorten(&options[..]);
        assert_eq!(directory.as_deref(), Some(Path::new("/var/lib")));
        let data = options.join(",");
        assert!(data.starts_with("upperdir=/u,lowerdir=containerd/snapshots/0/a-rather-long-name:c"), "{data}");
        assert_eq!(lower_directories(&options).last(), Some(&("data", true)));
        let apart = ["lowerdir=/a/b:/c/d".to_owned()];
        assert_eq!(shorten(&apart), (None, apart.to_vec()), "nothing in common");
    }
}
