//! Workers: copies of the shim that do what may block or fail, and report.
//!
//! The shim has one thread and forks cheaply, so it is its own zygote (docs/adr/0007-the-shim-is-its-own-zygote.md): a worker calls the same library
//! entries as the command line, with the streams of the process as its own, and ends. What it started becomes the
//! shim's child then, since the shim is the subreaper. A worker that panics or hangs takes nothing with it; one whose
//! shim is killed dies as well, and leaves what `delete` finds.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libcontainer::process::own::{self, Forked};
use libcontainer::process::wait::{self, Ended};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::io::Role;
use crate::ttrpc::{Code, Status};

/// A report is shorter: the library cuts its errors.
const LONGEST_REPORT: usize = 64 * 1024;
/// Three streams with two descriptors each at most, and a terminal.
const MOST_DESCRIPTORS: usize = 8;

/// What a worker has done.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The process that it launched.
    pub pid: i32,
    /// The logger that it started.
    pub logger: Option<i32>,
    /// Whether the container has no PID namespace of its own.
    pub shares_pids: bool,
    /// For the log.
    pub warnings: Vec<String>,
    /// Descriptors for the shim to keep.
    #[serde(skip)]
    pub kept: Vec<(Role, OwnedFd)>,
}

/// The code of a worker that nobody knows anything of: it was killed, perhaps in the middle of its work. No work gives it.
pub const LOST: Code = Code::INTERNAL;

/// How a worker ended.
pub type Outcome = Result<Report, Status>;

#[derive(Serialize, Deserialize)]
enum Told {
    /// With what its descriptors are for.
    Done(Report, Vec<Role>),
    Failed(i32, String),
}

/// A worker that is under way.
#[derive(Debug)]
pub struct Worker {
    pid: Pid,
    pidfd: OwnedFd,
    channel: OwnedFd,
}

impl Worker {
    /// Has a copy of this process do `work`. In the copy no descriptor of the shim's is left.
    ///
    /// # Errors
    /// If there is no room for another process.
    pub fn start(work: impl FnOnce() -> Outcome) -> Result<Worker, Status> {
        let flags = SocketFlags::CLOEXEC;
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (ours, theirs) = pair.map_err(|errno| Status::new(Code::UNKNOWN, format!("socketpair: {errno}")))?;
        let shim = rustix::process::getpid();
        match own::fork()? {
            Forked::Parent(pid, pidfd) => Ok(Worker { pid, pidfd, channel: ours }),
            Forked::Child => {
                // As in the library: what its parent does not know of, nobody would find.
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                if rustix::process::getppid() != Some(shim) || own::close_all_but(&[theirs.as_fd()]).is_err() {
                    own::exit(1);
                }
                let outcome = work();
                let sent = tell(theirs.as_fd(), outcome);
                own::exit(u8::from(!sent));
            }
        }
    }

    /// The worker's pid.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Takes its report, which is there or will never be: to be called when the channel is readable.
    pub fn outcome(self) -> Outcome {
        match receive(self.channel.as_fd()) {
            Some(outcome) => outcome,
            None => Err(self.explain_death()),
        }
    }

    /// The channel has ended, so the worker is about to.
    fn explain_death(&self) -> Status {
        let how = match wait::reap(self.pidfd.as_fd()) {
            Ok(Ended::Exited(status)) => format!("it exited with status {status}"),
            Ok(Ended::Killed(signal)) => format!("it was killed by signal {signal}"),
            Err(error) => error.to_string(),
        };
        Status::new(LOST, format!("the worker ended without a report: {how}"))
    }
}

impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn tell(channel: BorrowedFd<'_>, outcome: Outcome) -> bool {
    let (told, kept) = match outcome {
        Ok(mut report) => {
            let kept = std::mem::take(&mut report.kept);
            let roles = kept.iter().map(|(role, _)| *role).collect();
            (Told::Done(report, roles), kept)
        }
        Err(status) => (Told::Failed(status.code as i32, status.message), Vec::new()),
    };
    let Ok(text) = serde_json::to_vec(&told) else { return false };
    let descriptors: Vec<BorrowedFd<'_>> = kept.iter().map(|(_, fd)| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(&descriptors));
    fits && rustix::net::sendmsg(channel, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL).is_ok()
}

fn receive(channel: BorrowedFd<'_>) -> Option<Outcome> {
    let mut text = vec![0u8; LONGEST_REPORT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(channel, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let length = received.ok().map(|message| message.bytes).filter(|length| *length > 0)?;
    let told = serde_json::from_slice(text.get(..length).unwrap_or_default());
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = descriptors.flatten().collect();
    Some(match told {
        Ok(Told::Done(mut report, roles)) => {
            report.kept = roles.into_iter().zip(descriptors).collect();
            Ok(report)
        }
        Ok(Told::Failed(code, message)) => Err(Status::new(code_of(code), message)),
        Err(error) => Err(Status::new(LOST, format!("the worker's report cannot be read: {error}"))),
    })
}

fn code_of(number: i32) -> Code {
    use containerd_shim_protos::protobuf::Enum;
    Code::from_i32(number).unwrap_or(Code::UNKNOWN)
}
