"""An ordinary user of the private host, who runs a case's runtime; /etc of the host itself is not touched. Or whoever runs
the suite, if that is not root: in a login session, where a systemd manager of the user's own makes the cgroups."""

import json
import os
import pwd
import shutil
import subprocess

import suite


def first_of(path, name):
    """The first of the user's subordinate ids; nothing without a range."""
    lines = [line.split(":") for line in open(path)] if os.path.exists(path) else []
    return next((int(first) for who, first, _ in lines if who == name), None)


if suite.ROOT:
    NAME, UID, GID = "tess", 4242, 4243
    SUBUIDS, SUBGIDS = 500000, 600000
else:
    NAME, UID, GID = pwd.getpwuid(os.getuid()).pw_name, os.getuid(), os.getgid()
    SUBUIDS, SUBGIDS = first_of("/etc/subuid", NAME), first_of("/etc/subgid", NAME)
COUNT = 65536
ETC = f"{suite.WORK}/etc"
HOME = f"{suite.WORK}/home"
ROOT = f"{HOME}/root"
BIN = f"{suite.WORK}/bin"  # where she can reach the runtime, wherever it was built


def prepare():
    """Once: on the private host the user, and her ranges of subordinate ids; in a login session what her systemd starts for
    the first container and keeps."""
    for directory in (HOME, ROOT):
        os.makedirs(directory)
        os.chown(directory, UID, GID)
    os.makedirs(BIN)
    if suite.ROOT:
        make_known()
    else:
        subprocess.run(["systemctl", "--user", "start", "user.slice", "dbus.service"], check=True)


def make_known():
    os.makedirs(ETC)
    lines = {
        "passwd": f"{NAME}:x:{UID}:{GID}::{HOME}:/bin/sh",
        "group": f"{NAME}:x:{GID}:",
        "subuid": f"{NAME}:{SUBUIDS}:{COUNT}",
        "subgid": f"{NAME}:{SUBGIDS}:{COUNT}",
    }
    for name, line in lines.items():
        if not os.path.exists(f"/etc/{name}"):
            continue  # no package that uses it is installed
        shutil.copy(f"/etc/{name}", f"{ETC}/{name}")
        with open(f"{ETC}/{name}", "a") as file:
            file.write(f"{line}\n")
        subprocess.run(["mount", "--bind", f"{ETC}/{name}", f"/etc/{name}"], check=True)


def forget():
    """On a host that goes on: takes the user away again."""
    for name in os.listdir(ETC) if os.path.exists(ETC) else []:
        subprocess.run(["umount", f"/etc/{name}"], check=True)


def become(t, subordinate=False):
    """The case's runtime is run by the user from here on, with what `spec --rootless` writes; `subordinate`: with all her
    ids mapped."""
    if subordinate and not shutil.which("newuidmap"):
        raise suite.Skipped("newuidmap is not installed")
    if subordinate and not (SUBUIDS and SUBGIDS):
        raise suite.Skipped(f"{NAME} has no range in /etc/subuid and /etc/subgid")
    runtime = f"{BIN}/{os.path.basename(t.runtime)}"
    if not os.path.exists(runtime):
        shutil.copy(shutil.which(t.runtime), runtime)
    t.runtime, t.root = runtime, ROOT
    if suite.ROOT:
        t.prefix = ["setpriv", "--reuid", str(UID), "--regid", str(GID), "--clear-groups"]
        t.env = {**os.environ, "HOME": HOME, "XDG_RUNTIME_DIR": HOME, "USER": NAME}
    else:
        t.globals = ["--systemd-cgroup"]
    t.before = suite.Left.now(ROOT)
    own(t)
    t.config = json.loads(template())
    t.process, t.linux = t.config["process"], t.config["linux"]
    t.process["terminal"] = False
    if subordinate:
        for name, first in (("uidMappings", SUBUIDS), ("gidMappings", SUBGIDS)):
            t.linux[name].append({"containerID": 1, "hostID": first, "size": COUNT})


def own(t):
    """Gives her the bundle, after a case has put something of root's into it."""
    if not suite.ROOT:
        return
    subprocess.run(["chown", "-hR", f"{UID}:{GID}", t.directory], check=True)


def template():
    """config.json as the runtimes' `spec --rootless` write it, with an ociVersion that old peers know."""
    text = open(f"{suite.REPOSITORY}/crates/runtime-cli/src/spec_template/config-rootless.json").read()
    config = json.loads(text)
    config["ociVersion"] = "1.0.2"
    config["linux"]["uidMappings"][0]["hostID"] = UID
    config["linux"]["gidMappings"][0]["hostID"] = GID
    return json.dumps(config)
