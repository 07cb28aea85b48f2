//! The one channel between the runtime (parent) and the container's process (child): a `SOCK_SEQPACKET` pair.
//!
//! ```text
//!   parent                          stage                    child (init or exec)
//!     │ ───────── clone3 ────────────▶│  only if it must join namespaces before (NamespacesPlan::needs_stage)
//!     │ ◀──── Cloned(pid) + pidfd ─────│──── clone3 ────────────▶│
//!     │                              exit                       │
//!     │ ───────────────────────────── Proceed ─────────────────▶│  after Cloned, and when a user namespace is mapped
//!     │ ◀──────────────────────────── Source(tree) ─────────────│  any number: what a user namespace's root may not
//!     │ ───────────────────────────── Tree + descriptor ───────▶│  reach, is cloned by the parent
//!     │ ◀──────────────────────────── RootfsReady ──────────────│  only if there are hooks to run outside, or devices
//!     │ ───────────────────────────── HooksDone ───────────────▶│  to move
//!     │ ◀──────────────────────────── Ready [+ console] ────────│
//!     │ ───────────────────────────── Run(seccomp filter) ─────▶│
//!     │ ◀──────────────────────────── Listening(descriptor) ────│  only if the filter asks an agent: the parent takes
//!     │ ───────────────────────────── Heard ───────────────────▶│  the descriptor and hands it over
//!     │ ◀──────────────────────────── end of file ──────────────│  success: it waits for start, or has executed
//!     │ ◀──────────────────────────── Failed(error) ────────────│  valid at any time instead of the above
//! ```
//!
//! The child inherits the plan and the descriptors with its copy of the parent's memory, so nothing of them is sent.
//! End of file towards the child means that the parent has died: the child exits, whatever it was doing.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

use crate::error::{Error, Kind, Result, SysContext};
use crate::rootfs::{HostTree, Idmap, Maps};

/// More than the longest message: a seccomp filter has at most 4,096 instructions of 8 bytes, an error is a few KiB.
const LARGEST: usize = 64 * 1024;

/// What is said over the channel.
#[derive(Debug)]
pub(crate) enum Message {
    /// Stage to parent: the child's pid, as the parent numbers it; its pidfd comes along.
    Cloned(i32),
    /// Parent to child: it is known who it is, or the ids of its user namespace are mapped.
    Proceed,
    /// Child to parent: a bind mount's source that it may not reach.
    Source(HostTree),
    /// Parent to child: the source, as a detached mount that comes along.
    Tree,
    /// Child to parent: the mounts are made, the root is not changed yet.
    RootfsReady,
    /// Parent to child: hooks outside the container have run.
    HooksDone,
    /// Child to parent: all is set up that needs no filter; the terminal's master may come along.
    Ready,
    /// Parent to child: state is saved, go on; the compiled seccomp filter, empty for none.
    Run(Vec<u8>),
    /// Child to parent: its filter is loaded, and this is its listener's number in the child.
    Listening(RawFd),
    /// Parent to child: the agent has the listener.
    Heard,
    /// It could not be done: the child's end, or the parent's answer to [`Message::Source`].
    Failed(Error),
}

/// One end of the channel.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Makes the pair: (parent's end, child's end), both close-on-exec, so that the child's exec is an end of file.
    pub(crate) fn pair() -> Result<(Channel, Channel)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .sys("socketpair", "the channel to the container's process")?;
        Ok((Channel(ours), Channel(theirs)))
    }

    /// Sends a message, with a descriptor if there is one to go with it.
    pub(crate) fn send(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
        let (tag, payload) = encode(message)?;
        let parts = [IoSlice::new(std::slice::from_ref(&tag)), IoSlice::new(&payload)];
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        rustix::net::sendmsg(self.0.as_fd(), &parts, &mut control, SendFlags::NOSIGNAL)
            .sys("sendmsg", "the channel")
            .map(drop)
    }

    /// Receives a message; `None` is the end of file. A [`Message::Failed`] becomes the error that it carries.
    pub(crate) fn receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>> {
        let mut bytes = vec![0; LARGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let parts = &mut [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(self.0.as_fd(), parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                // The second is told once if the other end was closed with something unread in it, before what that
                // end has said itself.
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                other => break other.sys("recvmsg", "the channel")?.bytes,
            }
        };
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let Some((tag, payload)) = bytes.get(..received).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        match decode(*tag, payload)? {
            Message::Failed(error) => Err(error),
            message => Ok(Some((message, descriptor))),
        }
    }
}

impl Channel {
    /// Sends a message and waits for an answer, by write(2) and read(2) alone: what a process does whose filter may have an
    /// agent decide about any other call, before that agent knows of it.
    pub(crate) fn ask_plainly(&self, message: &Message) -> Result<Option<Message>> {
        let (tag, payload) = encode(message)?;
        rustix::io::write(&self.0, &[&[tag], payload.as_slice()].concat()).sys("write", "the channel")?;
        let mut bytes = [0; 16];
        let received =
            rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut bytes)).sys("read", "the channel")?;
        let Some((tag, payload)) = bytes.get(..received).and_then(<[u8]>::split_first) else { return Ok(None) };
        decode(*tag, payload).map(Some)
    }

    /// Whether the other end is gone.
    pub(crate) fn is_closed(&self) -> bool {
        let mut watched = [PollFd::new(self, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut watched, Some(&now)).is_ok_and(|events| events > 0)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn encode(message: &Message) -> Result<(u8, Vec<u8>)> {
    Ok(match message {
        Message::Cloned(pid) => (b'c', pid.to_ne_bytes().to_vec()),
        Message::Proceed => (b'p', vec![]),
        Message::Source(tree) => (b's', encode_tree(tree)),
        Message::Tree => (b't', vec![]),
        Message::RootfsReady => (b'm', vec![]),
        Message::HooksDone => (b'h', vec![]),
        Message::Ready => (b'r', vec![]),
        Message::Run(filter) => (b'g', filter.clone()),
        Message::Listening(number) => (b'l', number.to_ne_bytes().to_vec()),
        Message::Heard => (b'k', vec![]),
        Message::Failed(error) => (b'e', serde_json::to_vec(error).map_err(|_| garbled())?),
    })
}

fn decode(tag: u8, payload: &[u8]) -> Result<Message> {
    Ok(match tag {
        b'c' => Message::Cloned(payload.try_into().map(i32::from_ne_bytes).map_err(|_| garbled())?),
        b'p' => Message::Proceed,
        b's' => Message::Source(decode_tree(payload).ok_or_else(garbled)?),
        b't' => Message::Tree,
        b'm' => Message::RootfsReady,
        b'h' => Message::HooksDone,
        b'r' => Message::Ready,
        b'g' => Message::Run(payload.to_vec()),
        b'l' => Message::Listening(payload.try_into().map(RawFd::from_ne_bytes).map_err(|_| garbled())?),
        b'k' => Message::Heard,
        b'e' => Message::Failed(serde_json::from_slice(payload).map_err(|_| garbled())?),
        _ => return Err(garbled()),
    })
}

/// Five flags, the place of the maps in the list, and the path.
fn encode_tree(tree: &HostTree) -> Vec<u8> {
    let (recursive, place) = match tree.idmap {
        Some(Idmap { recursive, maps: Maps::Listed(place) }) => (recursive, Some(place)),
        Some(Idmap { recursive, maps: Maps::Container }) => (recursive, None),
        None => (false, None),
    };
    let flags = [tree.recursive, tree.nofollow, tree.idmap.is_some(), recursive, place.is_some()].map(u8::from);
    [&flags, place.unwrap_or_default().to_ne_bytes().as_slice(), tree.path.as_os_str().as_bytes()].concat()
}

fn decode_tree(payload: &[u8]) -> Option<HostTree> {
    let (flags, rest) = payload.split_first_chunk::<5>()?;
    let (place, path) = rest.split_first_chunk::<4>()?;
    let [recursive, nofollow, is_mapped, all_mapped, is_listed] = flags.map(|flag| flag != 0);
    let maps = if is_listed { Maps::Listed(u32::from_ne_bytes(*place)) } else { Maps::Container };
    let idmap = is_mapped.then_some(Idmap { recursive: all_mapped, maps });
    Some(HostTree { path: OsStr::from_bytes(path).into(), recursive, nofollow, idmap })
}

/// A message as it comes from the other end, for fuzzing: what is understood is said again in the same bytes.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let Some((tag, payload)) = bytes.split_first() else { return };
    let Some(message) = crate::fuzzing::accepted(decode(*tag, payload)) else { return };
    let Ok((again, encoded)) = encode(&message) else { unreachable!("what was read can be said") };
    assert_eq!(again, *tag);
    let Ok(once_more) = decode(again, &encoded) else { unreachable!("what was said can be read") };
    assert_eq!(format!("{message:?}"), format!("{once_more:?}"));
    if let Message::Run(filter) = message {
        crate::fuzzing::accepted(crate::seccomp::Filter::from_bytes(&filter));
    }
}

/// The other end did not follow the protocol.
pub(crate) fn garbled() -> Error {
    Error::new(Kind::System, "the container's process and the runtime lost step with each other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;

    #[test]
    fn messages_and_descriptors_arrive_in_order() {
        let (parent, child) = Channel::pair().expect("pair");
        child.send(&Message::Cloned(42), Some(child.as_fd())).expect("send");
        child.send(&Message::Ready, None).expect("send");
        let (message, descriptor) = parent.receive().expect("receive").expect("a message");
        assert!(matches!(message, Message::Cloned(42)) && descriptor.is_some());
        let (message, descriptor) = parent.receive().expect("receive").expect("a message");
        assert!(matches!(message, Message::Ready) && descriptor.is_none());
        parent.send(&Message::Run(vec![7; 32 * 1024]), None).expect("the longest filter");
        let Some((Message::Run(filter), None)) = child.receive().expect("receive") else { panic!("no filter") };
        assert_eq!(filter.len(), 32 * 1024);
    }

    #[test]
    fn a_plain_question_is_answered() {
        let (parent, child) = Channel::pair().expect("pair");
        let answering = std::thread::spawn(move || {
            let Some((Message::Listening(7), None)) = parent.receive().expect("receive") else { panic!("no number") };
            parent.send(&Message::Heard, None).expect("send");
            parent.receive().expect("receive")
        });
        assert!(matches!(child.ask_plainly(&Message::Listening(7)), Ok(Some(Message::Heard))));
        drop(child);
        assert!(answering.join().expect("the parent").is_none());
    }

    #[test]
    fn a_source_arrives_as_it_was_asked_for() {
        let (parent, child) = Channel::pair().expect("pair");
        let path = std::path::Path::new(OsStr::from_bytes(b"/with \xff\n")).to_owned();
        let idmap = |recursive, maps| Some(Idmap { recursive, maps });
        for (recursive, nofollow, idmap) in [
            (true, false, None),
            (false, true, idmap(false, Maps::Container)),
            (true, true, idmap(true, Maps::Listed(7))),
        ] {
            let asked = HostTree { path: path.clone(), recursive, nofollow, idmap };
            child.send(&Message::Source(asked.clone()), None).expect("send");
            let Some((Message::Source(got), None)) = parent.receive().expect("receive") else { panic!("no source") };
            assert_eq!(got, asked);
        }
        parent.send(&Message::Failed(Error::invalid("mounts", "no")), None).expect("send");
        assert_eq!(child.receive().expect_err("the parent's failure"), Error::invalid("mounts", "no"));
    }

    #[test]
    fn a_failure_arrives_whole_and_a_death_is_an_end_of_file() {
        let (parent, child) = Channel::pair().expect("pair");
        let error = Error::invalid("process.cwd", "it does not exist").during(Phase::Exec);
        child.send(&Message::Failed(error.clone()), None).expect("send");
        assert_eq!(parent.receive().expect_err("the failure"), error);
        drop(child);
        assert!(parent.receive().expect("no failure").is_none());
    }

    #[test]
    fn a_failure_arrives_though_its_sender_left_something_unread() {
        let (parent, child) = Channel::pair().expect("pair");
        parent.send(&Message::Proceed, None).expect("send");
        child.send(&Message::Failed(Error::invalid("a", "b")), None).expect("send");
        drop(child);
        assert_eq!(parent.receive().expect_err("the failure"), Error::invalid("a", "b"));
        assert!(parent.receive().expect("the end").is_none());
    }
}
