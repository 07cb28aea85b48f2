"""crun's flags, which runc does not have."""

import json
import os
import shutil
import socket
import subprocess

from suite import TIMEOUT, Skipped, case

RUNC = "has no such flag"


@case(runc=RUNC)
def a_configuration_of_another_name(t):
    """From where the caller is on, unlike config.json."""
    t.save()
    os.rename(f"{t.bundle}/config.json", f"{t.directory}/other.json")
    for flag in ("--config", "-f"):
        t.rt("run", flag, "other.json", "--bundle", t.bundle, t.id, cwd=t.directory)
    t.rt("create", "--config", f"{t.directory}/other.json", t.id)
    t.equal(t.state()["status"], "created")


@case(runc=RUNC)
def a_configuration_that_is_missing_is_told(t):
    t.save()
    t.contains(t.rt("run", "--config", "none.json", t.id, code=1).said, "none.json")
    t.none_left()


@case(runc=RUNC, crun="1.8.1 knows it for run only")
def create_takes_no_subreaper(t):
    t.create("true", options=("--no-subreaper",))
    t.equal(t.state()["status"], "created")


@case(runc=RUNC)
def spec_writes_another_file(t):
    t.save()
    t.rt("spec", "-f", "other.json")
    t.contains(json.load(open(f"{t.bundle}/other.json"))["ociVersion"], "1.")
    t.rt("spec", "--file", "other.json")  # over what is there


# --- the log


@case(runc=RUNC, crun="1.8.1 has no --log-level")
def a_log_level_is_one_of_three(t):
    t.globals = ["--log-level", "loud"]
    t.rt("list", code=(1, 64))
    for level in ("error", "warning", "debug"):
        t.globals = ["--log-level", level]
        t.rt("list")


@case(runc=RUNC, crun="warns of nothing by itself")
def a_log_level_hides_what_is_below(t):
    t.config["nothing"] = True
    log = f"{t.directory}/log"
    for level, seen in (("error", False), ("warning", True), ("debug", True)):
        t.globals = ["--log-level", level, "--log", log]
        t.run("true")
        t.equal("nothing is not known" in open(log).read(), seen, level)
        os.unlink(log)
    t.globals = ["--log-level", "error", "--debug", "--log", log]
    t.run("true")
    t.contains(open(log).read(), "level=debug")


@case(runc=RUNC)
def a_log_file_may_have_a_prefix(t):
    t.globals = ["--log", f"file:{t.directory}/log"]
    t.rt("state", "none", code=1)
    t.contains(open(f"{t.directory}/log").read(), "none")


@case(runc=RUNC, crun="1.8.1 has no ID for the commands that take no container")
def the_log_goes_to_the_journal(t):
    if os.path.exists("/run/systemd"):
        raise Skipped("this host has a journal of its own")
    directory = "/run/systemd/journal"
    os.makedirs(directory)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.bind(f"{directory}/socket")
            journal.settimeout(TIMEOUT)
            t.globals = ["--log", "journald:some-id"]
            result = t.rt("state", "no-such-container", code=1)
            entry = journal.recv(1 << 16).decode()
    finally:
        shutil.rmtree("/run/systemd")
    t.contains(result.err, "no-such-container")
    t.matches(entry, r"^PRIORITY=3$")
    t.matches(entry, r"^ID=some-id$")
    t.matches(entry, r"^SYSLOG_IDENTIFIER=\w+$")
    t.matches(entry, r"^MESSAGE=.*no-such-container")


@case(runc=RUNC, crun="1.8.1 logs to nobody without a word")
def a_journal_that_nobody_keeps_is_told(t):
    if not os.path.exists("/run/systemd/journal/socket"):
        t.globals = ["--log", "journald:x"]
        t.contains(t.rt("list", code=1).said, "/run/systemd/journal/socket")


@case(runc=RUNC)
def the_log_goes_to_a_log_daemon(t):
    """busybox's, which listens where syslog(3) sends to. The machine's own /dev is below, and stays as it is."""
    layers = f"{t.directory}/layers"
    for name in ("upper", "work"):
        os.makedirs(f"{layers}/{name}")
    options = f"lowerdir=/dev,upperdir={layers}/upper,workdir={layers}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, "/dev"], check=True)
    daemon, log = None, f"{t.directory}/messages"
    try:
        daemon = subprocess.Popen(["busybox", "syslogd", "-n", "-S", "-O", log])
        t.until(lambda: os.path.exists("/dev/log"), "the daemon listens")
        t.globals = ["--log", "syslog:some-id"]
        t.rt("state", "no-such-container", code=1)
        t.until(lambda: "no-such-container" in open(log).read(), "the daemon has written the message")
    finally:
        if daemon:
            daemon.terminate()
            daemon.wait()
        subprocess.run(["umount", "/dev"], check=True)
    t.matches(open(log).read(), r"^\S+ +\d+ \S+ some-id: .*no-such-container")


# --- cgroups


@case(runc=RUNC)
def a_cgroup_manager_is_one_that_there_is(t):
    t.globals = ["--cgroup-manager", "cgroupfs"]
    t.run("true")
    t.globals = ["--cgroup-manager", "nobody"]
    t.contains(t.run("true", code=1).said, "nobody" if t.name == "creel" else "unknown")
    t.none_left()


@case(runc=RUNC, crun="1.8.1 makes do with another form of cgroupsPath")
def a_named_cgroup_manager_goes_before_the_systemd_flag(t):
    """systemd's cgroupsPath is of another form, or there is no systemd: either way this one is refused."""
    t.linux["cgroupsPath"] = f"/{t.id}"
    t.globals = ["--cgroup-manager", "systemd"]
    t.run("true", code=1)
    t.globals = ["--systemd-cgroup", "--cgroup-manager", "cgroupfs"]
    t.run("true")
