"""Containers whose cgroups systemd makes: the option SystemdCgroup, which ctr passes to containerd's own runtime only.

So the shim is installed by that one's name: which runtime it serves is decided by the name of its file."""

import glob
import os
import tempfile

import images
from ctr import Engine

RUNTIME = "io.containerd.runc.v2"
SLICE, PREFIX = "system.slice", "creel-engines"


class SystemdEngine(Engine):
    def __init__(self, options):
        self.disguise = tempfile.TemporaryDirectory(prefix="shim-")
        os.symlink(f"{options.shim_directory}/containerd-shim-creel-v2", f"{self.disguise.name}/containerd-shim-runc-v2")
        options.shim_directory = self.disguise.name
        super().__init__(options, RUNTIME)

    def command(self, *arguments):
        if arguments[0] == "run" and images.NAME in arguments:
            name = arguments[arguments.index(images.NAME) + 1]
            arguments = ("run", "--runc-systemd-cgroup", "--cgroup", f"{SLICE}:{PREFIX}:{name}", *arguments[1:])
        return super().command(*arguments)

    def cgroup(self, name):
        return f"/sys/fs/cgroup/{SLICE}/{PREFIX}-{name}.scope"

    def left(self):
        return super().left() + glob.glob(f"/sys/fs/cgroup/{SLICE}/{PREFIX}-*")
