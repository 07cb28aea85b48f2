//! Plans as data, and their execution on the real kernel in mount namespaces that are thrown away.

mod binds;
mod filesystems;
mod golden;
mod hostile;
mod locked;
mod plans;
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Rootfs, RootfsInput, RootfsPlan, plan, prepare};
use crate::error::Result;
use crate::host::CgroupFacts;
use crate::paths::tests::TempDir;
use crate::spec::Spec;
use crate::testing::{in_private_mounts, is_root};

/// Runs `body` in a private mount namespace with a bundle whose `rootfs` is an empty directory.
fn with_bundle(test: &'static str, body: impl FnOnce(&Bundle) + Send + 'static) {
    if !is_root(test) {
        return;
    }
    // Outside the thread: it is removed on the host, after the thread's namespace and its mounts are gone.
    let dir = TempDir::new(test);
    let bundle = Bundle { path: dir.path().to_owned() };
    std::fs::create_dir(bundle.root("")).expect("make rootfs");
    in_private_mounts(move || body(&bundle));
}

struct Bundle {
    path: PathBuf,
}

impl Bundle {
    /// A path below rootfs, as the host sees it.
    fn root(&self, path: &str) -> PathBuf {
        self.path.join("rootfs").join(path.trim_start_matches('/'))
    }

    fn plan(&self, config: Value) -> Result<RootfsPlan> {
        plan_of(&self.path, config)
    }

    /// Plans and prepares these mounts, without anything else.
    fn mount(&self, mounts: Value) -> Result<Rootfs> {
        self.prepare(json!({"mounts": mounts}))
    }

    fn prepare(&self, config: Value) -> Result<Rootfs> {
        prepare(&self.plan(config)?)
    }

    /// A file or directory (with one file `file`) of the bundle's, beside the root.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::write(&path, text).expect("write");
        path
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).expect("mkdir");
        std::fs::write(path.join("file"), name).expect("write");
        path
    }
}

/// The plan of a config.json that has only the given fields, in a mount namespace of its own on a host without cgroups.
fn plan_of(bundle: &Path, mut config: Value) -> Result<RootfsPlan> {
    config["ociVersion"] = json!("1.3.0");
    if config.get("root").is_none() {
        config["root"] = json!({"path": "rootfs"});
    }
    let spec = Spec::parse(config.to_string().as_bytes(), Path::new("config.json")).expect("a valid test");
    plan(&RootfsInput {
        spec: &spec,
        bundle,
        no_pivot: false,
        own_mount_namespace: true,
        own_user_namespace: false,
        own_network_namespace: true,
        rootless: false,
        cgroup_namespace: true,
        terminal: false,
        selinux: false,
        cgroups: &CgroupFacts::default(),
        cgroup_dirs: &BTreeMap::new(),
    })
}

/// A line of this thread's mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq)]
struct Mounted {
    id: u64,
    parent: u64,
    root: String,
    options: Vec<String>,
    propagation: Vec<String>,
    kind: String,
    source: String,
    filesystem_options: Vec<String>,
}

impl Mounted {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|one| one == option)
    }

    fn filesystem_has(&self, option: &str) -> bool {
        self.filesystem_options.iter().any(|one| one == option)
    }

    fn is(&self, propagation: &str) -> bool {
        self.propagation.iter().any(|one| one.starts_with(propagation))
    }
}

/// The topmost mount at `path`.
fn mounted(path: impl AsRef<Path>) -> Option<Mounted> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("read mountinfo");
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    let lines = text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        (Path::new(before[4]) == path.as_ref()).then(|| Mounted {
            id: before[0].parse().expect("an id"),
            parent: before[1].parse().expect("an id"),
            root: before[3].to_owned(),
            options: list(before[5]),
            propagation: before[6..].iter().map(|field| (*field).to_owned()).collect(),
            kind: after[0].to_owned(),
            source: after[1].to_owned(),
            filesystem_options: list(after[2]),
        })
    });
    lines.last()
}

fn at(path: impl AsRef<Path>) -> Mounted {
    let path = path.as_ref();
    mounted(path).unwrap_or_else(|| panic!("nothing is mounted at {}", path.display()))
}

fn errno_of_write(path: impl AsRef<Path>) -> Option<i32> {
    std::fs::write(path, "x").err().and_then(|error| error.raw_os_error())
}
