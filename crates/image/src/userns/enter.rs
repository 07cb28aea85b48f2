//! Going into the namespace.
//!
//! ```text
//! this process                           its helper, `creel-image map-ids`, which stays outside
//!   starts the helper             ->       waits for maps on its stdin
//!   unshare(NEWUSER | NEWNS)
//!   writes the maps to it         ->       newuidmap PARENT …, newgidmap PARENT …
//!   waits for its end             <-       exits
//! ```
//!
//! So it stays one process, with the terminal, the signals and the parent that it had.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use super::{Maps, Range, ranges};
use crate::error::{Error, Kind, Result, SysContext};
use crate::sys;

/// What the helper exits with if no map was written; then another one still can be.
const NONE_WRITTEN: i32 = 3;

/// What came of it.
#[derive(Debug, Default)]
pub struct Entered {
    /// The namespace's ids; nothing if the process is where it was.
    pub maps: Option<Maps>,
    /// What the user should know about how it came out.
    pub note: Option<String>,
}

/// Takes a process that is not root into a user namespace of its own, as root of that. Root stays where it is.
///
/// # Errors
/// If the process is stuck half-way, without ids. Where a namespace cannot be had at all, it stays outside and says so.
pub fn enter() -> Result<Entered> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() {
        return Ok(Entered::default());
    }
    let maps = ranges::of_user(uid.as_raw(), gid.as_raw());
    let helper = maps.as_ref().map(|_| Helper::start()).transpose()?;
    if let Err(errno) = sys::unshare_user_and_mounts() {
        let error = Error::system("unshare", "no user namespace could be made", errno);
        let error = error.remedy("allow users to make some: sysctl user.max_user_namespaces, and kernel.apparmor_restrict_unprivileged_userns");
        return Ok(Entered { maps: None, note: Some(error.to_string()) });
    }
    let mut note = None;
    if let (Some(maps), Some(helper)) = (maps, helper) {
        match helper.map(&maps)? {
            None => return Ok(Entered { maps: Some(maps), note: None }),
            why => note = why,
        }
    }
    let alone = ranges::alone(uid.as_raw(), gid.as_raw());
    map_alone(&alone)?;
    Ok(Entered { maps: Some(alone), note })
}

/// Anyone may map himself, if he gives up setgroups(2) (user_namespaces(7)).
fn map_alone(maps: &Maps) -> Result<()> {
    let write = |name: &str, text: &str| std::fs::write(format!("/proc/self/{name}"), text).sys("write", name);
    write("setgroups", "deny")?;
    for (name, ranges) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
        for Range { inside, outside, size } in ranges {
            write(name, &format!("{inside} {outside} {size}\n"))?;
        }
    }
    Ok(())
}

/// The process that writes the maps from outside.
struct Helper(Child);

impl Helper {
    fn start() -> Result<Helper> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("map-ids").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().sys("execve", "/proc/self/exe").map(Helper)
    }

    /// Gives nothing if the maps are written, and why not if none is.
    fn map(mut self, maps: &Maps) -> Result<Option<String>> {
        let text = serde_json::to_vec(maps).map_err(|error| Error::new(Kind::System, error.to_string()))?;
        if let Some(mut stdin) = self.0.stdin.take() {
            stdin.write_all(&text).sys("write", "the helper that maps ids")?;
        }
        let mut said = String::new();
        if let Some(stderr) = &mut self.0.stderr {
            stderr.read_to_string(&mut said).sys("read", "the helper that maps ids")?;
        }
        let said = said.trim().replace('\n', ": ");
        let remedy = "install newuidmap and newgidmap (package uidmap), and see that /etc/subuid and /etc/subgid give you these ids";
        let status = self.0.wait().sys("waitid", "the helper that maps ids")?;
        match status.code() {
            Some(0) => Ok(None),
            Some(NONE_WRITTEN) => Ok(Some(format!("your ranges of ids could not be mapped: {said} ({remedy})"))),
            _ => {
                Err(Error::new(Kind::System, format!("your ranges of ids could not be mapped: {said}")).remedy(remedy))
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It ends by itself once nobody writes to it; a helper that has ended already is no error.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The helper: reads maps from `input`, and has them written for its parent. Gives the code to exit with.
pub fn write_maps(mut input: impl Read) -> Result<u8> {
    let mut text = Vec::new();
    input.read_to_end(&mut text).sys("read", "stdin")?;
    let (Some(parent), false) = (rustix::process::getppid(), text.is_empty()) else { return Ok(0) };
    let maps: Maps = serde_json::from_slice(&text).map_err(|error| Error::corrupt("stdin", error))?;
    let parent = parent.as_raw_nonzero().to_string();
    for (program, ranges, otherwise) in [("newuidmap", &maps.uids, NONE_WRITTEN), ("newgidmap", &maps.gids, 1)] {
        let mut command = Command::new(program);
        command
            .arg(&parent)
            .args(ranges.iter().flat_map(|it| [it.inside, it.outside, it.size].map(|id| id.to_string())));
        let failed = match command.status() {
            Ok(status) if status.success() => continue,
            // It has said why.
            Ok(status) => format!("{program} ended with {status}"),
            Err(error) => format!("{program}: {error}"),
        };
        writeln!(std::io::stderr(), "{failed}").sys("write", "stderr")?;
        return Ok(otherwise as u8);
    }
    Ok(0)
}
