//! What the options of a mount ask for. containerd reads them in the same way for the mounts that it makes itself
//! (its core/mount).

use containerd_shim_protos::types::mount::Mount;
use libcontainer::error::{Error, Result};
use libcontainer::spec::IdMapping;
use libcontainer::userns::{UsernsPlan, check_map};
use rustix::mount::{MountFlags, MountPropagationFlags};

/// A mount, as system calls want it.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// For mount(2); `BIND` makes it a bind mount.
    pub flags: MountFlags,
    /// Changed one after the other when it is mounted.
    pub propagation: Vec<MountPropagationFlags>,
    /// The file system's own options.
    pub data: Vec<String>,
    /// Its source is a file, to be made a block device.
    pub image: Option<Image>,
    /// Its files belong to other ids there; those of an overlay's lower directories, if it is one.
    pub ids: Option<UsernsPlan>,
}

/// How a file is made a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Read and written past the page cache.
    pub direct_io: bool,
}

impl Plan {
    /// Reads the options.
    ///
    /// # Errors
    /// Names the one that cannot be carried out.
    pub fn of(mount: &Mount) -> Result<Plan> {
        refuse_type(&mount.type_)?;
        let flags = if mount.type_ == "bind" { MountFlags::BIND } else { MountFlags::empty() };
        let mut plan = Plan { flags, propagation: Vec::new(), data: Vec::new(), image: None, ids: None };
        let (mut uids, mut gids) = (Vec::new(), Vec::new());
        for option in &mount.options {
            if let Some((set, flag)) = flag(option) {
                plan.flags.set(flag, set);
            } else if let Some(propagation) = propagation(option) {
                plan.propagation.push(propagation);
            } else if let Some(map) = option.strip_prefix("uidmap=") {
                uids = id_map("uidmap", map)?;
            } else if let Some(map) = option.strip_prefix("gidmap=") {
                gids = id_map("gidmap", map)?;
            } else if option == "loop" {
                plan.image = Some(Image { direct_io: false });
            } else if option.starts_with("X-containerd.") {
                return Err(Error::unsupported(format!("option {option}"))
                    .cause("it is for containerd's mount manager, which has not handled it"));
            } else if option != "defaults" {
                plan.data.push(option.clone());
            }
        }
        if let Some(image) = &mut plan.image {
            let before = plan.data.len();
            plan.data.retain(|option| option != "direct-io");
            image.direct_io = plan.data.len() < before;
        }
        plan.ids = both(uids, gids)?;
        plan.check()
    }

    fn check(self) -> Result<Plan> {
        match self.image.is_some() && self.is_bind() {
            true => Err(Error::invalid("option loop", "a bind mount has no block device")),
            false => Ok(self),
        }
    }

    /// Whether it shows a part of the file tree once more.
    pub fn is_bind(&self) -> bool {
        self.flags.contains(MountFlags::BIND)
    }

    /// Whether nothing can be changed through it.
    pub fn is_read_only(&self) -> bool {
        self.flags.contains(MountFlags::RDONLY)
    }
}

/// What no system call mounts.
fn refuse_type(kind: &str) -> Result<()> {
    if kind.starts_with("fuse.") || kind.starts_with("fuse3.") {
        return Err(Error::unsupported(format!("type {kind}"))
            .cause("it is mounted by a program, and the shim executes none")
            .remedy("use a snapshotter that mounts it itself"));
    }
    if kind.contains('/') {
        return Err(Error::unsupported(format!("type {kind}"))
            .cause("it is for containerd's mount manager, which has not handled it"));
    }
    Ok(())
}

/// Either map alone would leave the other's ids as they are, which nobody wants.
fn both(uids: Vec<IdMapping>, gids: Vec<IdMapping>) -> Result<Option<UsernsPlan>> {
    match (uids.is_empty(), gids.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(UsernsPlan::new(uids, gids))),
        (true, false) => Err(Error::invalid("option gidmap", "there is no uidmap beside it")),
        (false, true) => Err(Error::invalid("option uidmap", "there is no gidmap beside it")),
    }
}

/// `ID:HOST_ID:SIZE`, and more after commas.
fn id_map(name: &str, text: &str) -> Result<Vec<IdMapping>> {
    let field = format!("option {name}");
    let range = |text: &str| {
        let mut numbers = text.split(':').map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        let range = IdMapping { container_id: next()?, host_id: next()?, size: next()? };
        numbers.next().is_none().then_some(range)
    };
    let map: Option<Vec<IdMapping>> = text.split(',').map(range).collect();
    let map = map.ok_or_else(|| Error::invalid(&field, format!("{text} is not of the form ID:HOST_ID:SIZE")))?;
    check_map(&field, &map)?;
    Ok(map)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { type_: kind.into(), source: "/s".into(), options, ..Mount::default() }
    }

    fn plan(kind: &str, options: &[&str]) -> Plan {
        Plan::of(&mount(kind, options)).expect("plan")
    }

    #[test]
    fn options_are_flags_propagation_or_the_file_systems_own() {
        let overlay = plan("overlay", &["ro", "noexec", "rprivate", "lowerdir=/a:/b", "index=off", "defaults"]);
        assert_eq!(overlay.flags, MountFlags::RDONLY | MountFlags::NOEXEC);
        assert_eq!(overlay.propagation, [MountPropagationFlags::PRIVATE | MountPropagationFlags::REC]);
        assert_eq!(overlay.data, ["lowerdir=/a:/b", "index=off"]);
        assert_eq!(plan("bind", &["rbind", "ro", "rw"]).flags, MountFlags::BIND | MountFlags::REC);
    }

    #[test]
    fn images_and_maps() {
        assert_eq!(plan("ext4", &["loop", "rw"]).image, Some(Image { direct_io: false }));
        let erofs = plan("erofs", &["ro", "loop", "direct-io"]);
        assert_eq!((erofs.image, erofs.data), (Some(Image { direct_io: true }), vec![]));
        assert_eq!(plan("erofs", &["direct-io"]).data, ["direct-io"], "the file system's own, then");
        let ids = plan("bind", &["uidmap=0:1000:5,5:2000:1", "gidmap=0:3000:7"]).ids.expect("maps");
        let range = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!((ids.uids, ids.gids), (vec![range(0, 1000, 5), range(5, 2000, 1)], vec![range(0, 3000, 7)]));
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        for (kind, options, text) in [
            ("overlay", &["uidmap=0:1:2"][..], "option uidmap: there is no gidmap beside it"),
            ("overlay", &["gidmap=0:1:2"], "option gidmap: there is no uidmap beside it"),
            ("bind", &["uidmap=0:1"], "option uidmap: 0:1 is not of the form ID:HOST_ID:SIZE"),
            ("bind", &["uidmap=0:1:2:3"], "0:1:2:3 is not of the form"),
            ("bind", &["gidmap=0:1:0"], "option gidmap[0]: its size is 0"),
            ("bind", &["loop"], "option loop: a bind mount has no block device"),
            ("ext4", &["X-containerd.mkfs.fs=ext4"], "option X-containerd.mkfs.fs=ext4"),
            ("fuse3.nydus", &[], "type fuse3.nydus"),
            ("format/overlay", &[], "type format/overlay"),
        ] {
            let error = Plan::of(&mount(kind, options)).expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
