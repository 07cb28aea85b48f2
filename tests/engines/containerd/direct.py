"""A client of the task API that talks to a shim past containerd: what an exec costs without ctr and containerd."""

import contextlib
import json
import re
import socket
import struct

from suite import LIMIT, check

PROCESS = "types.containerd.io/opencontainers/runtime-spec/1/Process"
REQUEST, RESPONSE = 1, 2  # kinds of frames


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def message(*fields):
    """protobuf's encoding of (number, value) fields: a number, or text."""
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += varint(number << 3) + varint(value)
        else:
            text = value if isinstance(value, bytes) else value.encode()
            encoded += varint(number << 3 | 2) + varint(len(text)) + text
    return encoded


def read(path):
    with contextlib.suppress(OSError), open(path) as file:
        return file.read()
    return ""


class Client:
    def __init__(self, bundle):
        """Connected to the shim of a container, of which containerd keeps the address in the bundle."""
        address, version = read(f"{bundle}/address"), 2
        if bootstrap := read(f"{bundle}/bootstrap.json"):
            address, version = (json.loads(bootstrap)[name] for name in ("address", "version"))
        self.service, self.stream = f"containerd.task.v{version}.Task", -1
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT)
        self.socket.connect(address.strip().removeprefix("unix://"))

    def send(self, method, *fields):
        request = message((1, self.service), (2, method), (3, message(*fields)))
        self.stream += 2
        self.socket.sendall(struct.pack(">IIBB", len(request), self.stream, REQUEST, 0) + request)

    def receive(self):
        """The next answer, to whichever call: whether it is a good one."""
        length, _, kind, _ = struct.unpack(">IIBB", self.socket.recv(10, socket.MSG_WAITALL))
        check(kind == RESPONSE, f"a frame of kind {kind}")
        answer = self.socket.recv(length, socket.MSG_WAITALL) if length else b""
        # Field 1 is the status; it begins, after its length, with its code, unless that is 0, "ok".
        return not re.match(rb"\x0a[\x80-\xff]*[\x00-\x7f]\x08", answer, re.DOTALL)

    def exec(self, container, exec_id, *command, terminal=None):
        """From its announcement to its removal; whether it could be started. `terminal` is a FIFO for its output."""
        capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID"]
        process = {
            "user": {"uid": 0, "gid": 0}, "args": command, "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": True,
            "capabilities": {kind: capabilities for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}], "terminal": bool(terminal),
        }  # fmt: skip
        name, streams = ((1, container), (2, exec_id)), ((3, 1), (5, terminal)) if terminal else ()
        self.send("Exec", *name, *streams, (7, message((1, PROCESS), (2, json.dumps(process)))))
        check(self.receive(), "Exec")
        self.send("Wait", *name)
        self.send("Start", *name)
        started = self.receive() & self.receive()
        self.send("Delete", *name)
        check(self.receive(), "Delete")
        return started

    def close(self):
        self.socket.close()
