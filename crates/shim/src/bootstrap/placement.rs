//! Where the shim's own process belongs: its score for the OOM killer, its cgroup, its core scheduling cookie. All is
//! inherited by the copy that serves.

use std::path::{Path, PathBuf};

use libcontainer::error::{Error, Result, SysContext};
use libcontainer::host::CgroupFacts;
use libcontainer::process::own;

use crate::options::Options;

/// The highest score (proc_pid_oom_score_adj(5)).
const MOST: i32 = 1000;
const OWN_SCORE: &str = "/proc/self/oom_score_adj";
/// Set by containerd, if its configuration asks for core scheduling.
const CORE_VARIABLE: &str = "SCHED_CORE";

/// Puts this process where containerd and the options want it.
///
/// # Errors
/// If the kernel does not let it.
pub fn place(options: &Options) -> Result<()> {
    if !options.shim_cgroup.is_empty() {
        join_cgroup(&options.shim_cgroup)?;
    }
    if std::env::var_os(CORE_VARIABLE).is_some_and(|value| !value.is_empty()) {
        own::own_core_cookie()?;
    }
    sacrifice_before_containerd()
}

/// A shim is to be killed before containerd, which can start it again, and after the containers.
fn sacrifice_before_containerd() -> Result<()> {
    let containerd = rustix::process::getppid().map_or(0, |parent| parent.as_raw_pid());
    let score = |path: String| {
        let text = std::fs::read_to_string(&path).sys("read", path)?;
        text.trim().parse::<i32>().map_err(|_| Error::unsupported("oom_score_adj holds no number"))
    };
    let own = score(OWN_SCORE.to_owned())?;
    let wanted = (score(format!("/proc/{containerd}/oom_score_adj"))? + 1).min(MOST);
    if wanted <= own {
        return Ok(());
    }
    std::fs::write(OWN_SCORE, wanted.to_string()).sys("write", OWN_SCORE)
}

/// Joins the cgroup of this path in every hierarchy that has it: there has to be one.
fn join_cgroup(path: &str) -> Result<()> {
    let facts = CgroupFacts::gather()?;
    let relative = Path::new(path.trim_start_matches('/'));
    let directories: Vec<PathBuf> =
        facts.v1.iter().chain(&facts.v2).map(|hierarchy| hierarchy.mountpoint.join(relative)).collect();
    let mut joined = false;
    for directory in directories.iter().filter(|directory| directory.is_dir()) {
        let file = directory.join("cgroup.procs");
        std::fs::write(&file, "0").sys("write", file.display()).map_err(|error| error.within("ShimCgroup"))?;
        joined = true;
    }
    match joined {
        true => Ok(()),
        false => Err(Error::invalid("ShimCgroup", format!("there is no cgroup {path}")).remedy("make it first")),
    }
}
