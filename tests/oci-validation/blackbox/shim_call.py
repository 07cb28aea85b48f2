#!/usr/bin/env python3
"""Calls of the task API to the shim of a bundle, as containerd makes them for one step of a container's life.

    shim_call.py BUNDLE ID create ROOTFS STATE_DIRECTORY | start | exec NAME | delete
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [f"{HERE}/../../engines/containerd", f"{HERE}/../../engines"]
from direct import Client, message  # noqa: E402


def create(client, name, bundle, rootfs, root):
    mount = message((1, "bind"), (2, rootfs), (4, "rbind"))
    options = message((1, "containerd.runc.v1.Options"), (2, message((7, root))))
    client.send("Create", (1, name), (2, bundle), (3, mount), (10, options))
    return client.receive()


def call(client, method, name):
    client.send(method, (1, name))
    return client.receive()


def main(bundle, name, step, *arguments):
    client = Client(bundle)
    if step == "create":
        return create(client, name, bundle, *arguments)
    if step == "exec":
        return client.exec(name, *arguments, "/bin/true")
    return call(client, step.capitalize(), name)


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
