//! A root filesystem from beginning to end: mounts, devices, pivot, masks.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use serde_json::{Value, json};

use super::super::{RootfsInput, RootfsPlan, enter, finish, open_null, plan, prepare};
use super::{Bundle, at, errno_of_write, mounted, with_bundle};
use crate::host::{CgroupFacts, Hierarchy};
use crate::paths::Root;
use crate::spec::Spec;

/// What `runc spec` writes, as far as it is about the root filesystem.
fn everyday() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}
        ],
        "linux": {
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/proc/acpi", "/sys/firmware",
                "/hidden", "/hidden2", "/secret", "/none"],
            "readonlyPaths": ["/proc/bus", "/proc/sys", "/none", "/data"]
        }
    })
}

fn whole(bundle: &Bundle, config: Value) -> RootfsPlan {
    let plan = bundle.plan(config).expect("a plan");
    let rootfs = prepare(&plan).expect("prepare");
    assert_eq!(rootfs.root().path(), bundle.root("").as_path());
    enter(rootfs, &plan).expect("enter");
    finish(&plan).expect("finish");
    plan
}

#[test]
fn the_everyday_bundle() {
    with_bundle("everyday", |bundle| {
        for dir in ["hidden", "hidden2", "data/sub"] {
            std::fs::create_dir_all(bundle.root(dir)).expect("mkdir");
            std::fs::write(bundle.root(dir).join("file"), "seen").expect("write");
        }
        std::fs::write(bundle.root("secret"), "seen").expect("write");
        std::fs::write(bundle.path.join("outside"), "").expect("write");
        let umask = rustix::process::umask(0o077.into());
        whole(bundle, everyday());
        assert_eq!(rustix::process::umask(umask).as_raw_mode(), 0o077, "the umask is as it was");
        check_mounts();
        check_dev();
        // The link is there if what it leads to is (CONFIG_PROC_KCORE).
        assert_eq!(Path::new("/dev/core").symlink_metadata().is_ok(), Path::new("/proc/kcore").exists());
        check_masks();
        assert_eq!(std::env::current_dir().expect("cwd"), Path::new("/"));
        assert!(!Path::new("/tmp").exists(), "nothing of the host is left");
        assert_eq!(errno_of_write("/new"), Some(libc::EROFS));
        let text = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        assert!(text.lines().all(|line| line.split(' ').nth(4) != Some("/tmp")), "{text}");
    });
}

fn check_mounts() {
    let dev = at("/dev");
    assert!(dev.has("nosuid") && !dev.has("relatime") && dev.filesystem_has("size=65536k"), "{dev:?}");
    let pts = at("/dev/pts");
    for option in ["gid=5", "mode=620", "ptmxmode=666"] {
        assert!(pts.filesystem_has(option), "{pts:?}");
    }
    assert_eq!(at("/dev/shm").source, "shm");
    assert!(at("/sys").has("ro") && at("/sys").has("nodev"));
    assert_eq!((at("/dev/mqueue").kind, at("/proc").kind), ("mqueue".to_owned(), "proc".to_owned()));
    assert!(at("/").has("ro"));
}

fn check_dev() {
    for (name, number) in
        [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)), ("urandom", (1, 9)), ("tty", (5, 0))]
    {
        let stat = Path::new("/dev").join(name).symlink_metadata().expect(name);
        let found = (rustix::fs::major(stat.rdev()), rustix::fs::minor(stat.rdev()));
        assert!(stat.file_type().is_char_device() && found == number, "{name}: {found:?}");
        assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o666, 0, 0), "{name}");
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx")] {
        let link = std::fs::read_link(Path::new("/dev").join(name)).expect(name);
        assert_eq!(link.to_str(), Some(target));
    }
    std::fs::write("/dev/null", "gone").expect("the null device works");
    rustix::fs::open("/dev/ptmx", rustix::fs::OFlags::RDWR, 0.into()).expect("a terminal of its own");
}

fn check_masks() {
    for path in ["/proc/keys", "/secret"] {
        assert_eq!(std::fs::read(path).expect(path), b"", "{path}");
    }
    let mut devices = Vec::new();
    for path in ["/hidden", "/hidden2"] {
        assert_eq!(std::fs::read_dir(path).expect(path).count(), 0, "{path}");
        assert_eq!(errno_of_write(Path::new(path).join("new")), Some(libc::EROFS));
        assert!(at(path).has("ro") && at(path).filesystem_has("ro"));
        devices.push(std::fs::metadata(path).expect("stat").dev());
    }
    assert_eq!(devices[0], devices[1], "one instance serves all");
    assert!(at("/proc/sys").has("ro") && at("/data").has("ro"));
    assert_eq!(std::fs::read_to_string("/data/sub/file").expect("still readable"), "seen");
    assert!(mounted("/none").is_none() && mounted("/secret/below").is_none());
}

#[test]
fn configured_devices_get_their_mode_and_owner() {
    with_bundle("devices", |bundle| {
        let device = |kind: &str, path: &str, number: (u32, u32)| json!({"type": kind, "path": path, "major": number.0, "minor": number.1, "fileMode": 0o620, "uid": 11, "gid": 12});
        let devices = json!([
            device("c", "/dev/fuse", (10, 229)),
            device("b", "/dev/sub/loop", (7, 0)),
            device("p", "/fifo", (0, 0))
        ]);
        bundle.prepare(json!({"linux": {"devices": devices}})).expect("prepare");
        for (path, is_kind) in [("dev/fuse", 0), ("dev/sub/loop", 1), ("fifo", 2)] {
            let stat = bundle.root(path).symlink_metadata().expect(path);
            let kind = stat.file_type();
            assert!([kind.is_char_device(), kind.is_block_device(), kind.is_fifo()][is_kind], "{path}");
            assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o620, 11, 12), "{path}");
        }
        assert_eq!(bundle.root("dev/sub/loop").metadata().expect("stat").rdev(), rustix::fs::makedev(7, 0));
        let null = bundle.root("dev/null").metadata().expect("stat");
        assert_eq!((null.mode() & 0o777, null.uid()), (0o666, 0));
    });
}

#[test]
fn a_dev_of_the_hosts_is_left_alone() {
    with_bundle("host-dev", |bundle| {
        let dev = bundle.directory("dev");
        bundle.mount(json!([{"destination": "/dev", "source": "dev", "options": ["bind"]}])).expect("mount");
        assert_eq!(std::fs::read_dir(dev).expect("list").count(), 1, "only what was there");
    });
}

#[test]
fn without_pivot_root_the_hosts_proc_is_gone_as_well() {
    with_bundle("no-pivot", |bundle| {
        let mut plan = bundle.plan(everyday()).expect("a plan");
        plan.pivot = super::super::Pivot::Move;
        enter(prepare(&plan).expect("prepare"), &plan).expect("enter");
        finish(&plan).expect("finish");
        let text = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let procs: Vec<&str> =
            text.lines().filter(|line| line.contains(" - proc ") && line.contains(" / /proc ")).collect();
        assert_eq!(procs.len(), 1, "{text}");
        assert!(!Path::new("/tmp").exists() && at("/").has("ro"));
    });
}

#[test]
fn chroot_alone_changes_no_mount() {
    with_bundle("chroot", |bundle| {
        let mut plan = bundle.plan(json!({})).expect("a plan");
        plan.pivot = super::super::Pivot::Chroot;
        let before = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let rootfs = prepare(&plan).expect("prepare");
        assert_eq!(std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo"), before);
        enter(rootfs, &plan).expect("enter");
        finish(&plan).expect("finish");
        assert!(Path::new("/dev/null").exists() && !Path::new("/tmp").exists());
    });
}

#[test]
fn what_is_mounted_without_a_namespace_goes_by_one_unmount() {
    with_bundle("chroot-mounts", |bundle| {
        mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).expect("shared");
        let mountinfo = || std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let before = mountinfo();
        let mounts = json!([{"destination": "/tmp", "type": "tmpfs"}, {"destination": "/dev", "type": "tmpfs"}]);
        let mut plan = bundle.plan(json!({"mounts": mounts})).expect("a plan");
        plan.pivot = super::super::Pivot::Chroot;
        prepare(&plan).expect("prepare");
        let now = at(bundle.root(""));
        assert!(now.propagation.is_empty(), "{now:?}");
        assert_eq!(mountinfo().lines().count(), before.lines().count() + 3, "propagation has made copies");
        unmount(bundle.root(""), UnmountFlags::DETACH).expect("unmount");
        assert_eq!(mountinfo(), before);
    });
}

#[test]
fn the_root_gets_its_propagation() {
    for (propagation, wanted) in [
        ("rshared", &["shared:"][..]),
        ("shared", &["shared:"]),
        ("unbindable", &["unbindable"]),
        ("rslave", &["master:"]),
        ("", &["master:"]),
        ("private", &[]),
        ("rprivate", &[]),
    ] {
        with_bundle("root-propagation", move |bundle| {
            // As on the host of most containers: shared, with the peers in a namespace that stays.
            let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
            mount_change("/", shared).expect("shared");
            let _host = std::fs::File::open("/proc/thread-self/ns/mnt").expect("the namespace");
            crate::sys::namespace::unshare(libc::CLONE_NEWNS as u64).expect("unshare");
            let proc = json!([{"destination": "/proc", "type": "proc"}]);
            whole(bundle, json!({"mounts": proc, "linux": {"rootfsPropagation": propagation}}));
            let root = at("/");
            let found: Vec<&str> = root.propagation.iter().map(|one| one.trim_end_matches(char::is_numeric)).collect();
            assert_eq!(found, wanted, "{propagation}");
        });
    }
}

#[test]
fn the_null_device_is_opened_for_use_too() {
    with_bundle("null", |bundle| {
        let rootfs = bundle.prepare(json!({})).expect("prepare");
        let null = open_null(rootfs.root(), rustix::fs::OFlags::RDWR).expect("open");
        assert_eq!(rustix::io::write(&null, b"gone").expect("write"), 4);
        std::fs::set_permissions(bundle.root("dev/null"), PermissionsExt::from_mode(0o600)).expect("chmod");
        std::fs::remove_file(bundle.root("dev/null")).expect("remove");
        assert!(open_null(&Root::open(&bundle.root("")).expect("open"), rustix::fs::OFlags::RDWR).is_err());
    });
}

/// The v1 hierarchies of the machine, if it has any, by its mountinfo.
fn v1_hierarchies() -> Vec<Hierarchy> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let lines = text.lines().filter(|line| line.contains(" - cgroup ")).map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let mountpoint = PathBuf::from(fields[4]);
        let name = mountpoint.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let controllers = match name.as_str() {
            "systemd" => vec!["name=systemd".to_owned()],
            name => name.split(',').map(str::to_owned).collect(),
        };
        Hierarchy { controllers, mountpoint, own: "/".into() }
    });
    lines.collect()
}

fn cgroup_plan(bundle: &Bundle, facts: &CgroupFacts, dirs: &BTreeMap<String, PathBuf>, options: Value) -> RootfsPlan {
    let mount = json!({"destination": "/cgroup", "type": "cgroup", "source": "cgroup", "options": options});
    let config = json!({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "mounts": [mount]});
    let spec = Spec::parse(config.to_string().as_bytes(), Path::new("c")).expect("valid");
    plan(&RootfsInput {
        spec: &spec,
        bundle: &bundle.path,
        no_pivot: false,
        own_mount_namespace: true,
        own_user_namespace: false,
        own_network_namespace: true,
        rootless: false,
        cgroup_namespace: true,
        terminal: false,
        selinux: false,
        cgroups: facts,
        cgroup_dirs: dirs,
    })
    .expect("a plan")
}

/// A new cgroup of the test's own in one hierarchy, removed when it ends.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(hierarchy: &Hierarchy) -> Cgroup {
        let path = hierarchy.mountpoint.join(format!("creel-test-{}-rootfs", std::process::id()));
        std::fs::create_dir(&path).expect("make a cgroup");
        Cgroup(path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn the_hierarchies_of_v1_are_shown_together() {
    with_bundle("cgroup-v1", |bundle| {
        let v1 = v1_hierarchies();
        let Some(pids) = v1.iter().find(|one| one.controllers == ["pids"]) else {
            println!("skipped: this host has no v1 hierarchy of pids");
            return;
        };
        let own = Cgroup::new(pids);
        let dirs = BTreeMap::from([("pids".to_owned(), own.0.clone())]);
        let facts = CgroupFacts { v1: v1.clone(), ..CgroupFacts::default() };
        prepare(&cgroup_plan(bundle, &facts, &dirs, json!(["ro", "relatime", "private"]))).expect("prepare");
        let top = at(bundle.root("cgroup"));
        assert!(top.kind == "tmpfs" && top.has("ro") && top.has("nosuid") && top.filesystem_has("mode=755"), "{top:?}");
        for hierarchy in &v1 {
            let name = hierarchy.mountpoint.file_name().and_then(|name| name.to_str()).expect("a name");
            let mount = at(bundle.root("cgroup").join(name));
            assert_eq!(mount.kind, "cgroup");
            for option in ["ro", "nosuid", "nodev", "noexec", "relatime"] {
                assert!(mount.has(option), "{mount:?}");
            }
            assert_eq!(mount.propagation, [""; 0]);
        }
        // Its own directory where it has one (bound), else the whole, as this process is in no namespace.
        let mount = at(bundle.root("cgroup/pids"));
        assert!(mount.root.ends_with("-rootfs"), "{mount:?}");
        assert!(bundle.root("cgroup/pids/pids.max").exists());
    });
}

#[test]
fn v2_is_mounted_or_bound() {
    with_bundle("cgroup-v2", |bundle| {
        // In the first one a new mount would change the options of the host's own.
        crate::sys::namespace::unshare(libc::CLONE_NEWCGROUP as u64).expect("unshare(CLONE_NEWCGROUP)");
        let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let Some(line) = text.lines().find(|line| line.contains(" - cgroup2 ")) else {
            println!("skipped: this host has no cgroup2 mounted");
            return;
        };
        let mountpoint = PathBuf::from(line.split(' ').nth(4).expect("a mount point"));
        let v2 = Hierarchy { controllers: Vec::new(), mountpoint, own: "/".into() };
        let facts = CgroupFacts { v2: Some(v2.clone()), ..CgroupFacts::default() };
        let plan = cgroup_plan(bundle, &facts, &BTreeMap::new(), json!(["ro", "nosuid"]));
        prepare(&plan).expect("prepare");
        let mount = at(bundle.root("cgroup"));
        assert!(mount.kind == "cgroup2" && mount.has("ro") && mount.has("nosuid"), "{mount:?}");
        let spec_of = json!({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "mounts": [
            {"destination": "/own", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}]});
        let spec = Spec::parse(spec_of.to_string().as_bytes(), Path::new("c")).expect("valid");
        let bound = super::super::plan(&RootfsInput {
            spec: &spec,
            bundle: &bundle.path,
            no_pivot: false,
            own_mount_namespace: true,
            own_user_namespace: false,
            own_network_namespace: true,
            rootless: false,
            cgroup_namespace: false,
            terminal: false,
            selinux: false,
            cgroups: &facts,
            cgroup_dirs: &BTreeMap::new(),
        })
        .expect("a plan");
        prepare(&bound).expect("prepare");
        let mount = at(bundle.root("own"));
        assert!(mount.kind == "cgroup2" && mount.has("ro") && mount.has("nosuid"), "{mount:?}");
        let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(text.contains(line), "the host's own mount has changed its options");
    });
}
