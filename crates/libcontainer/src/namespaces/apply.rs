//! Opening, joining and making namespaces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::plan::{Join, Kind, NamespacesPlan};
use crate::error::{During, Error, Phase, Result, SysContext};
use crate::host::HostProc;
use crate::sys;

/// A namespace that was opened on the host and checked to be of its kind.
#[derive(Debug)]
pub struct OpenNamespace {
    kind: Kind,
    fd: OwnedFd,
}

impl OpenNamespace {
    /// Itself, if it is of this kind.
    pub fn of_kind(&self, kind: Kind) -> Option<BorrowedFd<'_>> {
        (self.kind == kind).then(|| self.fd.as_fd())
    }
}

/// Opens every namespace that the plan joins, before any process of the container exists.
///
/// # Errors
/// Names the field and the path, if it cannot be opened or is of another kind.
pub fn open(plan: &NamespacesPlan) -> Result<Vec<OpenNamespace>> {
    plan.join.iter().map(open_one).collect::<Result<_>>().during(Phase::Namespaces)
}

fn open_one(join: &Join) -> Result<OpenNamespace> {
    let field = || format!("linux.namespaces[{}].path", join.index);
    let fd = rustix::fs::open(&join.path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .sys("open", join.path.display())
        .within(field)?;
    let kind = match sys::namespace::kind_of(fd.as_fd()) {
        Err(Errno::NOTTY) => None,
        other => Some(other.sys("ioctl(NS_GET_NSTYPE)", join.path.display()).within(field)?),
    };
    if kind == Some(join.kind.flag()) {
        return Ok(OpenNamespace { kind: join.kind, fd });
    }
    let is = match kind.and_then(|flag| Kind::ALL.into_iter().find(|kind| kind.flag() == flag)) {
        Some(kind) => format!("a {} namespace", kind.name()),
        None => "no namespace".to_owned(),
    };
    let why = format!("{} is {is}, wanted is a {} namespace", join.path.display(), join.kind.name());
    Err(Error::invalid(field(), why))
}

/// Moves this process into the opened namespaces, in the order of the plan: PID (which takes effect for its children), the
/// others, user. What a runtime that is not root may not join before, it may as root of that user namespace, to which it
/// then belongs.
///
/// # Errors
/// If one belongs to a user namespace in which this process has no privileges.
pub fn join(namespaces: &[OpenNamespace]) -> Result<()> {
    let joins_user = namespaces.iter().any(|namespace| namespace.kind == Kind::User);
    let mut later = Vec::new();
    for namespace in namespaces {
        match enter(namespace) {
            Err(error) if error.errno() == Some(Errno::PERM) && joins_user && namespace.kind != Kind::User => {
                later.push(namespace);
            }
            result => result?,
        }
    }
    later.into_iter().try_for_each(enter)
}

fn enter(namespace: &OpenNamespace) -> Result<()> {
    sys::namespace::setns(namespace.fd.as_fd(), namespace.kind.flag())
        .sys("setns", namespace.kind.name())
        .map_err(|error| match error.errno() {
            Some(Errno::PERM) => error.cause("it takes CAP_SYS_ADMIN in the user namespace that it belongs to"),
            _ => error,
        })
        .during(Phase::Namespaces)
}

/// Moves this process into all namespaces that the plan does not leave to the runtime, of the process `pid`: one by one,
/// for kernels that do not take its pidfd, which serves here to tell whether it still was that process.
///
/// # Errors
/// If it has ended; those of setns(2).
pub fn join_all_of(plan: &NamespacesPlan, pid: i32, pidfd: impl AsFd, proc: &HostProc) -> Result<()> {
    // As setns(2) with its pidfd says it.
    let ended = || Error::system("setns", "the container's namespaces", Errno::SRCH).during(Phase::Namespaces);
    let open = |kind: Kind| {
        let path = format!("{pid}/ns/{}", kind.file());
        match rustix::fs::openat(proc, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            // It gives its namespaces up before its pidfd tells that it has ended.
            Err(Errno::NOENT | Errno::SRCH) => Err(ended()),
            opened => opened.sys("openat", format_args!("/proc/{path}")).during(Phase::Namespaces),
        }
        .map(|fd| OpenNamespace { kind, fd })
    };
    let kinds = Kind::ALL.into_iter().filter(|kind| plan.has(*kind));
    let namespaces = kinds.map(open).collect::<Result<Vec<_>>>()?;
    let mut watched = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    if rustix::event::poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).sys("poll", "pidfd")? > 0 {
        return Err(ended());
    }
    join(&namespaces)
}

/// Makes the new namespaces that the calling process was not born with. They belong to the user namespace that it is in,
/// so that the container's root may administer them.
pub fn unshare(plan: &NamespacesPlan) -> Result<()> {
    let flags = plan.unshare_flags();
    if flags == 0 {
        return Ok(());
    }
    let names = || plan.new.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    sys::namespace::unshare(flags).map_err(|errno| {
        let error = Error::system("unshare", names(), errno).during(Phase::Namespaces);
        match errno {
            Errno::PERM => error.cause("making namespaces needs CAP_SYS_ADMIN"),
            Errno::NOSPC => error.cause("a limit in /proc/sys/user/max_*_namespaces is reached"),
            _ => error,
        }
    })
}

/// Brings up `lo` in the network namespace that this process has just made, as every runtime does.
pub fn bring_up_loopback() -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .sys("socket", "AF_INET")
        .during(Phase::Namespaces)?;
    let up = sys::namespace::loopback_up(socket.as_fd()).sys("ioctl(SIOCSIFFLAGS)", "lo").during(Phase::Namespaces);
    up.map_err(|error| match error.errno() {
        Some(Errno::PERM) => error
            .cause("setting up a network needs CAP_NET_ADMIN, which root of an outer container may lack")
            .remedy("leave out the network namespace, or have a user namespace of the container's own: creel spec --rootless"),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_own_thread, is_root};

    fn plan_of(kind: Kind, path: &str) -> NamespacesPlan {
        NamespacesPlan { new: vec![], join: vec![Join { kind, path: path.into(), index: 0 }] }
    }

    #[test]
    fn a_namespace_of_another_kind_is_refused() {
        let error = open(&plan_of(Kind::Ipc, "/proc/self/ns/net")).expect_err("a network namespace").to_string();
        assert!(error.contains("linux.namespaces[0].path: /proc/self/ns/net is a network namespace"), "{error}");
        let error = open(&plan_of(Kind::Ipc, "/dev/null")).expect_err("a device").to_string();
        assert!(error.contains("/dev/null is no namespace"), "{error}");
        let error = open(&plan_of(Kind::Ipc, "/proc/self/ns/none")).expect_err("missing").to_string();
        assert!(error.contains("no such file or directory"), "{error}");
    }

    #[test]
    fn a_new_network_namespace_has_its_loopback_up() {
        if !is_root("a_new_network_namespace_has_its_loopback_up") {
            return;
        }
        in_own_thread(|| {
            unshare(&NamespacesPlan { new: vec![Kind::Network], join: vec![] }).expect("unshare");
            bring_up_loopback().expect("lo");
            std::net::TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| std::net::TcpStream::connect(listener.local_addr().expect("address")))
                .expect("loopback works");
        });
    }

    #[test]
    fn an_open_namespace_can_be_joined() {
        if !is_root("an_open_namespace_can_be_joined") {
            return;
        }
        in_own_thread(|| {
            let before = std::fs::read_link("/proc/thread-self/ns/uts").expect("before");
            let own = open(&plan_of(Kind::Uts, "/proc/thread-self/ns/uts")).expect("open");
            unshare(&NamespacesPlan { new: vec![Kind::Uts], join: vec![] }).expect("unshare");
            assert_ne!(std::fs::read_link("/proc/thread-self/ns/uts").expect("between"), before);
            join(&own).expect("join");
            assert_eq!(std::fs::read_link("/proc/thread-self/ns/uts").expect("after"), before);
        });
    }
}
