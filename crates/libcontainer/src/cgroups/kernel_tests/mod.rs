//! Plans carried out on the real kernel. Every test runs on the host's own layout, and on v2 alone where it is mounted
//! at all: a hybrid host's v2 hierarchy has few controllers, but freezes, kills and decides on devices like any other.

mod create;
mod life;
mod stats;
mod update;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{Cgroup, CgroupPlan, Membership, plan};
use crate::host::{CgroupFacts, Hierarchy};
use crate::spec::Linux;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The host's layout, and that of v2 alone if it differs; without its controllers, since those would have to be turned
/// on at the root of the host's hierarchy.
fn layouts() -> Vec<CgroupFacts> {
    let facts = CgroupFacts::gather().expect("facts");
    match &facts.v2 {
        Some(v2) if !facts.is_unified() => {
            let alone = Hierarchy { controllers: Vec::new(), ..v2.clone() };
            vec![facts, CgroupFacts { v2: Some(alone), ..CgroupFacts::default() }]
        }
        _ => vec![facts],
    }
}

/// Cgroups of a test, which are killed and removed when it ends, however it ends.
struct Container {
    path: String,
    plan: CgroupPlan,
    cgroup: Cgroup,
    membership: Membership,
}

impl Container {
    fn plan(facts: &CgroupFacts, path: &str, resources: Value) -> CgroupPlan {
        let linux: Linux =
            serde_json::from_value(json!({ "cgroupsPath": path, "resources": resources })).expect("linux");
        plan(&linux, "c1", facts).expect("plan")
    }

    fn unique() -> String {
        format!("/creel-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    fn new(facts: &CgroupFacts, resources: Value) -> Container {
        let path = Container::unique();
        let plan = Container::plan(facts, &path, resources);
        let (cgroup, membership) = Cgroup::create(&plan).expect("create");
        assert_eq!(cgroup, plan.location());
        Container { path, plan, cgroup, membership }
    }

    /// Starts a command that is in all cgroups before it executes.
    fn start(&self, command: &[&str]) -> Running {
        let script = ["-c", "read _; exec \"$0\" \"$@\""];
        let mut shell = Command::new("sh");
        let mut child =
            shell.args(script).args(command).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh");
        for dir in self.cgroup.dirs().values() {
            std::fs::write(dir.join("cgroup.procs"), child.id().to_string()).expect("cgroup.procs");
        }
        drop(child.stdin.take());
        Running(child)
    }

    fn read(&self, controller: &str, file: &str) -> String {
        let path = self.cgroup.dir_of(controller).expect(controller).join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    }

    fn exists(&self) -> Vec<&PathBuf> {
        self.cgroup.dirs().values().filter(|dir| dir.exists()).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.cgroup.kill_all(libc::SIGKILL);
        let _ = self.cgroup.remove();
    }
}

/// A process of a test, which does not outlive it.
struct Running(Child);

impl Running {
    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// How it ended: its exit code, or the negated signal.
    fn end(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = self.0.wait().expect("wait");
        status.code().unwrap_or_else(|| -status.signal().expect("signal"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
