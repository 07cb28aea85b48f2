"""config.json's `linux.netDevices`: devices of the host that become the container's."""

import contextlib
import json
import subprocess

from cases.namespaces import Holder
from suite import case

OLD = {"runc": "1.1.5 is older than the field", "crun": "1.8.1 is older than the field"}


class Host:
    """A network namespace that stands in for the host's: what is run and moved stays away from this machine's."""

    def __init__(self, t, path):
        self.t, self.path = t, path

    def ip(self, line):
        command = ["nsenter", f"--net={self.path}", "ip", *line.split()]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def devices(self):
        return {device["ifname"] for device in json.loads(self.ip("-json link show"))}


@contextlib.contextmanager
def host(t):
    """The runtime runs in a network namespace of its own, which has a pair of devices, v0 and v1."""
    runtime = t.runtime
    with Holder("network") as path:
        host = Host(t, path)
        host.ip("link add v0 mtu 1789 address 02:11:22:33:44:55 type veth peer name v1")
        t.runtime = t.file("runtime", f'#!/bin/sh\nexec nsenter --net={path} {runtime} "$@"\n', 0o755)
        try:
            yield host
            t.clean()
        finally:
            t.runtime = runtime


def shown(t, device):
    return t.exec(t.id, "ip", "address", "show", "dev", device).out


@case(**OLD)
def a_device_moves_with_what_it_has(t):
    with host(t) as there:
        there.ip("address add 169.254.169.77/32 dev v0")
        there.ip("address add 10.9.8.7/24 dev v0")
        there.ip("address add 127.0.0.33/32 scope host dev v0")
        t.linux["netDevices"] = {"v0": {}}
        t.sleeper()
        out = shown(t, "v0")
        for part in ("mtu 1789", "02:11:22:33:44:55", "inet 169.254.169.77/32 ", "inet 10.9.8.7/24 ", ",UP"):
            t.contains(out, part)
        t.lacks(out, "127.0.0.33")
        t.lacks(there.devices(), "v0")


@case(**{**OLD, "runc": "takes the device down first, and IPv6 addresses go then"})
def its_ipv6_addresses_are_kept_though_it_was_up(t):
    with host(t) as there:
        there.ip("link set v0 up")
        there.ip("address add 2001:db8::1/64 dev v0")
        t.linux["netDevices"] = {"v0": {}}
        t.sleeper()
        t.contains(shown(t, "v0"), "2001:db8::1/64")


@case(**OLD)
def a_device_gets_another_name(t):
    with host(t) as there:
        there.ip("address add 10.9.8.7/24 dev v0")
        t.linux["netDevices"] = {"v0": {"name": "lan0"}, "v1": {"name": "lan1"}}
        t.sleeper()
        t.contains(shown(t, "lan0"), "10.9.8.7/24")
        t.contains(shown(t, "lan1"), "lan1")
        t.equal(there.devices() & {"v0", "v1", "lan0", "lan1"}, set())


@case(**OLD)
def devices_stay_in_a_namespace_that_is_joined(t):
    with host(t) as there, Holder("network") as path:
        t.namespace("network", path)
        t.linux["netDevices"] = {"v0": {"name": "lan0"}}
        t.sleeper()
        t.rt("delete", "-f", t.id)
        t.contains(Host(t, path).devices(), "lan0")
        t.lacks(there.devices(), "lan0")


@case(**OLD)
def hooks_find_the_devices_moved(t):
    with host(t) as there:
        path = t.file("seen")
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"ip -brief link show > {path}"], "env": ["PATH=/usr/sbin:/sbin:/bin"]}
        t.config["hooks"] = {"createRuntime": [hook]}
        t.linux["netDevices"] = {"v0": {}}
        t.sleeper()
        t.lacks(open(path).read(), "v0@v1")
        t.equal(there.devices() & {"v0"}, set())


@case(**{**OLD, "runc": "looks for a device of the template's own name"})
def a_template_takes_the_first_free_name(t):
    with host(t):
        t.linux["netDevices"] = {"v0": {"name": "lan%d"}, "v1": {"name": "lan%d"}}
        t.sleeper()
        t.contains(shown(t, "lan0"), "lan0")
        t.contains(shown(t, "lan1"), "lan1")


@case(**{**OLD, "runc": "moves the device before it looks whether the name is free, and it is gone"})
def what_cannot_be_moved_is_refused(t):
    with host(t) as there:
        there.ip("link add bridge0 type bridge")
        for devices, word in (
            ({"none": {}}, "none"),
            ({"v0": {"name": "lo"}}, "v0"),
            ({"v0": {"name": "a/b"}}, "a/b"),
            ({"v0": {"name": "much-too-long-a-name"}}, "much-too-long-a-name"),
            ({"bridge0": {}}, "bridge0"),
        ):
            t.linux["netDevices"] = devices
            t.save()
            t.contains(t.rt("run", t.id, code=1).err, word)
            t.contains(there.devices(), "v0")
        t.linux["netDevices"] = {"v0": {}}
        t.remove_namespace("network")
        t.config["mounts"] = [mount for mount in t.config["mounts"] if mount["destination"] != "/sys"]
        t.save()
        t.rt("run", t.id, code=1)


@case(**{**OLD, "runc": "leaves them where the kernel destroys them"})
def a_container_that_does_not_come_to_be_gives_them_back(t):
    with host(t) as there:
        there.ip("address add 10.9.8.7/24 dev v0")
        there.ip("link set v0 up")
        t.linux["netDevices"] = {"v0": {"name": "lan0"}}
        t.process["args"] = ["/does/not/exist"]
        t.save()
        t.contains(t.rt("run", t.id, code=1).err, "/does/not/exist")
        t.contains(there.ip("address show dev v0"), "inet 10.9.8.7/24 ")
        t.contains(there.ip("link show dev v0"), ",UP")
