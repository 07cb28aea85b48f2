"""What a pod's securityContext asks for."""

import base64
import json
import os
import re
import subprocess

from suite import Skipped, case, check, equal


def status(e, container, field):
    (found,) = re.findall(rf"^{field}:\s*(.*)$", e.shell(container, "cat /proc/self/status"), re.M)
    return found


def secure(**context):
    return {"security_context": context}


@case
def a_privileged_container(e):
    host = secure(privileged=True)
    with e.pod(linux=host) as pod:
        a, b = pod.start("a", linux=host), pod.start("b")
        with open("/proc/self/status") as own:
            (all_,) = re.findall(r"^CapEff:\s*(\S+)", own.read(), re.M)
        equal(status(e, a, "CapEff"), all_, "capabilities")
        equal(status(e, b, "CapEff"), "00000000a80425fb", "those of one that is not privileged")
        equal(status(e, a, "Seccomp"), "0", "no filter")
        devices = set(e.shell(a, "ls /dev").split())
        check({"kmsg", "full", "loop-control"} & devices - {"full"}, f"the host's devices in {devices}")
        e.shell(a, "mount -t tmpfs none /tmp && umount /tmp")
        check(e.exec(b, "mount", "-t", "tmpfs", "none", "/tmp")[0] != 0, "the other one must not mount")
        e.shell(a, "test -w /sys/kernel && test -w /proc/sys/kernel/domainname")
        check(" ro," in e.shell(b, "grep ' /sys ' /proc/mounts"), "/sys is read-only in the other one")


@case
def seccomp_profiles(e):
    path = f"{e.work}/profile.json"
    with open(path, "w") as file:
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, file)
    with e.pod() as pod:
        default = pod.start("default", linux=secure(seccomp={"profile_type": "RuntimeDefault"}))
        equal(status(e, default, "Seccomp"), "2", "the mode with the runtime's profile")
        check(e.exec(default, "unshare", "-U", "true")[0] != 0, "unshare(CLONE_NEWUSER) is filtered")
        free = pod.start("free", linux=secure(seccomp={"profile_type": "Unconfined"}))
        equal(status(e, free, "Seccomp"), "0", "the mode without")
        local = pod.start("local", linux=secure(seccomp={"profile_type": "Localhost", "localhost_ref": path}))
        code, _, err = e.exec(local, "mkdir", "/tmp/a")
        check(code != 0 and "Function not implemented" in err, err)
        e.shell(local, "echo > /tmp/b")


@case
def a_read_only_root(e):
    with e.pod() as pod:
        container = pod.start("a", linux=secure(readonly_rootfs=True))
        code, _, err = e.exec(container, "touch", "/file")
        check(code != 0 and "Read-only file system" in err, err)


@case
def users_and_groups(e):
    with e.pod() as pod:
        ids = lambda container: [e.shell(container, f"id {flag}") for flag in ("-u", "-g", "-G")]  # noqa: E731
        context = secure(run_as_user={"value": 1000}, run_as_group={"value": 2000}, supplemental_groups=[3000, 4000])
        user, group, groups = ids(pod.start("a", linux=context))
        # The image says that user 1000 is in group 50000, too.
        equal((user, group, set(groups.split())), ("1000", "2000", {"2000", "3000", "4000", "50000"}), "the ids")
        user, group, _ = ids(pod.start("b", linux=secure(run_as_username="user")))
        equal((user, group), ("1000", "1000"), "those of a name")
        equal(ids(pod.start("c"))[:2], ["0", "0"], "those of none")


@case
def no_new_privileges(e):
    with e.pod() as pod:
        equal(status(e, pod.start("a", linux=secure(no_new_privs=True)), "NoNewPrivs"), "1", "set")
        equal(status(e, pod.start("b"), "NoNewPrivs"), "0", "not set")


@case
def capabilities(e):
    with e.pod() as pod:
        none = pod.start("a", linux=secure(capabilities={"drop_capabilities": ["ALL"]}))
        equal(status(e, none, "CapEff"), "0000000000000000", "none")
        one = {"drop_capabilities": ["ALL"], "add_capabilities": ["NET_ADMIN"]}
        equal(int(status(e, pod.start("b", linux=secure(capabilities=one)), "CapEff"), 16), 1 << 12, "one")


@case
def masked_and_read_only_paths(e):
    with e.pod() as pod:
        paths = secure(masked_paths=["/proc/keys", "/bin/busybox-no"], readonly_paths=["/proc/sys"])
        container = pod.start("a", linux=paths)
        equal(e.shell(container, "cat /proc/keys"), "", "a masked file")
        check("ro," in e.shell(container, "grep ' /proc/sys ' /proc/mounts"), "a read-only directory")


@case
def mounts(e):
    host = f"{e.work}/volume"
    os.makedirs(f"{host}/later")
    with open(f"{host}/file", "w") as file:
        file.write("content")
    # What is mounted later is to be seen in there: that takes a shared mount.
    subprocess.run(["mount", "--make-shared", "/run"], check=True)
    with e.pod() as pod:
        wanted = [
            {"host_path": host, "container_path": "/writable"},
            {"host_path": host, "container_path": "/fixed", "readonly": True},
            {"host_path": host, "container_path": "/slave", "propagation": "PROPAGATION_HOST_TO_CONTAINER"},
        ]
        container = pod.start("a", mounts=wanted)
        equal(e.shell(container, "cat /fixed/file; echo more > /writable/other; cat /slave/other"), "contentmore", "the files")
        check(e.exec(container, "touch", "/fixed/file")[0] != 0, "read-only")
        subprocess.run(["mount", "-t", "tmpfs", "later", f"{host}/later"], check=True)
        try:
            shown = e.shell(container, "grep ^later /proc/mounts").split()
            equal((shown[1], len(shown)), ("/slave/later", 6), "where the later mount is seen")
        finally:
            subprocess.run(["umount", f"{host}/later"], check=True)
        equal(e.exec(container, "grep", "^later", "/proc/mounts")[1], "", "and that it is gone")
    os.remove(f"{host}/other")


@case
def recursively_read_only_mounts(e):
    if not e.features().get("recursive_read_only_mounts"):
        raise Skipped(f"{e.handler} does not tell this containerd that it has them")
    host = f"{e.work}/recursive"
    os.makedirs(f"{host}/below")
    subprocess.run(["mount", "-t", "tmpfs", "below", f"{host}/below"], check=True)
    try:
        with e.pod() as pod:
            mount = {"host_path": host, "container_path": "/fixed", "readonly": True}
            a, b = pod.start("a", mounts=[{**mount, "recursive_read_only": True}]), pod.start("b", mounts=[mount])
            check("Read-only" in e.exec(a, "touch", "/fixed/below/file")[2], "the mount below is read-only, too")
            e.shell(b, "touch /fixed/below/file")
    finally:
        subprocess.run(["umount", f"{host}/below"], check=True)


@case
def devices(e):
    with e.pod() as pod:
        wanted = [{"host_path": "/dev/null", "container_path": "/dev/nothing", "permissions": "rw"}]
        e.shell(pod.start("a", devices=wanted), "echo > /dev/nothing && test -c /dev/nothing")


@case
def environment_and_directory(e):
    with e.pod() as pod:
        envs = [{"key": "NAME", "value": base64.b64encode(b"a value").decode()}]
        container = pod.start("a", envs=envs, working_dir="/tmp")
        equal(e.shell(container, "echo $NAME; pwd"), "a value\n/tmp", "the environment")
