//! The process that `exec` asks for: the container's own, changed by flags.

use anyhow::{Context as _, Result, bail};
use libcontainer::spec::Process;

use crate::cli::Exec;

/// `configured` with the command and the flags of `exec` applied.
///
/// # Errors
/// If there is no command, or a user or group is not a number.
pub fn from_flags(configured: Process, flags: &Exec) -> Result<Process> {
    let mut process = configured;
    if flags.args.is_empty() {
        bail!("exec args cannot be empty");
    }
    process.args.clone_from(&flags.args);
    replace(&mut process.cwd, flags.cwd.as_ref());
    replace(&mut process.apparmor_profile, flags.apparmor.as_ref());
    replace(&mut process.selinux_label, flags.process_label.as_ref());
    add_capabilities(&mut process, &flags.cap);
    process.env.extend(flags.env.iter().cloned());
    process.terminal = flags.tty;
    process.no_new_privileges = flags.no_new_privs.unwrap_or(process.no_new_privileges);
    if let Some(user) = flags.user.as_ref().filter(|user| !user.is_empty()) {
        let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
        if let Some(gid) = gid {
            process.user.gid = gid.parse().with_context(|| format!("bad gid {gid:?}"))?;
        }
        process.user.uid = uid.parse().with_context(|| format!("bad uid {uid:?}"))?;
    }
    for gid in &flags.additional_gids {
        let valid = u32::try_from(*gid).ok();
        process.user.additional_gids.push(valid.with_context(|| format!("additional-gids: {gid} is no group id"))?);
    }
    Ok(process)
}

fn replace(value: &mut String, flag: Option<&String>) {
    if let Some(given) = flag.filter(|given| !given.is_empty()) {
        value.clone_from(given);
    }
}

/// Never inheritable: a process that gives up its user must not hand them on (CVE-2022-29162). Ambient ones need
/// inheritable ones, so that set only grows where the container has some.
fn add_capabilities(process: &mut Process, added: &[String]) {
    if added.is_empty() {
        return;
    }
    let sets = process.capabilities.get_or_insert_default();
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.extend_from_slice(added);
    }
    if !sets.inheritable.is_empty() {
        sets.ambient.extend_from_slice(added);
    }
}

/// `--cgroup`: either one path (v2), or paths each after a list of controllers (v1). Gives (controller, path) pairs; for
/// v2 the controller is empty.
///
/// # Errors
/// If a controller is missing or named twice.
pub fn cgroups(flags: &[String]) -> Result<Vec<(String, String)>> {
    let mut result: Vec<(String, String)> = Vec::with_capacity(flags.len());
    for flag in flags {
        let Some((controllers, path)) = flag.split_once(':') else {
            if flags.len() != 1 {
                bail!("invalid --cgroup argument: {flag} (missing <controller>: prefix)");
            }
            return Ok(vec![(String::new(), flag.clone())]);
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                bail!("invalid --cgroup argument: {flag} (empty <controller> prefix)");
            }
            if result.iter().any(|(known, _)| known == controller) {
                bail!("invalid --cgroup argument(s): controller {controller} specified multiple times");
            }
            result.push((controller.to_owned(), path.to_owned()));
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use libcontainer::spec::{Capabilities, User};

    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn configured() -> Process {
        Process {
            terminal: true,
            user: User { uid: 1, gid: 2, umask: Some(0o27), additional_gids: vec![3] },
            args: strings(&["sh"]),
            env: strings(&["A=1"]),
            cwd: "/work".into(),
            no_new_privileges: true,
            ..Process::default()
        }
    }

    fn flags(args: &[&str]) -> Exec {
        Exec { args: strings(args), ..Exec::default() }
    }

    #[test]
    fn without_flags_only_the_command_and_the_terminal_change() {
        let process = from_flags(configured(), &flags(&["ls", "-l"])).expect("valid");
        assert_eq!(process.args, ["ls", "-l"]);
        assert!(!process.terminal, "a terminal is only given when asked for");
        assert!(process.no_new_privileges);
        assert_eq!((process.cwd.as_str(), &process.env[..]), ("/work", &strings(&["A=1"])[..]));
        assert_eq!(process.user, configured().user);
        assert!(process.capabilities.is_none());
    }

    #[test]
    fn flags_replace_and_append() {
        let flags = Exec {
            cwd: Some("/tmp".into()),
            env: strings(&["B=2", "A=3"]),
            tty: true,
            user: Some("5:6".into()),
            additional_gids: vec![7, 8],
            no_new_privs: Some(false),
            apparmor: Some("profile".into()),
            process_label: Some("label".into()),
            ..flags(&["id"])
        };
        let process = from_flags(configured(), &flags).expect("valid");
        assert_eq!(process.env, ["A=1", "B=2", "A=3"]);
        let user = User { uid: 5, gid: 6, umask: Some(0o27), additional_gids: vec![3, 7, 8] };
        assert_eq!((process.user, process.terminal, process.no_new_privileges), (user, true, false));
        assert_eq!((process.cwd.as_str(), process.apparmor_profile.as_str()), ("/tmp", "profile"));
        assert_eq!(process.selinux_label, "label");
    }

    #[test]
    fn a_user_alone_keeps_the_group() {
        let with = |user: &str| from_flags(configured(), &Exec { user: Some(user.into()), ..flags(&["id"]) });
        let user = with("9").expect("valid").user;
        assert_eq!((user.uid, user.gid), (9, 2));
        for (user, part) in [("root", "bad uid"), ("1:staff", "bad gid"), ("-1", "bad uid"), ("1:", "bad gid")] {
            let error = with(user).expect_err(user).to_string();
            assert!(error.starts_with(part), "{error}");
        }
        let error = from_flags(configured(), &Exec { additional_gids: vec![-4], ..flags(&["id"]) });
        assert!(error.expect_err("negative").to_string().contains("-4"));
    }

    #[test]
    fn added_capabilities_are_never_inheritable() {
        let add = |sets: Option<Capabilities>| {
            let process = Process { capabilities: sets, ..configured() };
            let flags = Exec { cap: strings(&["CAP_NET_RAW"]), ..flags(&["id"]) };
            from_flags(process, &flags).expect("valid").capabilities.expect("sets")
        };
        let sets = add(None);
        for set in [&sets.bounding, &sets.effective, &sets.permitted] {
            assert_eq!(set[..], ["CAP_NET_RAW"]);
        }
        assert!(sets.inheritable.is_empty() && sets.ambient.is_empty());

        let sets = add(Some(Capabilities { inheritable: strings(&["CAP_KILL"]), ..Capabilities::default() }));
        assert_eq!(sets.inheritable, ["CAP_KILL"]);
        assert_eq!(sets.ambient, ["CAP_NET_RAW"]);
    }

    #[test]
    fn cgroups_by_controller_or_one_for_all() {
        let pairs = |flags: &[&str]| cgroups(&strings(flags)).map_err(|error| error.to_string());
        let pair = |controller: &str, path: &str| (controller.to_owned(), path.to_owned());
        assert_eq!(pairs(&[]), Ok(vec![]));
        assert_eq!(pairs(&["sub"]), Ok(vec![pair("", "sub")]));
        assert_eq!(
            pairs(&["cpu,cpuacct:a", "memory:b"]),
            Ok(vec![pair("cpu", "a"), pair("cpuacct", "a"), pair("memory", "b")])
        );
        for (flags, part) in [
            (&["sub", "memory:b"][..], "missing <controller>: prefix"),
            (&[":b"], "empty <controller> prefix"),
            (&["cpu,:b"], "empty <controller> prefix"),
            (&["cpu:a", "cpu:b"], "controller cpu specified multiple times"),
        ] {
            let error = pairs(flags).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
