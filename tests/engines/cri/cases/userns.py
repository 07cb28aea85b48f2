"""Pods with a user namespace of their own (the kubelet's `hostUsers: false`): root in there is nobody on the host."""

import contextlib
import os
import shutil
import signal
import subprocess

from cri import needs_network, readmes_blocks
from suite import Skipped, case, check, equal, eventually

FIRST, OTHER, SIZE = 131072, 262144, 65536  # as the kubelet deals them out: a range for each pod


def mapping(first=FIRST):
    return [{"host_id": first, "container_id": 0, "length": SIZE}]


def secure(first=FIRST, **namespaces):
    users = {"mode": "POD", "uids": mapping(first), "gids": mapping(first)}
    return {"security_context": {"namespace_options": {"userns_options": users, **namespaces}}}


@contextlib.contextmanager
def user_pod(e, name="pod", first=FIRST, network="POD", pid="CONTAINER", privileged=False, **more):
    """In a network of its own, unless it says otherwise."""
    needs_user_namespaces(e)
    if network == "POD":
        needs_network()
    linux = secure(first, network=network, pid=pid)
    linux["security_context"]["privileged"] = privileged
    with e.pod(name, linux=linux, **more) as pod:
        yield pod


def needs_user_namespaces(e):
    if e.version < (1, 7):
        raise Skipped("containerd has them since 1.7")
    if e.version >= (2,) and not e.features().get("user_namespaces"):
        raise Skipped(f"{e.handler} does not tell this containerd that it has them")


def volume(e, name, first=FIRST, **more):
    """A directory of the host's with the files of several owners, and the mount that the kubelet asks for."""
    host = f"{e.work}/{name}"
    os.makedirs(host, exist_ok=True)
    for owner in (0, 1000, SIZE + 7):
        with open(f"{host}/{owner}", "w") as file:
            file.write("content\n")
        os.chown(f"{host}/{owner}", owner, owner)
    maps = {"uidMappings": mapping(first), "gidMappings": mapping(first)} if first is not None else {}
    return host, {"host_path": host, "container_path": "/volume", **maps, **more}


def needs_mapped_volumes(e):
    if e.version < (2,):
        raise Skipped("containerd maps volumes since 2.0")


def owners(*paths):
    return [(os.stat(path).st_uid, os.stat(path).st_gid) for path in paths]


def on_the_host(e, container, path=""):
    """A path of a container's, as root on the host sees it."""
    return f"/proc/{e.pid(container)}/root{path}"


def users(pid):
    """The real ids of a process, as the host has them."""
    with open(f"/proc/{pid}/status") as status:
        lines = dict(line.split(":\t", 1) for line in status if line.startswith(("Uid", "Gid")))
    return tuple(int(lines[name].split()[0]) for name in ("Uid", "Gid"))


def namespace(e, container, name="user"):
    return os.readlink(f"/proc/{e.pid(container)}/ns/{name}")


@case
def root_is_nobody_on_the_host(e):
    with user_pod(e) as pod:
        a = pod.start("a")
        equal(e.shell(a, "id -u; id -g; cat /proc/self/uid_map; cat /proc/self/gid_map").split(),
              ["0", "0", *2 * ["0", str(FIRST), str(SIZE)]], "inside")  # fmt: skip
        equal(users(e.pid(a)), (FIRST, FIRST), "its init, on the host")
        (sandbox,) = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_pause(pid)]
        equal(users(sandbox), (FIRST, FIRST), "the sandbox's init, on the host")
        user = pod.start("b", linux={"security_context": {"run_as_user": {"value": 1000}, "run_as_group": {"value": 50000}}})
        equal(users(e.pid(user)), (FIRST + 1000, FIRST + 50000), "a user's, on the host")
        equal(e.shell(user, "id -u; id -g"), "1000\n50000", "and inside")


def is_pause(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
        return file.read().split("\0")[:2] == ["sleep", "2147483647"]


@case
def the_containers_of_a_pod_share_its_user_namespace(e):
    with user_pod(e, "one") as one, user_pod(e, "two", OTHER) as two:
        a, b, c = one.start("a"), one.start("b"), two.start("c")
        shared = {name: namespace(e, a, name) for name in ("user", "net", "ipc", "uts")}
        equal({name: namespace(e, b, name) for name in shared}, shared, "what two containers share")
        for name, value in shared.items():
            check(value not in (namespace(e, c, name), os.readlink(f"/proc/self/ns/{name}")), f"{name}: not another one's")
        equal([users(e.pid(container))[0] for container in (a, b, c)], [FIRST, FIRST, OTHER], "whose they are on the host")
        check(namespace(e, a, "pid") != namespace(e, b, "pid"), "a PID namespace each")


@case
def the_root_file_system_is_its_roots(e):
    with user_pod(e) as pod:
        a = pod.start("a")
        equal(e.shell(a, "stat -c %u:%g / /bin /bin/busybox /etc/passwd /tmp").split(), 5 * ["0:0"], "the image's files")
        e.shell(a, "echo x > /written; mkdir /made; echo y >> /etc/passwd; rm -r /www; chown 1000:50000 /written")
        equal(e.shell(a, "stat -c %u:%g /written /made /etc/passwd; ls -d /www 2>/dev/null || true").split(),
              ["1000:50000", "0:0", "0:0"], "what it writes")  # fmt: skip
        paths = [on_the_host(e, a, path) for path in ("/bin/busybox", "/made", "/written")]
        equal(owners(*paths), [(FIRST, FIRST)] * 2 + [(FIRST + 1000, FIRST + 50000)], "on the host")
        # The image's files are as they were, for a pod without.
        with e.pod("other") as other:
            found = e.shell(other.start("b"), "stat -c %u:%g / /bin/busybox; ls -d /www").split()
            equal(found, ["0:0", "0:0", "/www"], "another's")


@case
def a_user_cannot_write_to_what_is_its_roots(e):
    with user_pod(e) as pod:
        a = pod.start("a", linux={"security_context": {"run_as_user": {"value": 1000}}})
        for path in ("/file", "/etc/passwd", "/bin/busybox"):
            check("denied" in e.exec(a, "sh", "-c", f"echo x >> {path}")[2], path)
        e.shell(a, "echo x > /tmp/file")


@case
def volumes_keep_their_owners(e):
    needs_mapped_volumes(e)
    host, mount = volume(e, "volume")
    with user_pod(e) as pod:
        a = pod.start("a", mounts=[mount])
        equal(e.shell(a, "stat -c %u:%g /volume /volume/0 /volume/1000 /volume/65543").split(),
              ["0:0", "0:0", "1000:1000", "65534:65534"], "inside")  # fmt: skip
        e.shell(a, "echo x > /volume/new; chown 1000:7 /volume/new; echo more >> /volume/0")
        equal(owners(f"{host}/new", f"{host}/0"), [(1000, 7), (0, 0)], "on the host")
        # No id of the pod's stands for the owner of this one.
        check(e.exec(a, "sh", "-c", "echo x >> /volume/65543")[0] != 0, "another one's file")
    equal(owners(host, f"{host}/1000", f"{host}/65543"), [(0, 0), (1000, 1000), (65543, 65543)], "the others")


@case
def a_volume_that_is_not_mapped_is_nobodys(e):
    host, mount = volume(e, "unmapped", first=None)
    with user_pod(e) as pod:
        a = pod.start("a", mounts=[mount])
        equal(e.shell(a, "stat -c %u:%g /volume /volume/0").split(), 2 * ["65534:65534"], "inside")
        for path in ("0", "new"):
            check("denied" in e.exec(a, "sh", "-c", f"echo x > /volume/{path}")[2], path)
        os.chown(f"{host}/1000", FIRST + 1000, FIRST + 1000)
        equal(e.shell(a, "stat -c %u:%g /volume/1000"), "1000:1000", "one that belongs to the pod's ids")


@case
def two_pods_share_a_volume(e):
    needs_mapped_volumes(e)
    host, mount = volume(e, "shared")
    _, other = volume(e, "shared", OTHER)
    with user_pod(e, "one") as one, user_pod(e, "two", OTHER) as two, e.pod("three") as three:
        containers = one.start("a", mounts=[mount]), two.start("b", mounts=[other])
        plain = three.start("c", mounts=[{**mount, "uidMappings": [], "gidMappings": []}])
        for number, container in enumerate((*containers, plain)):
            e.shell(container, f"echo {number} >> /volume/1000; echo > /volume/by-{number}")
        equal(e.shell(plain, "cat /volume/1000"), "content\n0\n1\n2", "what all have written")
        equal({e.shell(one, "stat -c %u /volume/by-*") for one in (*containers, plain)}, {"0\n0\n0"}, "whose it is")


@case
def how_mapped_volumes_are_mounted(e):
    needs_mapped_volumes(e)
    host, mount = volume(e, "kinds")
    os.makedirs(f"{host}/below")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "below", f"{host}/below"], check=True)
    subprocess.run(["mount", "--make-shared", "/run"], check=True)
    file = {**mount, "host_path": f"{host}/1000", "container_path": "/etc/one-file"}
    wanted = [
        mount,
        file,
        {**mount, "container_path": "/fixed", "readonly": True},
        {**mount, "container_path": "/all-fixed", "readonly": True, "recursive_read_only": True},
        {**mount, "container_path": "/slave", "propagation": "PROPAGATION_HOST_TO_CONTAINER"},
    ]
    try:
        with user_pod(e) as pod:
            a = pod.start("a", mounts=wanted)
            equal(e.shell(a, "stat -c %u:%g /etc/one-file; cat /etc/one-file"), "1000:1000\ncontent", "a file")
            e.shell(a, "echo x > /volume/written; cat /fixed/written /all-fixed/written /slave/written")
            for path in ("/fixed/written", "/all-fixed/written", "/all-fixed/below/file"):
                check("Read-only" in e.exec(a, "touch", path)[2], path)
            equal(e.shell(a, "stat -c %u:%g /fixed/0 /all-fixed/0 /slave/0").split(), 3 * ["0:0"], "their owners")
            # containerd asks for the map of the volume itself ("idmap", not "ridmap").
            equal(e.shell(a, "stat -c %u:%g /volume/below"), "65534:65534", "a mount below")
    finally:
        subprocess.run(["umount", f"{host}/below"], check=True)


@case
def the_pods_own_files_are_its_roots(e):
    """/etc/hosts and the like are containerd's, mapped; /dev/shm is the pod's."""
    with user_pod(e, hostname="name", dns_config={"servers": ["10.10.10.10"]}) as pod:
        a, b = pod.start("a"), pod.start("b")
        files = "/etc/hosts /etc/hostname /etc/resolv.conf /dev/shm"
        found = e.shell(a, f"stat -c %u:%g {files}; cat /etc/hostname; hostname").split()
        if e.version >= (2,):
            equal(found[:3], 3 * ["0:0"], "the owners")
            e.shell(a, "echo 10.1.1.1 other >> /etc/hosts")
        equal(found[4:], ["name", "name"], "the host name")
        e.shell(a, "echo x > /dev/shm/file")
        equal(e.shell(b, "cat /dev/shm/file; stat -c %u /dev/shm/file"), "x\n0", "shared memory")


@case
def the_network_is_its_roots(e):
    with user_pod(e) as pod:
        admin = {"security_context": {"capabilities": {"add_capabilities": ["NET_ADMIN"]}}}
        a, b = pod.start("a", linux=admin), pod.start("b")
        e.shell(a, "ip link set lo down && ip link set lo up")
        check(e.exec(b, "ip", "link", "set", "lo", "down")[0] != 0, "only with the capability")
        check("eth0" in e.shell(b, "ls /sys/class/net"), "the pod's devices are in /sys")
        check(e.shell(b, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start").isdigit(), "a setting of it")


@case
def in_the_hosts_network(e):
    """No sysfs can be mounted there: it is the host's, read-only."""
    if e.version < (2,):
        raise Skipped("containerd asks for a sysfs there, before 2.0")
    with user_pod(e, network="NODE") as pod:
        a, b = pod.start("a"), pod.start("b")
        equal(namespace(e, a, "net"), os.readlink("/proc/self/ns/net"), "the network")
        equal(users(e.pid(a)), (FIRST, FIRST), "its init, on the host")
        equal(namespace(e, a), namespace(e, b), "the user namespace of both")
        e.shell(a, "ls /sys/class/net/lo")
        check(e.exec(a, "sh", "-c", "echo 1 > /sys/kernel/mm/ksm/run")[0] != 0, "/sys is not to be written to")


@case
def a_shared_pid_namespace(e):
    with user_pod(e, pid="POD") as pod:
        a, b = pod.start("a", "sleep", "4321"), pod.start("b", "sh", "-c", "sleep 4322 & exec sleep 4323")
        shown = e.shell(a, "ps -o args")
        check(all(word in shown for word in ("2147483647", "4321", "4322", "4323")), f"all processes in {shown}")
        e.call("StopContainer", container_id=b, timeout=0)
        eventually(lambda: "432" not in e.shell(a, "ps -o args").replace("4321", ""), "the end of all of b's processes")


@case
def execs_and_terminals(e):
    with user_pod(e) as pod:
        a = pod.start("a")
        equal(e.exec(a, "sh", "-c", "id -u; exit 3")[:2], (3, "0\n"), "an exec")
        script = "tty; stat -c %u $(tty); test -t 0 && exit 5"
        url = e.call("Exec", container_id=a, cmd=["sh", "-c", script], tty=True, stdin=True, stdout=True)["url"]
        output = e.stream(url, "tty", stdin="")
        equal((output.status, output.out.split()), (5, ["/dev/pts/0", "0"]), "an exec on a terminal")
        e.exec(a, "sh", "-c", "sleep 4321 >/dev/null 2>&1 & true")
        eventually(lambda: [pid for pid in sleepers("4321") if users(pid) == (FIRST, FIRST)], "whose it is on the host")
        reads = pod.start("reads", "sh", "-c", "read line; echo got-$line", stdin=True, stdin_once=True)
        attached = e.call("Attach", container_id=reads, stdin=True, stdout=True, stderr=True)
        equal(e.stream(attached["url"], stdin="line\n").out, "got-line\n", "what it answers who is attached")
        t = pod.start("t", "sh", "-c", "tty; stat -c %u:%g $(tty); echo > /dev/console", tty=True)
        equal(e.ended(t), (0, "Completed"), "a container on a terminal")
        equal([line[2] for line in pod.log("t")][:1], ["/dev/pts/0"], "its terminal")


def sleepers(argument):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
            if file.read() == f"sleep\0{argument}\0":
                found.append(int(pid))
    return found


@case
def limits_and_protections(e):
    with user_pod(e) as pod:
        context = {"seccomp": {"profile_type": "RuntimeDefault"}, "no_new_privs": True, "readonly_rootfs": True,
                   "masked_paths": ["/proc/keys"], "readonly_paths": ["/proc/sys"]}  # fmt: skip
        memory = {"resources": {"memory_limit_in_bytes": 32 << 20}}
        a = pod.start("a", linux={"security_context": context, **memory})
        status = e.shell(a, "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status").split()
        equal(status, ["NoNewPrivs:", "1", "Seccomp:", "2"], "the filter")
        equal(e.shell(a, "cat /proc/keys"), "", "a masked file")
        check(" ro," in e.shell(a, "grep ' /proc/sys ' /proc/mounts"), "a read-only directory")
        check("Read-only" in e.exec(a, "touch", "/file")[2], "the root is read-only")
        check(e.exec(a, "mount", "-t", "tmpfs", "none", "/tmp")[0] != 0, "no mounts")
        hog = pod.start("b", "sh", "-c", "a=aaaaaaaaaaaaaaaa; while :; do a=$a$a; done", linux=memory)
        equal(e.ended(hog)[1], "OOMKilled", "one that wants too much")


@case
def a_privileged_container(e):
    """In its namespace only: it may mount, but change nothing of the host's."""
    with user_pod(e, privileged=True) as pod:
        a = pod.start("a", linux={"security_context": {"privileged": True}})
        e.shell(a, "mount -t tmpfs none /tmp && umount /tmp")
        equal(users(e.pid(a)), (FIRST, FIRST), "its init, on the host")
        check(e.exec(a, "sh", "-c", "echo 1 > /proc/sys/kernel/sysrq")[0] != 0, "a setting of the host's")


@case(runc="it leaves its socket")
def a_shim_that_is_killed(e):
    with user_pod(e) as pod:
        a = pod.start("a", "sleep", "4321")
        os.kill(e.shim_of(pod.id), signal.SIGKILL)
        eventually(lambda: e.state(a) == "EXITED", "the end of its container")
        equal(sleepers("4321"), [], "its processes")


@case
def a_containerd_that_is_killed(e):
    with user_pod(e) as pod:
        a = pod.start("a")
        e.kill()
        e.start()
        equal(e.state(a), "RUNNING", "its container")
        b = pod.start("b")
        equal(e.shell(a, "id -u"), "0", "an exec")
        equal(namespace(e, a), namespace(e, b), "the user namespace of one that came later")


@case
def from_its_begin_to_its_end(e):
    with user_pod(e) as pod:
        for number in range(3):
            a = pod.create(f"a{number}", "sh", "-c", "trap 'exit 4' TERM; sleep 1000 & wait")
            e.call("StartContainer", container_id=a)
            e.call("StopContainer", container_id=a, timeout=10)
            equal(e.ended(a), (4, "Error"), "its end")
            e.call("RemoveContainer", container_id=a)
        missing = pod.create("m", "/no-such-thing")
        output = e.try_call("StartContainer", container_id=missing)
        check(output.status != 0 and "no-such-thing" in output.err, f"a command that is not there: {output!r}")


@case(runc="its options are containerd's own")
def a_handler_with_options(e):
    """The lines of README.md, with an option whose effect is to be seen here."""
    needs_user_namespaces(e)
    if e.version < (2,):
        raise Skipped("containerd wants them since 2.0")
    shim = shutil.which("containerd-shim-creel-v2", path=e.path)
    lines = readmes_blocks()[-1].replace("runtimes.creel", "runtimes.users")
    lines = lines.replace("/usr/local/bin/containerd-shim-creel-v2", shim).replace("SystemdCgroup = true", f'Root = "{e.work}/own"')
    with e.configured(lambda text: f"{text}\n{lines}"):
        handler, e.handler = e.handler, "users"
        try:
            with user_pod(e) as pod:
                a = pod.start("a")
                equal(users(e.pid(a)), (FIRST, FIRST), "its init, on the host")
                equal(sorted(os.listdir(f"{e.work}/own/k8s.io")), sorted([pod.id, a]), "where their state is")
        finally:
            e.handler = handler
