//! Moving devices; done by the parent, who is in the network namespace that has them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::plan::{NetDevicePlan, TEMPLATE};
use super::rtnetlink::{Address, Link, Socket};
use crate::error::{During, Error, Kind, Phase, Result, SysContext};
use crate::host::HostProc;
use crate::sys;

/// Devices that are in the container's network namespace now, and what is needed to bring them back.
#[derive(Debug)]
pub struct Moved {
    here: Socket,
    /// Keeps the container's network namespace, and the devices with it, even if the container's process dies.
    there: Socket,
    own: OwnedFd,
    theirs: OwnedFd,
    arrived: Vec<Arrived>,
}

/// A device as it was on the host, and its name in the container.
#[derive(Debug)]
struct Arrived {
    host: String,
    name: String,
    addresses: Vec<Address>,
    was_up: bool,
}

/// Moves the devices into the network namespace of the process `pid`, where they get their addresses again and are up.
///
/// # Errors
/// Names the device: it does not exist, cannot be moved, or its name is taken there. Those that were moved are back.
pub fn move_all(devices: &[NetDevicePlan], pid: i32, proc: &HostProc) -> Result<Option<Moved>> {
    if devices.is_empty() {
        return Ok(None);
    }
    let open = |path: &str| {
        let fd = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        fd.sys("openat", format_args!("/proc/{path}")).during(Phase::Namespaces)
    };
    let (own, theirs) = (open("thread-self/ns/net")?, open(&format!("{pid}/ns/net"))?);
    let here = Socket::open().sys("socket", "AF_NETLINK").during(Phase::Namespaces)?;
    let there = open_socket_in(&theirs, &own)?;
    let mut moved = Moved { here, there, own, theirs, arrived: Vec::new() };
    for device in devices {
        if let Err(error) = moved.take_along(device) {
            moved.bring_back();
            return Err(error.within(format!("linux.netDevices[\"{}\"]", device.host)));
        }
    }
    Ok(Some(moved))
}

/// A socket keeps the namespace that it was opened in.
fn open_socket_in(theirs: &OwnedFd, own: &OwnedFd) -> Result<Socket> {
    let enter = |namespace: &OwnedFd| {
        sys::namespace::setns(namespace.as_fd(), libc::CLONE_NEWNET as u64).sys("setns", "network")
    };
    enter(theirs).during(Phase::Namespaces)?;
    let socket = Socket::open();
    enter(own).during(Phase::Namespaces)?;
    socket.sys("socket", "AF_NETLINK in the container").during(Phase::Namespaces)
}

fn failed(errno: Errno, what: &str) -> Error {
    Error::system("netlink", what, errno).during(Phase::Namespaces)
}

impl Moved {
    fn take_along(&mut self, device: &NetDevicePlan) -> Result<()> {
        let host = device.host.as_str();
        let found = self.here.find(host).map_err(|errno| failed(errno, "RTM_GETLINK"))?;
        let Link { index, is_up: was_up } = found.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("there is no network device \"{host}\" on the host"))
                .during(Phase::Namespaces)
        })?;
        let name = free_name(&device.container, &mut self.there)?;
        // Before the move: it takes all addresses away.
        let addresses = self.here.lasting_addresses(index).map_err(|errno| failed(errno, "RTM_GETADDR"))?;
        self.here.move_to(index, self.theirs.as_fd(), &name).map_err(|errno| {
            let error = failed(errno, "RTM_NEWLINK");
            match errno {
                Errno::INVAL => error.cause("such a device, a bridge or lo, stays in its network namespace"),
                Errno::PERM => error.cause("it takes CAP_NET_ADMIN"),
                _ => error,
            }
        })?;
        let arrived = Arrived { host: host.to_owned(), name, addresses, was_up };
        let settled = settle(&mut self.there, &arrived.name, &arrived.addresses, true);
        self.arrived.push(arrived);
        settled
    }

    /// Brings them back for a container that did not come to be: with its network namespace the kernel would destroy what
    /// is not hardware. What cannot be brought back stays there.
    pub fn bring_back(mut self) {
        for device in self.arrived.iter().rev() {
            let Ok(Some(Link { index, .. })) = self.there.find(&device.name) else { continue };
            if self.there.move_to(index, self.own.as_fd(), &device.host).is_ok() {
                let _ = settle(&mut self.here, &device.host, &device.addresses, device.was_up);
            }
        }
    }
}

/// Gives a device what it lost on its way to the socket's namespace.
fn settle(there: &mut Socket, name: &str, addresses: &[Address], up: bool) -> Result<()> {
    let found = there.find(name).map_err(|errno| failed(errno, "RTM_GETLINK after the move"))?;
    let Link { index, .. } = found.ok_or_else(|| failed(Errno::NODEV, &format!("{name} after the move")))?;
    for address in addresses {
        there.add_address(index, address).map_err(|errno| failed(errno, "RTM_NEWADDR after the move"))?;
    }
    if up {
        there.bring_up(index).map_err(|errno| failed(errno, "RTM_NEWLINK(IFF_UP) after the move"))?;
    }
    Ok(())
}

/// The name itself, or a template's first name that is free; as the kernel would choose it, but so that we know it.
fn free_name(wanted: &str, there: &mut Socket) -> Result<String> {
    let mut is_taken = |name: &str| {
        let found = there.find(name).map_err(|errno| failed(errno, "RTM_GETLINK in the container"));
        found.map(|found| found.is_some())
    };
    if !wanted.contains(TEMPLATE) {
        if is_taken(wanted)? {
            let why = format!("the container's network namespace has a device \"{wanted}\" already");
            let error = Error::new(Kind::Invalid, why).during(Phase::Namespaces);
            return Err(error.remedy("give it another name, or one with %d"));
        }
        return Ok(wanted.to_owned());
    }
    let mut number = 0u32;
    loop {
        let name = wanted.replacen(TEMPLATE, &number.to_string(), 1);
        if !is_taken(&name)? {
            return Ok(name);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::testing::{eventually, in_own_thread, is_root};

    /// Runs ip(8) in this thread's network namespace; its output.
    fn ip(line: &str) -> String {
        output(Command::new("ip").args(line.split(' ')))
    }

    fn output(command: &mut Command) -> String {
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// A process in a network namespace of its own.
    struct There(Child);

    impl There {
        fn new() -> There {
            let there = There(Command::new("unshare").args(["--net", "sleep", "60"]).spawn().expect("unshare"));
            let comm = format!("/proc/{}/comm", there.pid());
            eventually("it sleeps", || std::fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n"));
            there
        }

        fn pid(&self) -> i32 {
            self.0.id() as i32
        }

        fn ip(&self, line: &str) -> String {
            let pid = self.pid().to_string();
            output(Command::new("nsenter").args(["--net", "--target", &pid, "ip"]).args(line.split(' ')))
        }
    }

    impl Drop for There {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn moved(host: &str, container: &str, there: &There) -> Result<()> {
        let plan = NetDevicePlan { host: host.to_owned(), container: container.to_owned() };
        move_all(&[plan], there.pid(), &HostProc::open().expect("/proc")).map(drop)
    }

    #[test]
    fn a_device_arrives_with_its_addresses_and_is_up() {
        if !is_root("a_device_arrives_with_its_addresses_and_is_up") {
            return;
        }
        in_own_thread(|| {
            sys::namespace::unshare(libc::CLONE_NEWNET as u64).expect("unshare");
            ip("link add v0 mtu 1789 address 02:11:22:33:44:55 type veth peer name v1");
            ip("link set v0 up");
            ip("link set v1 up");
            for address in ["10.9.8.7/24", "10.9.8.6/24", "192.0.2.1 peer 192.0.2.2", "2001:db8::1/64"] {
                ip(&format!("address add {address} dev v0"));
            }
            ip("address add 127.0.0.33/32 scope host dev v0");
            let there = There::new();
            moved("v0", "lan", &there).expect("move");
            let shown = there.ip("address show dev lan");
            for part in [
                "mtu 1789",
                "link/ether 02:11:22:33:44:55",
                "inet 10.9.8.7/24 ",
                "inet 10.9.8.6/24 ",
                "inet 192.0.2.1 peer 192.0.2.2/32 ",
                "inet6 2001:db8::1/64 ",
                ",UP",
            ] {
                assert!(shown.contains(part), "{part} in {shown}");
            }
            assert!(!shown.contains("127.0.0.33"), "{shown}");
            assert!(!ip("link show").contains("v0"), "it has gone");
        });
    }

    #[test]
    fn names_are_free_or_refused() {
        if !is_root("names_are_free_or_refused") {
            return;
        }
        in_own_thread(|| {
            sys::namespace::unshare(libc::CLONE_NEWNET as u64).expect("unshare");
            let there = There::new();
            for pair in ["a0 type veth peer name a1", "b0 type veth peer name b1"] {
                ip(&format!("link add {pair}"));
            }
            moved("a0", "x%d", &there).expect("x0");
            moved("a1", "x%d", &there).expect("x1");
            assert!(there.ip("link show").contains("x1@x0"), "both");
            let error = moved("b0", "x1", &there).expect_err("taken").to_string();
            assert!(
                error.contains("linux.netDevices[\"b0\"]") && error.contains("has a device \"x1\" already"),
                "{error}"
            );
            assert!(ip("link show").contains("b0@b1"), "it has stayed");
            let error = moved("none", "none", &there).expect_err("missing").to_string();
            assert!(error.contains("there is no network device \"none\" on the host"), "{error}");
            ip("link add bridge0 type bridge");
            let error = moved("bridge0", "bridge0", &there).expect_err("a bridge").to_string();
            assert!(error.contains("stays in its network namespace"), "{error}");
        });
    }

    #[test]
    fn all_come_back_as_they_were() {
        if !is_root("all_come_back_as_they_were") {
            return;
        }
        in_own_thread(|| {
            sys::namespace::unshare(libc::CLONE_NEWNET as u64).expect("unshare");
            ip("link add v0 type veth peer name v1");
            ip("address add 10.9.8.7/24 dev v0");
            ip("link set v0 up");
            let there = There::new();
            let proc = HostProc::open().expect("/proc");
            let plan = |names: &[(&str, &str)]| -> Vec<NetDevicePlan> {
                let plan = |(host, to): &(&str, &str)| NetDevicePlan { host: (*host).into(), container: (*to).into() };
                names.iter().map(plan).collect()
            };
            let are_back = || {
                let shown = ip("address show");
                assert!(shown.contains(" v0@") && shown.contains("inet 10.9.8.7/24 "), "{shown}");
                assert!(ip("link show dev v0").contains(",UP") && !ip("link show dev v1").contains(",UP"));
                assert!(!there.ip("link show").contains("v0"));
            };
            let error = move_all(&plan(&[("v0", "lan"), ("none", "none")]), there.pid(), &proc).expect_err("none");
            assert!(error.to_string().contains("no network device \"none\""), "{error}");
            are_back();
            let moved = move_all(&plan(&[("v0", "v1"), ("v1", "v0")]), there.pid(), &proc).expect("move");
            assert!(there.ip("link show").contains("v0@v1"));
            moved.expect("devices").bring_back();
            are_back();
        });
    }
}
