//! Which kernel parameters a container may have: those of namespaces that it does not share with the host.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, Result};

/// The parameters of an IPC namespace besides fs.mqueue.* (ipc_namespaces(7)).
const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// Which namespaces are the container's and not the runtime's own: new ones, and joined ones that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Owned {
    pub ipc: bool,
    pub network: bool,
    pub uts: bool,
    pub user: bool,
}

/// What to write, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SysctlPlan {
    /// One write per parameter.
    pub writes: Vec<SysctlWrite>,
}

/// One parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SysctlWrite {
    /// As config.json spells it, for messages.
    pub key: String,
    /// Its file below /proc/sys: relative, without `.` and `..`.
    pub path: String,
    /// The text to write.
    pub value: String,
}

/// Checks every parameter of `linux.sysctl`; `domainname` is the spec's field of that name, which kernel.domainname
/// must not contradict.
///
/// Keys are spelt as sysctl(8) accepts them: `net.ipv4.conf.eno2/100.rp_filter` or `net/ipv4/conf/eno2.100/rp_filter`.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid), naming the key, for a parameter that is the host's too.
pub fn plan(sysctl: &BTreeMap<String, String>, owned: Owned, domainname: &str) -> Result<SysctlPlan> {
    let write = |(key, value): (&String, &String)| {
        let path = path_of(key);
        match check(&path, value, owned, domainname) {
            Ok(()) => Ok(SysctlWrite { key: key.clone(), path, value: value.clone() }),
            Err(wrong) => {
                let error = Error::invalid(format!("linux.sysctl[\"{key}\"]"), wrong.why);
                Err(if wrong.remedy.is_empty() { error } else { error.remedy(wrong.remedy) })
            }
        }
    };
    Ok(SysctlPlan { writes: sysctl.iter().map(write).collect::<Result<_>>()? })
}

/// The file of `key` below /proc/sys. The first separator tells which of the two is in use; the other one then stands
/// for itself within a name.
fn path_of(key: &str) -> String {
    let dotted = key.find(['.', '/']).is_some_and(|first| key[first..].starts_with('.'));
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        letter => letter,
    };
    if dotted { key.chars().map(swap).collect() } else { key.to_owned() }
}

struct Wrong {
    why: String,
    remedy: &'static str,
}

fn check(path: &str, value: &str, owned: Owned, domainname: &str) -> Result<(), Wrong> {
    let wrong = |why: &str, remedy| Err(Wrong { why: why.to_owned(), remedy });
    if path.split('/').any(|name| matches!(name, "" | "." | "..")) || path.contains('\0') {
        return wrong("is not the name of a kernel parameter", "");
    }
    let (top, rest) = path.split_once('/').unwrap_or((path, ""));
    let (is_owned, namespace, remedy) = match (top, rest) {
        ("kernel", "hostname") => {
            return wrong("is not allowed as it conflicts with the OCI \"hostname\" field", "set hostname instead");
        }
        ("kernel", "domainname") if !domainname.is_empty() && domainname != value => {
            return wrong("contradicts the OCI \"domainname\" field", "set only one of the two");
        }
        ("kernel", "domainname") => (owned.uts, "UTS", "add a uts namespace"),
        ("kernel", name) if IPC.contains(&name) => (owned.ipc, "IPC", "add an ipc namespace"),
        ("fs", name) if name.starts_with("mqueue/") => (owned.ipc, "IPC", "add an ipc namespace"),
        ("net", name) if !name.is_empty() => (owned.network, "network", "add a network namespace"),
        // Without a user namespace these are limits of the whole host.
        ("user", name) if !name.is_empty() => (owned.user, "user", "add a user namespace"),
        _ => return wrong("is not in a separate kernel namespace: it would change the host", ""),
    };
    if is_owned {
        return Ok(());
    }
    wrong(&format!("is not allowed in the host's {namespace} namespace"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Owned = Owned { ipc: true, network: true, uts: true, user: true };
    const NONE: Owned = Owned { ipc: false, network: false, uts: false, user: false };

    fn planned(key: &str, owned: Owned, domainname: &str) -> Result<SysctlPlan> {
        plan(&BTreeMap::from([(key.to_owned(), "v".to_owned())]), owned, domainname)
    }

    fn refusal(key: &str, owned: Owned) -> String {
        planned(key, owned, "").expect_err(key).to_string()
    }

    #[test]
    fn both_spellings_lead_to_the_same_file() {
        let cases = [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
            ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ];
        for (key, path) in cases {
            let expected = SysctlWrite { key: key.into(), path: path.into(), value: "v".into() };
            assert_eq!(planned(key, ALL, "").expect(key).writes, [expected]);
        }
    }

    #[test]
    fn each_parameter_needs_its_namespace() {
        let ipc = IPC.map(|name| format!("kernel.{name}"));
        let mut cases: Vec<_> = ipc.iter().map(|key| (key.as_str(), Owned { ipc: true, ..NONE }, "IPC")).collect();
        cases.extend([
            ("fs.mqueue.msg_max", Owned { ipc: true, ..NONE }, "IPC"),
            ("net.core.somaxconn", Owned { network: true, ..NONE }, "network"),
            ("kernel.domainname", Owned { uts: true, ..NONE }, "UTS"),
            ("user.max_net_namespaces", Owned { user: true, ..NONE }, "user"),
        ]);
        for (key, needed, name) in cases {
            planned(key, needed, "").expect(key);
            let others = Owned { ipc: !needed.ipc, network: !needed.network, uts: !needed.uts, user: !needed.user };
            let error = refusal(key, others);
            assert!(
                error.starts_with(&format!("linux.sysctl[\"{key}\"]: is not allowed in the host's {name} namespace")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_the_host_shares_is_refused_whatever_the_namespaces() {
        let keys = [
            "kernel.panic",
            "vm.swappiness",
            "fs.file-max",
            "kernel",
            "net",
            "user",
            "fs.mqueue",
            "kernel.sem.x",
            "netx.y",
        ];
        for key in keys {
            assert!(refusal(key, ALL).contains("is not in a separate kernel namespace"), "{key}");
        }
    }

    #[test]
    fn keys_cannot_lead_out_of_proc_sys() {
        for key in
            ["", "/etc/passwd", "net..x", "net/../kernel/panic", "net.//.x", "net/./x", "net.", "net/ipv4/", "net.a\0b"]
        {
            assert!(refusal(key, ALL).contains("is not the name of a kernel parameter"), "{key}");
        }
    }

    #[test]
    fn the_fields_of_the_spec_go_before() {
        assert_eq!(
            refusal("kernel.hostname", ALL),
            "linux.sysctl[\"kernel.hostname\"]: is not allowed as it conflicts with the OCI \"hostname\" field (set hostname instead)"
        );
        planned("kernel.domainname", ALL, "v").expect("the same name");
        let error = planned("kernel.domainname", ALL, "w").expect_err("another name").to_string();
        assert!(error.contains("contradicts the OCI \"domainname\" field"), "{error}");
    }
}
