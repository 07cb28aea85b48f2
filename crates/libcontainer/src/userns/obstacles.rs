//! Why this host does not let a user have a user namespace.

use rustix::io::Errno;

use crate::error::{Error, Kind};
use crate::host::read_file;

/// A sysctl with which user namespaces are kept from users, the value that does so, and the one that does not.
const SYSCTLS: [(&str, &str, &str, &str); 3] = [
    ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", "0", "15000"),
    // Debian's, and those that follow it.
    ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", "0", "1"),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "0",
    ),
];

/// Names what keeps user namespaces from this user, if that is why making one, or its first use, failed.
pub fn explain(error: Error) -> Error {
    if !matches!(error.errno(), Some(Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS)) {
        return error;
    }
    let read = &|path: &str| read_file(path).ok().and_then(|text| String::from_utf8(text).ok());
    match obstacle(read).or_else(|| confined(read)) {
        Some((cause, remedy)) => error.of_kind(Kind::Unsupported).cause(cause).remedy(remedy),
        None if error.errno() == Some(Errno::NOSPC) => error
            .cause("a limit on user namespaces is reached (user.max_user_namespaces, or 32 inside each other)")
            .remedy("raise it: sysctl user.max_user_namespaces"),
        None => error.cause("the kernel, a seccomp filter or a security module does not let this user have one"),
    }
}

fn obstacle(read: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let (name, _, value, other) =
        SYSCTLS.into_iter().find(|(_, path, value, _)| read(path).is_some_and(|text| text.trim_end() == *value))?;
    let profile = if name.contains("apparmor") { ", or give creel an AppArmor profile with \"userns,\"" } else { "" };
    let cause = format!("users may not have user namespaces here: {name} is {value}");
    Some((cause, format!("sysctl {name}={other}, as root{profile}")))
}

/// AppArmor's profile of this process, of which user namespaces take a rule of their own since Linux 6.7.
fn confined(read: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let label = read("/proc/self/attr/apparmor/current")?;
    let profile = label.trim_end().strip_suffix(" (enforce)")?;
    let cause =
        format!("AppArmor's profile \"{profile}\", which confines the runtime, does not let it make user namespaces");
    Some((cause, "add the rule \"userns,\" to the profile".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_obstacle_is_named_with_its_remedy() {
        for (name, path, value, other) in SYSCTLS {
            let read = |asked: &str| (asked == path).then(|| format!("{value}\n"));
            let (cause, remedy) = obstacle(read).expect(name);
            assert!(cause.contains(name) && remedy.contains(&format!("{name}={other}")), "{cause} {remedy}");
            assert_eq!(obstacle(|asked: &str| (asked == path).then(|| format!("{other}\n"))), None);
        }
        assert_eq!(obstacle(|_: &str| None), None);
    }

    #[test]
    fn a_profile_is_named() {
        let read = |label: &'static str| move |_: &str| Some(label.to_owned());
        let (cause, remedy) = confined(read("own (enforce)\n")).expect("confined");
        assert!(cause.contains("\"own\"") && remedy.contains("\"userns,\""), "{cause} {remedy}");
        for label in ["unconfined\n", "own (complain)\n", ""] {
            assert_eq!(confined(read(label)), None);
        }
        assert_eq!(confined(|_: &str| None), None);
    }

    #[test]
    fn other_failures_are_left_alone() {
        let error = Error::system("write", "uid_map", Errno::INVAL);
        assert_eq!(explain(error.clone()), error);
    }
}
