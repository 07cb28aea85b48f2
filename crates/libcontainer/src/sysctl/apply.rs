//! Writing kernel parameters.

use std::path::Path;

use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;

use super::plan::{SysctlPlan, SysctlWrite};
use crate::error::{Error, Kind, Result};
use crate::host::HostProc;
use crate::paths::open_within;

/// Writes the parameters into the namespaces that the calling thread is in: the kernel looks them up anew at each open.
///
/// # Errors
/// Names the parameter, the value, and why the kernel refused it.
pub fn apply(plan: &SysctlPlan, proc: &HostProc) -> Result<()> {
    plan.writes.iter().try_for_each(|write| {
        set(write, proc).map_err(|error| error.within(format!("linux.sysctl[\"{}\"]", write.key)))
    })
}

fn set(write: &SysctlWrite, proc: &HostProc) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // All of /proc is one mount; what else is mounted there was not put there by the kernel.
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let below_proc = format!("sys/{}", write.path);
    let path = || format!("/proc/{below_proc}");
    let file =
        rustix::io::retry_on_intr(|| open_within(proc, Path::new(&below_proc), flags, inside)).map_err(|errno| {
            let error = Error::system("openat2", path(), errno);
            match errno {
                Errno::NOENT => error.cause("this kernel, or this namespace, has no such parameter"),
                Errno::ROFS => error.cause("/proc/sys is read-only here, as in a container that is not privileged"),
                Errno::ACCESS => error.cause("the parameter is read-only, or is not the container's user namespace's"),
                _ => error,
            }
        })?;
    let written = rustix::io::write(&file, write.value.as_bytes()).map_err(|errno| {
        let error = Error::system("write", format!("{} = \"{}\"", path(), write.value), errno);
        if errno == Errno::INVAL { error.cause("the kernel does not accept this value") } else { error }
    })?;
    if written != write.value.len() {
        let what = format!("{} = \"{}\": the kernel took only {written} bytes", path(), write.value);
        return Err(Error::new(Kind::System, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Owned, plan};
    use super::*;
    use crate::sys::namespace::unshare;
    use crate::testing::{in_own_thread, in_private_mounts, is_root};

    const ALL: Owned = Owned { ipc: true, network: true, uts: true, user: true };

    fn planned(pairs: &[(&str, &str)]) -> SysctlPlan {
        let pairs = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        plan(&BTreeMap::from_iter(pairs), ALL, "").expect("plan")
    }

    fn read(path: &str) -> String {
        let path = format!("/proc/sys/{path}");
        std::fs::read_to_string(&path).expect(&path).trim().to_owned()
    }

    /// `body` gets the host's /proc, opened before the thread entered network, IPC and UTS namespaces of its own.
    fn in_namespaces(test: &str, body: impl FnOnce(&HostProc) + Send + 'static) {
        if !is_root(test) {
            return;
        }
        in_own_thread(|| {
            let proc = HostProc::open().expect("open");
            unshare((libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) as u64).expect("unshare");
            body(&proc);
        });
    }

    #[test]
    fn the_values_are_those_of_the_threads_own_namespaces() {
        let cases = [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/ping_group_range", "7\t9"),
            ("net/ipv6/conf/lo/disable_ipv6", "1"),
            ("kernel/shmmni", "123"),
            ("kernel/shm_rmid_forced", "1"),
            ("kernel/sem", "251\t32001\t101\t129"),
            ("kernel/domainname", "creel.test"),
        ];
        let paths = cases.map(|(path, _)| path);
        let before = paths.map(read);
        in_namespaces("the_values_are_those_of_the_threads_own_namespaces", move |proc| {
            apply(&planned(&cases), proc).expect("apply");
            assert_eq!(paths.map(read), cases.map(|(_, value)| value));
        });
        assert_eq!(paths.map(read), before, "the host keeps its own");
    }

    #[test]
    fn what_the_kernel_refuses_is_told() {
        in_namespaces("what_the_kernel_refuses_is_told", |proc| {
            let refusal = |key, value| apply(&planned(&[(key, value)]), proc).expect_err(key).to_string();
            assert_eq!(
                refusal("net.ipv4.no_such_thing", "1"),
                "linux.sysctl[\"net.ipv4.no_such_thing\"]: /proc/sys/net/ipv4/no_such_thing: openat2: no such file or \
                 directory: this kernel, or this namespace, has no such parameter"
            );
            assert_eq!(
                refusal("net.ipv4.ip_forward", "many"),
                "linux.sysctl[\"net.ipv4.ip_forward\"]: /proc/sys/net/ipv4/ip_forward = \"many\": write: invalid argument: \
                 the kernel does not accept this value"
            );
            assert!(refusal("net.ipv4", "1").contains("openat2: is a directory"));
        });
    }

    #[test]
    fn a_mount_inside_proc_sys_is_not_written_through() {
        if !is_root("a_mount_inside_proc_sys_is_not_written_through") {
            return;
        }
        in_private_mounts(|| {
            let proc = HostProc::open().expect("open");
            unshare(libc::CLONE_NEWNET as u64).expect("unshare");
            rustix::mount::mount_bind("/proc/sys/net/ipv6", "/proc/sys/net/ipv4").expect("bind");
            let error = apply(&planned(&[("net.ipv4.ip_forward", "1")]), &proc).expect_err("a mount");
            assert_eq!(error.errno(), Some(Errno::XDEV), "{error}");
        });
    }

    #[test]
    fn something_else_on_proc_sys_is_refused() {
        if !is_root("something_else_on_proc_sys_is_refused") {
            return;
        }
        in_private_mounts(|| {
            let nothing = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", "/proc/sys", "tmpfs", nothing, None).expect("mount");
            let proc = HostProc::open().expect("open");
            let error = apply(&planned(&[("kernel.shmmni", "1")]), &proc).expect_err("a tmpfs");
            assert_eq!(error.errno(), Some(Errno::XDEV), "{error}");
        });
    }
}
