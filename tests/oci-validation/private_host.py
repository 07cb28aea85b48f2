#!/usr/bin/env python3
"""Runs a command as root on a host of its own, so that whatever it leaves behind goes away with that host.

    private_host.py COMMAND [ARGUMENT...]

The command gets its own mount, PID and cgroup namespaces: an empty /run, a /proc that shows only its processes, and
cgroup hierarchies whose root is a group made for it (which takes no controller away from anybody). On a hybrid layout
/sys/fs/cgroup/unified/cgroup.controllers is covered by /dev/null, because crun refuses hybrid layouts otherwise; every
runtime sees the same host. Exits as the command does. Ends the command, and cleans up, on SIGTERM, SIGINT and SIGHUP.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time

ROOT = "/sys/fs/cgroup"
PR_SET_PDEATHSIG = 1


def hierarchies():
    """The mounted cgroup hierarchies as (mount point, type, controllers)."""
    found = []
    for line in open("/proc/self/mountinfo"):
        left, right = line.split(" - ")
        kind, _, options = right.split()[:3]
        point = left.split()[4]
        if kind in ("cgroup", "cgroup2") and point.startswith(ROOT):
            generic = ("rw", "ro", "nsdelegate", "memory_recursiveprot", "xattr", "clone_children", "none", "seclabel")
            names = (o for o in options.split(",") if o not in generic and not o.startswith("release_agent="))
            found.append((point, kind, list(names)))
    return found


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def make_group(point, controllers, name):
    group = os.path.join(point, name)
    os.mkdir(group)
    if "cpuset" in controllers:  # v1: nothing can be attached to a group without CPUs and memory nodes
        for file in ("cpuset.cpus", "cpuset.mems"):
            write(f"{group}/{file}", open(f"{point}/{file}").read())
    return group


def remove_group(group):
    for directory, _, _ in os.walk(group, topdown=False):
        for _ in range(200):  # a v1 group stays busy for a moment after its last process has gone
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)
        else:
            print(f"private_host: {directory} could not be removed", file=sys.stderr)


def outside(command):
    groups = []
    child = None

    def stop(number, _frame):
        if child:
            child.kill()  # unshare --kill-child then ends the PID namespace and with it all that is in it
        else:
            raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)  # whoever started us may be killed
    try:
        mounted = hierarchies()
        for point, _, controllers in mounted:
            groups.append(make_group(point, controllers, f"creel-host-{os.getpid()}"))
        flags = "--mount --pid --fork --kill-child --mount-proc".split()
        joining = [*myself("--join"), json.dumps(groups), *myself("--inside"), json.dumps(mounted), *command]
        child = subprocess.Popen(["unshare", *flags, *joining])
        status = child.wait()
        return status if status >= 0 else 128 - status
    finally:
        for group in groups:
            remove_group(group)


def myself(part):
    return [sys.executable, os.path.abspath(__file__), part]


def join(groups, command):
    """Process 1 goes into the groups, and only then gets a cgroup namespace, whose root they are. unshare(1)'s waiting
    parent stays outside: on v2 a group with processes in it cannot pass controllers on."""
    for group in groups:
        write(f"{group}/cgroup.procs", "0")
    os.execvp("unshare", ["unshare", "--cgroup", *command])


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def remount_groups(mounted):
    subprocess.run(["umount", "--recursive", "--lazy", ROOT], check=True)
    if mounted[0][0] == ROOT:  # v2 alone; a group that has children with controllers may not hold processes itself
        mount("-t", "cgroup2", "cgroup2", ROOT)
        os.mkdir(f"{ROOT}/init")
        write(f"{ROOT}/init/cgroup.procs", "0")
        for controller in open(f"{ROOT}/cgroup.controllers").read().split():
            write(f"{ROOT}/cgroup.subtree_control", f"+{controller}")
        return
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", ROOT)
    for point, kind, controllers in mounted:
        os.makedirs(point)
        options = ["-o", ",".join(controllers)] if kind == "cgroup" else []
        mount("-t", kind, *options, kind, point)
        for controller in controllers if len(controllers) > 1 else []:  # cpu and cpuacct in one, as systemd has it
            os.symlink(os.path.basename(point), f"{ROOT}/{controller}")
        if kind == "cgroup2":
            mount("--bind", "/dev/null", f"{point}/cgroup.controllers")


def make_read_only():
    """What this host shares with the machine can be read only, but for /tmp and /var/tmp. To be called on a private
    host."""
    for scratch in ("/tmp", "/var/tmp"):
        mount("--bind", scratch, scratch)
    points = [line.split()[4] for line in open("/proc/self/mountinfo")]
    for point in points:
        if not point.startswith(("/run", "/tmp", "/var/tmp", "/proc", "/sys")):
            mount("-o", "remount,bind,ro", point)


def inside(mounted, command):
    """Process 1 of the private host: prepares it, then reaps whatever is left to it until the command ends."""
    if mounted:
        remount_groups(mounted)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    child = subprocess.Popen(command)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def main():
    if len(sys.argv) > 3 and sys.argv[1] == "--join":
        return join(json.loads(sys.argv[2]), sys.argv[3:])
    if len(sys.argv) > 3 and sys.argv[1] == "--inside":
        return inside(json.loads(sys.argv[2]), sys.argv[3:])
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0 or not shutil.which("unshare"):
        print("private_host: needs root and unshare(1) from util-linux", file=sys.stderr)
        return 2
    return outside(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
