"""Which containerd: the installed one, or a pinned version, which is built from its Go module."""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(f"{HERE}/../..")
# Each is a folder of versions/ with a go.mod. 2.2 starts shims with the JSON parameters, 2.4 with the protobuf ones.
PINNED = ("1.7", "2.2", "2.4")
# Drivers that need C libraries, and that no case uses.
TAGS = "no_btrfs no_devmapper no_zfs no_aufs"


def build(directory, where, *packages, tags=""):
    """Builds the packages of a Go module that directory/go.mod pins. Go's own cache makes it quick the second time."""
    os.makedirs(where, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    command = ["go", "build", "-mod=readonly", f"-tags={tags}", "-ldflags=-s -w", "-o", f"{where}/", *packages]
    if subprocess.call(command, cwd=directory, env=environment) != 0:
        sys.exit(f"{directory}: could not be built")
    return where


def programs(name):
    """The directory of that containerd's programs."""
    if name in PINNED:
        module = "github.com/containerd/containerd" + ("/v2" if name.startswith("2") else "")
        packages = [f"{module}/cmd/{program}" for program in ("containerd", "containerd-shim-runc-v2", "ctr")]
        return build(f"{HERE}/versions/{name}", f"{REPOSITORY}/target/engines/{name}", *packages, tags=TAGS)
    if name != "installed":
        return os.path.abspath(name)
    found = shutil.which("containerd")
    if not found:
        sys.exit(f"there is no containerd in PATH: install one, or name a version ({', '.join(PINNED)}) or a directory")
    return os.path.dirname(found)
