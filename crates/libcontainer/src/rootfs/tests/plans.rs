//! What the planner refuses, and single decisions that the golden plans do not show well.

use std::path::Path;

use serde_json::{Value, json};

use super::super::options::{Attributes, Propagation};
use super::super::{Action, Change, DeviceKind, Idmap, Maps, Pivot, RootfsInput, plan};
use super::plan_of;
use crate::error::Kind;
use crate::host::CgroupFacts;
use crate::spec::Spec;

fn refused(config: Value) -> (Kind, String) {
    let error = plan_of(Path::new("/bundle"), config.clone()).expect_err(&config.to_string());
    (error.kind(), error.to_string())
}

fn refused_mount(mount: Value) -> String {
    let (kind, text) = refused(json!({"mounts": [mount]}));
    assert_eq!(kind, Kind::Invalid, "{text}");
    text.strip_prefix("planning the container: ").expect("the phase").to_owned()
}

#[test]
fn a_mount_that_cannot_be_is_refused_with_its_field() {
    let cases = [
        (json!({"destination": ""}), "mounts[0].destination: is missing"),
        (
            json!({"destination": "/a/..", "type": "tmpfs"}),
            "mounts[0].destination: \"/a/..\" is the root itself, which root.path sets",
        ),
        (
            json!({"destination": "/proc/self/attr", "type": "tmpfs"}),
            "mounts[0].destination: /proc/self/attr is inside /proc, where nothing may be mounted",
        ),
        (
            json!({"destination": "/x/../proc/./sys", "source": "/etc", "options": ["bind"]}),
            "mounts[0].destination: /proc/sys is inside /proc, where nothing may be mounted",
        ),
        (
            json!({"destination": "/proc", "type": "tmpfs"}),
            "mounts[0].destination: /proc must be of type proc, not \"tmpfs\"",
        ),
        (
            json!({"destination": "/x"}),
            "mounts[0].type: is missing: a mount is of a type, or has the option bind or rbind",
        ),
        (json!({"destination": "/x", "options": ["bind"]}), "mounts[0].source: is missing: a bind mount needs one"),
        (
            json!({"destination": "/x", "type": "proc", "options": ["tmpcopyup"]}),
            "mounts[0].options: tmpcopyup is for tmpfs only",
        ),
        (
            json!({"destination": "/x", "type": "tmpfs", "options": ["src-nofollow"]}),
            "mounts[0].options: copy-symlink, src-nofollow and dest-nofollow are for bind mounts only",
        ),
        (
            json!({"destination": "/x", "source": "/y", "options": ["bind", "copy-symlink", "dest-nofollow"]}),
            "mounts[0].options: copy-symlink excludes src-nofollow and dest-nofollow",
        ),
        (json!({"destination": "/x\u{0}y", "type": "tmpfs"}), "mounts[0].destination: has a NUL character"),
        (
            json!({"destination": "/x", "type": "tmpfs", "options": ["ro", "a\u{0}"]}),
            "mounts[0].options[1]: has a NUL character",
        ),
    ];
    for (mount, wanted) in cases {
        assert_eq!(refused_mount(mount), wanted);
    }
}

#[test]
fn what_is_beyond_this_build_is_told_as_such() {
    let cgroup = json!({"mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup"}]});
    assert_eq!(refused(cgroup).0, Kind::Unsupported);
}

#[test]
fn maps_of_mounts_are_listed_once() {
    let maps = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 9}]);
    let mount = |host: u32, options: Value| json!({"destination": "/x", "source": "/y", "options": options, "uidMappings": maps(host), "gidMappings": maps(5)});
    let mounts =
        json!([mount(7, json!(["bind"])), mount(8, json!(["bind", "ridmap"])), mount(7, json!(["rbind", "idmap"]))]);
    let plan = plan_of(Path::new("/bundle"), json!({"mounts": mounts})).expect("a plan");
    let mapped: Vec<Option<Idmap>> = plan
        .mounts
        .iter()
        .map(|step| match &step.action {
            Action::Bind(bind) => bind.idmap,
            _ => None,
        })
        .collect();
    let listed = |recursive, place| Some(Idmap { recursive, maps: Maps::Listed(place) });
    assert_eq!(mapped, [listed(false, 0), listed(true, 1), listed(false, 0)]);
    let of: Vec<(usize, u32)> = plan.id_maps.iter().map(|maps| (maps.mount, maps.uids[0].host_id)).collect();
    assert_eq!(of, [(0, 7), (1, 8)]);
}

#[test]
fn maps_of_mounts_that_cannot_be_are_told() {
    let maps = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    for (mount, wanted) in [
        (
            json!({"destination": "/x", "source": "/y", "options": ["bind", "idmap"]}),
            "mounts[0].uidMappings: is missing",
        ),
        (
            json!({"destination": "/x", "source": "/y", "options": ["bind"], "uidMappings": maps}),
            "mounts[0].gidMappings: is missing",
        ),
        (json!({"destination": "/x", "type": "tmpfs", "options": ["ridmap"]}), "mounts[0]: only a bind mount"),
        (
            json!({"destination": "/x", "source": "/y", "options": ["bind", "remount", "idmap"]}),
            "mounts[0]: only a bind mount",
        ),
    ] {
        let text = refused_mount(mount);
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn the_rest_of_the_config_is_checked_too() {
    let device = |device: Value| json!({"linux": {"devices": [device]}});
    for (config, wanted) in [
        (json!({"root": null}), "root: is missing"),
        (json!({"root": {"path": ""}}), "root.path: is empty (name the directory that becomes /)"),
        (
            json!({"linux": {"rootfsPropagation": "weird"}}),
            "linux.rootfsPropagation: \"weird\" is not one of shared, slave, private, unbindable, or r before one of them",
        ),
        (json!({"linux": {"rootfsPropagation": "ro"}}), "linux.rootfsPropagation: \"ro\" is not one of"),
        (json!({"linux": {"maskedPaths": ["/a", "/.."]}}), "linux.maskedPaths[1]: \"/..\" is the root itself"),
        (device(json!({"type": "x", "path": "/dev/x"})), "linux.devices[0].type: \"x\" is not one of c, u, b, p"),
        (device(json!({"type": "c", "path": "/"})), "linux.devices[0].path: \"/\" does not name a device node"),
        (
            device(json!({"type": "c", "path": "/dev/x", "major": -1})),
            "linux.devices[0].major: -1 is not between 0 and 4095",
        ),
        (
            device(json!({"type": "b", "path": "/dev/x", "major": 1, "minor": 1_048_576})),
            "linux.devices[0].minor: 1048576 is not between 0 and 1048575",
        ),
    ] {
        let text = refused(config).1;
        assert!(text.strip_prefix("planning the container: ").is_some_and(|text| text.starts_with(wanted)), "{text}");
    }
}

#[test]
fn nothing_is_hidden_or_protected_on_the_host() {
    for (field, config) in [
        ("linux.maskedPaths", json!({"root": {"path": "r"}, "linux": {"maskedPaths": ["/x"]}})),
        ("linux.readonlyPaths", json!({"root": {"path": "r"}, "linux": {"readonlyPaths": ["/x"]}})),
        ("", json!({"root": {"path": "r", "readonly": true}})),
    ] {
        let mut config = config;
        config["ociVersion"] = json!("1.3.0");
        let spec = Spec::parse(config.to_string().as_bytes(), Path::new("c")).expect("valid");
        let result = plan(&RootfsInput {
            spec: &spec,
            bundle: Path::new("/b"),
            no_pivot: true,
            own_mount_namespace: false,
            own_user_namespace: false,
            own_network_namespace: true,
            rootless: false,
            cgroup_namespace: false,
            terminal: false,
            selinux: false,
            cgroups: &CgroupFacts::default(),
            cgroup_dirs: &Default::default(),
        });
        match (field, result) {
            ("", result) => {
                let plan = result.expect("a plan");
                assert_eq!(plan.pivot, Pivot::Chroot);
                assert!(plan.warnings.iter().any(|warning| warning.starts_with("root.readonly: ")), "{plan:?}");
            }
            (field, result) => assert!(result.expect_err(field).to_string().contains(field)),
        }
    }
}

#[test]
fn a_destination_given_by_its_path_on_the_host_is_inside() {
    let at = |destination: &str| {
        let mount = json!({"destination": destination, "source": "y", "options": ["bind"]});
        let plan = plan_of(Path::new("/bundle"), json!({"mounts": [mount]})).expect("a plan");
        plan.mounts.into_iter().next().expect("one").destination
    };
    assert_eq!(at("/bundle/rootfs/mnt/x"), Path::new("/mnt/x"));
    assert_eq!(at("/bundle/./rootfs//mnt"), Path::new("/mnt"));
    assert_eq!(at("/bundle/rootfs2/mnt"), Path::new("/bundle/rootfs2/mnt"));
    let root = json!([{"destination": "/bundle/rootfs", "source": "y", "options": ["bind"]}]);
    let error = plan_of(Path::new("/bundle"), json!({"mounts": root})).expect_err("the root").to_string();
    assert!(error.contains("is the root itself"), "{error}");
    let proc = json!([{"destination": "/bundle/rootfs/proc/self", "source": "y", "options": ["bind"]}]);
    let error = plan_of(Path::new("/bundle"), json!({"mounts": proc})).expect_err("in procfs").to_string();
    assert!(error.contains("/proc"), "{error}");
}

fn changes(options: Value) -> Vec<Change> {
    let mount = json!({"destination": "x", "source": "y", "options": options});
    let plan = plan_of(Path::new("/bundle"), json!({"mounts": [mount]})).expect("a plan");
    plan.mounts.into_iter().next().expect("one").changes
}

#[test]
fn a_bind_mount_takes_as_few_calls_as_can_be() {
    let none = Change::default();
    assert_eq!(changes(json!(["bind"])), []);
    assert_eq!(
        changes(json!(["rbind", "rprivate"])),
        [Change { recursive: true, propagation: Some(Propagation::Private), ..none.clone() }]
    );
    let others = Attributes::NODEV.and(Attributes::NOEXEC).and(Attributes::NOSYMFOLLOW);
    assert_eq!(
        changes(json!(["bind", "ro", "suid", "private"])),
        [Change {
            set: Attributes::RDONLY,
            clear: Attributes::NOSUID,
            reset: others,
            propagation: Some(Propagation::Private),
            ..none.clone()
        }]
    );
    assert_eq!(
        changes(json!(["rbind", "rro", "rnoatime", "rslave"])),
        [Change {
            recursive: true,
            set: Attributes::RDONLY.and(Attributes::NOATIME),
            clear: Attributes::ATIME,
            propagation: Some(Propagation::Slave),
            ..none.clone()
        }]
    );
    assert_eq!(changes(json!(["bind", "private", "shared"])).len(), 2, "each propagation is a call of its own");
}

#[test]
fn devices_that_are_configured_replace_the_default_ones() {
    let own_null = json!({"type": "c", "path": "/dev/./null", "major": 1, "minor": 3, "fileMode": 0o100_600, "uid": 5});
    let fifo = json!({"type": "p", "path": "/run/fifo", "major": -1, "minor": -1});
    let ptmx = json!({"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2});
    let mounts = json!([{"destination": "/dev/random", "source": "/dev/urandom", "options": ["bind"]}]);
    let config = json!({"mounts": mounts, "linux": {"devices": [own_null, fifo, ptmx]}});
    let devices = plan_of(Path::new("/bundle"), config).expect("a plan").devices;
    let paths: Vec<_> = devices.iter().map(|device| device.path.to_str().expect("text")).collect();
    assert_eq!(paths, ["/dev/full", "/dev/tty", "/dev/zero", "/dev/urandom", "/dev/null", "/run/fifo"]);
    assert_eq!((devices[4].mode, devices[4].owner, devices[4].number), (0o600, Some((5, 0)), (1, 3)));
    assert_eq!((devices[5].kind, devices[5].number, devices[5].mode), (DeviceKind::Fifo, (0, 0), 0o666));
    assert_eq!(devices[0].owner, Some((0, 0)), "no tmpfs is on /dev, so a set-group-id directory may be");
}

#[test]
fn a_filesystem_of_the_users_own_is_told_that_it_is_read_only() {
    let mounts = json!([
        {"destination": "/a", "type": "ext4", "source": "/dev/x", "options": ["ro", "sync"]},
        {"destination": "/b", "type": "sysfs", "source": "sysfs", "options": ["ro"]}
    ]);
    let plan = plan_of(Path::new("/bundle"), json!({"mounts": mounts})).expect("a plan");
    let parameters = |i: usize| match &plan.mounts[i].action {
        Action::Filesystem(filesystem) => filesystem.parameters.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!((parameters(0), parameters(1)), (vec!["sync".to_owned(), "ro".to_owned()], vec![]));
}

#[test]
fn options_that_a_bind_mount_cannot_have_are_dropped_with_a_warning() {
    let mount = json!({"destination": "/x", "source": "/y", "options": ["rbind", "size=1k", "ro"]});
    let plan = plan_of(Path::new("/bundle"), json!({"mounts": [mount]})).expect("a plan");
    assert_eq!(plan.warnings, ["mounts[0].options: \"size=1k\" is for a filesystem and has no effect on a bind mount"]);
}
