//! The root file system that containerd hands over as a list of mounts; made before a container and undone after it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_shim_protos::types::mount::Mount;
use libcontainer::error::{Error, Result, SysContext};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

/// How often a busy mount is tried again: a process that was just killed may hold it a moment longer.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// What mount(2) takes as a file system's options: a page, with the zero at its end.
const LONGEST_DATA: usize = 4095;

/// Mounts all of `mounts` on `target`, in order; one that names a target of its own, below it.
///
/// # Errors
/// Names the mount. Those that were made are undone.
pub fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
    for (index, mount) in mounts.iter().enumerate() {
        if let Err(error) = mount_one(mount, target) {
            let _ = unmount_all(target);
            return Err(error.within(format_args!("rootfs[{index}]")));
        }
    }
    Ok(())
}

fn mount_one(mount: &Mount, root: &Path) -> Result<()> {
    let target = root.join(mount.target.trim_start_matches('/'));
    let plan = Plan::of(mount)?;
    if plan.flags.contains(MountFlags::BIND) {
        return bind(&mount.source, &target, &plan);
    }
    let (directory, data) = shorten(&plan.data)?;
    if let Some(directory) = &directory {
        rustix::process::chdir(directory).sys("chdir", directory.display())?;
    }
    let data = std::ffi::CString::new(data).map_err(|_| Error::invalid("options", "they contain NUL"))?;
    let data = Some(data.as_c_str()).filter(|data| !data.is_empty());
    let made = rustix::mount::mount(&mount.source, &target, &mount.type_, plan.flags, data);
    if directory.is_some() {
        rustix::process::chdir("/").sys("chdir", "/")?;
    }
    made.sys("mount", format_args!("{} on {}", mount.type_, target.display()))?;
    plan.change_propagation(&target)
}

/// A bind mount takes its flags only when it is mounted anew.
fn bind(source: &str, target: &Path, plan: &Plan) -> Result<()> {
    let what = || format!("{source} on {}", target.display());
    let bound = match plan.flags.contains(MountFlags::REC) {
        true => rustix::mount::mount_bind_recursive(source, target),
        false => rustix::mount::mount_bind(source, target),
    };
    bound.sys("mount", what())?;
    let rest = plan.flags - MountFlags::REC;
    if rest != MountFlags::BIND {
        rustix::mount::mount_remount(target, rest, c"").sys("mount", format_args!("{}, its options", what()))?;
    }
    plan.change_propagation(target)
}

/// Options as mount(2) wants them.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    flags: MountFlags,
    propagation: Vec<MountPropagationFlags>,
    data: Vec<String>,
}

impl Plan {
    fn of(mount: &Mount) -> Result<Plan> {
        let mut plan = Plan { flags: MountFlags::empty(), propagation: Vec::new(), data: Vec::new() };
        if mount.type_ == "bind" {
            plan.flags |= MountFlags::BIND;
        }
        for option in &mount.options {
            if let Some((set, flag)) = flag(option) {
                plan.flags.set(flag, set);
            } else if let Some(propagation) = propagation(option) {
                plan.propagation.push(propagation);
            } else if matches!(option.split('=').next(), Some("loop" | "uidmap" | "gidmap")) {
                return Err(Error::unsupported(format!("option {option} of a root file system's mount"))
                    .remedy("use a snapshotter that prepares the mount itself"));
            } else if !option.starts_with("X-containerd.") && option != "defaults" {
                plan.data.push(option.clone());
            }
        }
        Ok(plan)
    }

    fn change_propagation(&self, target: &Path) -> Result<()> {
        self.propagation.iter().try_for_each(|change| {
            rustix::mount::mount_change(target, *change).sys("mount", format_args!("{}, propagation", target.display()))
        })
    }
}

/// The flag that an option of mount(8) sets or clears.
fn flag(option: &str) -> Option<(bool, MountFlags)> {
    Some(match option {
        "ro" => (true, MountFlags::RDONLY),
        "rw" => (false, MountFlags::RDONLY),
        "bind" => (true, MountFlags::BIND),
        "rbind" => (true, MountFlags::BIND | MountFlags::REC),
        "nosuid" => (true, MountFlags::NOSUID),
        "suid" => (false, MountFlags::NOSUID),
        "nodev" => (true, MountFlags::NODEV),
        "dev" => (false, MountFlags::NODEV),
        "noexec" => (true, MountFlags::NOEXEC),
        "exec" => (false, MountFlags::NOEXEC),
        "sync" => (true, MountFlags::SYNCHRONOUS),
        "async" => (false, MountFlags::SYNCHRONOUS),
        "dirsync" => (true, MountFlags::DIRSYNC),
        "noatime" => (true, MountFlags::NOATIME),
        "atime" => (false, MountFlags::NOATIME),
        "nodiratime" => (true, MountFlags::NODIRATIME),
        "diratime" => (false, MountFlags::NODIRATIME),
        "relatime" => (true, MountFlags::RELATIME),
        "norelatime" => (false, MountFlags::RELATIME),
        "strictatime" => (true, MountFlags::STRICTATIME),
        "nostrictatime" => (false, MountFlags::STRICTATIME),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<MountPropagationFlags> {
    let recursive = |flags: MountPropagationFlags| flags | MountPropagationFlags::REC;
    Some(match option {
        "private" => MountPropagationFlags::PRIVATE,
        "rprivate" => recursive(MountPropagationFlags::PRIVATE),
        "shared" => MountPropagationFlags::SHARED,
        "rshared" => recursive(MountPropagationFlags::SHARED),
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "rslave" => recursive(MountPropagationFlags::DOWNSTREAM),
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        "runbindable" => recursive(MountPropagationFlags::UNBINDABLE),
        _ => return None,
    })
}

/// The options as one text. An image of many layers can have more than a page of lower directories: then they are named
/// from the directory that they have in common, which is given for the caller to go to.
fn shorten(options: &[String]) -> Result<(Option<PathBuf>, String)> {
    let data = options.join(",");
    if data.len() <= LONGEST_DATA {
        return Ok((None, data));
    }
    let layers = options.iter().find_map(|option| option.strip_prefix("lowerdir=")).unwrap_or_default();
    let common = layers.split(':').map(Path::new).map(|path| path.parent().unwrap_or(path)).reduce(common_prefix);
    let Some(common) = common.filter(|common| common.parent().is_some()) else {
        return Err(Error::invalid("options", format!("they are longer than {LONGEST_DATA} bytes")));
    };
    let near = |layer: &str| layer.strip_prefix(&format!("{}/", common.display())).unwrap_or(layer).to_owned();
    let options: Vec<String> = options
        .iter()
        .map(|option| match option.strip_prefix("lowerdir=") {
            Some(layers) => format!("lowerdir={}", layers.split(':').map(near).collect::<Vec<_>>().join(":")),
            None => option.clone(),
        })
        .collect();
    let data = options.join(",");
    if data.len() > LONGEST_DATA {
        let why = format!("they are longer than {LONGEST_DATA} bytes: the image has too many layers");
        return Err(Error::invalid("options", why));
    }
    Ok((Some(common.to_owned()), data))
}

fn common_prefix<'a>(one: &'a Path, other: &'a Path) -> &'a Path {
    one.ancestors().find(|ancestor| other.starts_with(ancestor)).unwrap_or(Path::new(""))
}

/// Unmounts whatever is mounted on `target`, several times if need be, and below it; nothing there is no error.
///
/// # Errors
/// If it stays busy for a second.
pub fn unmount_all(target: &Path) -> Result<()> {
    for _ in 0..ATTEMPTS {
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            // Perhaps there is another one beneath it.
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {
                for below in mounted_below(target) {
                    let _ = rustix::mount::unmount(&below, UnmountFlags::NOFOLLOW);
                }
                std::thread::sleep(PAUSE);
            }
            Err(errno) => return Err(Error::system("umount2", target.display(), errno)),
        }
    }
    Err(Error::system("umount2", target.display(), Errno::BUSY).cause("a process of the host's uses it"))
}

/// The mount points below a directory, the last mounted first.
fn mounted_below(target: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(target) && point != target).collect();
    below.reverse();
    below
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { type_: kind.into(), source: "/s".into(), options, ..Mount::default() }
    }

    #[test]
    fn options_are_flags_propagation_or_the_file_systems_own() {
        let plan =
            Plan::of(&mount("overlay", &["ro", "noexec", "rprivate", "lowerdir=/a:/b", "index=off"])).expect("plan");
        assert_eq!(plan.flags, MountFlags::RDONLY | MountFlags::NOEXEC);
        assert_eq!(plan.propagation, [MountPropagationFlags::PRIVATE | MountPropagationFlags::REC]);
        assert_eq!(plan.data, ["lowerdir=/a:/b", "index=off"]);
        let plan = Plan::of(&mount("bind", &["rbind", "ro", "rw"])).expect("plan");
        assert_eq!(plan.flags, MountFlags::BIND | MountFlags::REC);
        let error = Plan::of(&mount("overlay", &["uidmap=0:1:2"])).expect_err("not yet").to_string();
        assert!(error.contains("uidmap=0:1:2"), "{error}");
    }

    #[test]
    fn many_layers_are_named_from_their_common_directory() {
        let layers: Vec<String> =
            (0..100).map(|n| format!("/var/lib/containerd/snapshots/{n}/a-rather-long-name")).collect();
        let options = ["upperdir=/u".to_owned(), format!("lowerdir={}", layers.join(":"))];
        let (directory, data) = shorten(&options).expect("short enough");
        assert_eq!(directory.as_deref(), Some(Path::new("/var/lib/containerd/snapshots")));
        assert!(data.starts_with("upperdir=/u,lowerdir=0/a-rather-long-name:1/a"), "{data}");
        let (directory, data) = shorten(&["a".into(), "b".into()]).expect("short");
        assert_eq!((directory, data.as_str()), (None, "a,b"));
        assert!(shorten(&[format!("lowerdir=/{}:/b", "x".repeat(5000))]).is_err());
    }

    #[test]
    fn a_bind_mount_is_made_and_undone() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let base = std::env::temp_dir().join(format!("creel-test-shim-mounts-{}", std::process::id()));
        let (source, target) = (base.join("source"), base.join("target"));
        std::fs::create_dir_all(&source).expect("mkdir");
        std::fs::create_dir_all(&target).expect("mkdir");
        std::fs::write(source.join("file"), "x").expect("write");
        let mut bind = mount("bind", &["rbind", "ro"]);
        bind.source = source.to_string_lossy().into_owned();
        mount_all(&[bind.clone(), bind.clone()], &target).expect("mount");
        assert!(target.join("file").exists());
        assert!(std::fs::write(target.join("file"), "y").is_err(), "read-only");
        let mut wrong = mount("overlay", &["nonsense"]);
        wrong.source = "overlay".into();
        let error = mount_all(&[bind, wrong], &target).expect_err("wrong option").to_string();
        assert!(error.contains("rootfs[1]") && !target.join("file").exists(), "{error}");
        unmount_all(&target).expect("nothing there");
        std::fs::remove_dir_all(&base).expect("remove");
    }
}
