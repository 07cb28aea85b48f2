//! rtnetlink(7), as much of it as moving a device takes: its wire format, and a socket that speaks it.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_EXCL_CREATE: u16 = 0x600;

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_F_PERMANENT: u32 = 0x80;
/// NODAD, OPTIMISTIC, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE and MCAUTOJOIN: what an address is added with. The other
/// flags tell of its state.
const IFA_F_GIVEN: u32 = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;
const RT_SCOPE_UNIVERSE: u8 = 0;

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// What the kernel puts into one answer of several parts at most.
const LARGEST: usize = 64 * 1024;
/// How often a list is asked for again that changed while it was told.
const TRIES: usize = 10;

/// An address of a device, to be added to it again elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// (number, value) of those that say which address it is.
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A device of a namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) is_up: bool,
}

/// A socket of the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(super) fn open() -> Result<Socket, Errno> {
        let flags = SocketFlags::CLOEXEC;
        // NETLINK_ROUTE is protocol 0.
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        Ok(Socket { fd, sequence: 0 })
    }

    /// The device of that name; `None` if there is none.
    pub(super) fn find(&mut self, name: &str) -> Result<Option<Link>, Errno> {
        let mut body = link(0, 0, 0);
        attribute(&mut body, IFLA_IFNAME, &terminated(name));
        match self.ask(RTM_GETLINK, 0, &body) {
            Ok(answers) => answers.iter().find_map(|answer| found_link(answer)).map(Some).ok_or(Errno::PROTO),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The device's addresses that were given to it for good and are good everywhere; in their order.
    pub(super) fn lasting_addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno> {
        let answers = self.ask(RTM_GETADDR, NLM_F_DUMP, &[0; 8])?;
        Ok(answers.iter().filter_map(|answer| lasting_address(answer, index)).collect())
    }

    pub(super) fn add_address(&mut self, index: u32, address: &Address) -> Result<(), Errno> {
        let mut body = vec![address.family, address.prefix, 0, RT_SCOPE_UNIVERSE];
        body.extend(index.to_ne_bytes());
        address.attributes.iter().for_each(|(number, value)| attribute(&mut body, *number, value));
        attribute(&mut body, IFA_FLAGS, &address.flags.to_ne_bytes());
        self.ask(RTM_NEWADDR, NLM_F_EXCL_CREATE, &body).map(drop)
    }

    /// Moves a device to another network namespace, with this name there. The kernel takes it down for that.
    pub(super) fn move_to(&mut self, index: u32, namespace: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        let mut body = link(index, 0, 0);
        attribute(&mut body, IFLA_IFNAME, &terminated(name));
        attribute(&mut body, IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        self.ask(RTM_NEWLINK, 0, &body).map(drop)
    }

    pub(super) fn bring_up(&mut self, index: u32) -> Result<(), Errno> {
        let up = libc::IFF_UP.unsigned_abs();
        self.ask(RTM_NEWLINK, 0, &link(index, up, up)).map(drop)
    }

    /// Sends a request and collects the bodies of the answers up to the acknowledgement.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        for _ in 0..TRIES {
            self.sequence += 1;
            let mut message = Vec::with_capacity(HEADER + body.len());
            message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
            message.extend(kind.to_ne_bytes());
            message.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
            message.extend(self.sequence.to_ne_bytes());
            message.extend(0u32.to_ne_bytes());
            message.extend(body);
            rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, &message, SendFlags::empty()))?;
            if let Some(answers) = self.collect()? {
                return Ok(answers);
            }
        }
        Err(Errno::AGAIN)
    }

    /// The bodies of the answers; `None` if what they tell of has changed meanwhile.
    fn collect(&self) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let mut bytes = vec![0; LARGEST];
        let (mut bodies, mut whole) = (Vec::new(), true);
        loop {
            let (received, _) =
                rustix::io::retry_on_intr(|| rustix::net::recv(&self.fd, bytes.as_mut_slice(), RecvFlags::empty()))?;
            let mut rest = bytes.get(..received).unwrap_or_default();
            while let Some((header, body, next)) = next_message(rest) {
                rest = next;
                if header.sequence != self.sequence {
                    continue;
                }
                whole &= header.flags & NLM_F_DUMP_INTR == 0;
                match header.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        // A negative error number, or 0.
                        let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        return if code < 0 {
                            Err(Errno::from_raw_os_error(-code))
                        } else {
                            Ok(whole.then_some(bodies))
                        };
                    }
                    _ => bodies.push(body.to_vec()),
                }
            }
        }
    }
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// The first message of `bytes`: its header, its body, and what follows; `None` at the end.
fn next_message(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let header = Header {
        kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
        flags: u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?),
        sequence: u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?),
    };
    let body = bytes.get(HEADER..length)?;
    Some((header, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// What an answer's `struct ifinfomsg` tells.
fn found_link(answer: &[u8]) -> Option<Link> {
    let number = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    Some(Link { index: number(4)?, is_up: number(8)? & libc::IFF_UP.unsigned_abs() != 0 })
}

/// `struct ifinfomsg`.
fn link(index: u32, flags: u32, change: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), change.to_ne_bytes()].concat()
}

fn attribute(body: &mut Vec<u8>, number: u16, value: &[u8]) {
    body.extend(((ATTRIBUTE_HEADER + value.len()) as u16).to_ne_bytes());
    body.extend(number.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// The attributes that follow a message's fixed part.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((length, number)) = bytes.get(..2).zip(bytes.get(2..4)) {
        let two = |bytes: &[u8]| bytes.try_into().map(u16::from_ne_bytes).unwrap_or_default();
        let length = usize::from(two(length));
        let Some(value) = bytes.get(ATTRIBUTE_HEADER..length) else { break };
        found.push((two(number), value.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The address that `answer` (`struct ifaddrmsg` and attributes) tells of, if it is such a one of that device.
fn lasting_address(answer: &[u8], device: u32) -> Option<Address> {
    let (&[family, prefix, short_flags, scope], rest) = answer.split_first_chunk()?;
    let (index, rest) = rest.split_first_chunk()?;
    let all = attributes(rest);
    let number =
        |wanted: u16| all.iter().find(|(number, _)| *number == wanted).and_then(|(_, value)| value.first_chunk());
    let flags = number(IFA_FLAGS).map_or(u32::from(short_flags), |bytes| u32::from_ne_bytes(*bytes));
    if u32::from_ne_bytes(*index) != device || flags & IFA_F_PERMANENT == 0 || scope != RT_SCOPE_UNIVERSE {
        return None;
    }
    let says_which =
        |(number, _): &(u16, Vec<u8>)| matches!(*number, IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_RT_PRIORITY);
    Some(Address {
        family,
        prefix,
        flags: flags & IFA_F_GIVEN,
        attributes: all.into_iter().filter(says_which).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(index: u32, scope: u8, flags: u32) -> Vec<u8> {
        let mut answer = vec![2, 24, flags as u8, scope];
        answer.extend(index.to_ne_bytes());
        attribute(&mut answer, IFA_LOCAL, &[10, 0, 0, 1]);
        attribute(&mut answer, 3, b"eth0\0");
        attribute(&mut answer, IFA_FLAGS, &flags.to_ne_bytes());
        answer
    }

    #[test]
    fn only_lasting_addresses_of_the_device_are_taken() {
        let noprefixroute = 0x200;
        let address = lasting_address(&told(7, 0, IFA_F_PERMANENT | noprefixroute | 0x01), 7).expect("an address");
        let attributes = vec![(IFA_LOCAL, vec![10, 0, 0, 1])];
        assert_eq!(address, Address { family: 2, prefix: 24, flags: noprefixroute, attributes });
        for (index, scope, flags) in [(8, 0, IFA_F_PERMANENT), (7, 253, IFA_F_PERMANENT), (7, 0, 0)] {
            assert_eq!(lasting_address(&told(index, scope, flags), 7), None);
        }
    }

    #[test]
    fn garbled_messages_end_the_reading() {
        assert!(next_message(&[]).is_none());
        assert!(next_message(&[255; 12]).is_none());
        assert!(next_message(&[8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none(), "shorter than its header");
        assert!(attributes(&[3, 0, 1, 0, 9]).is_empty(), "shorter than its header");
        assert!(attributes(&[9, 0, 1, 0, 9]).is_empty(), "longer than what there is");
        assert_eq!(lasting_address(&[1, 2, 3], 0), None);
    }
}
