"""An ordinary user of the private host, who runs a case's runtime; /etc of the host itself is not touched."""

import json
import os
import shutil
import subprocess

import suite

NAME, UID, GID = "tess", 4242, 4243
SUBUIDS, SUBGIDS, COUNT = 500000, 600000, 65536
ETC = f"{suite.WORK}/etc"
HOME = f"{suite.WORK}/home"
ROOT = f"{HOME}/root"
BIN = f"{suite.WORK}/bin"  # where she can reach the runtime, wherever it was built


def prepare():
    """On the private host, once: the user, and her ranges of subordinate ids."""
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
    for directory in (HOME, ROOT):
        os.makedirs(directory)
        os.chown(directory, UID, GID)
    os.makedirs(BIN)


def become(t, subordinate=False):
    """The case's runtime is run by the user from here on, with what `spec --rootless` writes; `subordinate`: with all her
    ids mapped."""
    if subordinate and not shutil.which("newuidmap"):
        raise suite.Skipped("newuidmap is not installed")
    runtime = f"{BIN}/{os.path.basename(t.runtime)}"
    if not os.path.exists(runtime):
        shutil.copy(shutil.which(t.runtime), runtime)
    t.runtime, t.root = runtime, ROOT
    t.prefix = ["setpriv", "--reuid", str(UID), "--regid", str(GID), "--clear-groups"]
    t.env = {**os.environ, "HOME": HOME, "XDG_RUNTIME_DIR": HOME, "USER": NAME}
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
    subprocess.run(["chown", "-hR", f"{UID}:{GID}", t.directory], check=True)


def template():
    """config.json as the runtimes' `spec --rootless` write it, with an ociVersion that old peers know."""
    text = open(f"{suite.REPOSITORY}/crates/runtime-cli/src/spec_template/config-rootless.json").read()
    config = json.loads(text)
    config["ociVersion"] = "1.0.2"
    config["linux"]["uidMappings"][0]["hostID"] = UID
    config["linux"]["gidMappings"][0]["hostID"] = GID
    return json.dumps(config)
