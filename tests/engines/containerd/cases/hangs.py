"""What takes long, or for ever: hooks that hang, processes stuck in the kernel, execs that fail in great number."""

import ctypes
import glob
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import threading
import time

from daemon import with_argument
from direct import Client
from suite import case, check, equal, eventually

TOLD = 61  # what hooks sleep, in seconds; longer than any case waits


def spec(e, name, *command, hook=None, mount=None, annotations=None, stage="createRuntime"):
    """config.json of a container with a hook, of the host's side, that leaves a mark when it has begun; and the mark."""
    directory = f"{e.work}/spec-{name}"
    root, mark = f"{directory}/rootfs", f"{directory}/begun"
    shutil.rmtree(directory, ignore_errors=True)
    for path in ("bin", "dev", "proc", "sys", "run", "stuck"):
        os.makedirs(f"{root}/{path}")
    shutil.copy("/bin/busybox", f"{root}/bin")
    for applet in ("sh", "sleep", "stat", "echo", "true"):
        os.symlink("busybox", f"{root}/bin/{applet}")
    config = json.loads(e.ctr("oci", "spec"))
    config["root"] = {"path": root}
    config["process"].update(args=list(command), terminal=False, env=["PATH=/bin"])
    config["linux"]["cgroupsPath"] += f"/{name}"
    config["annotations"] = annotations or {}
    if mount:
        config["mounts"].append({"destination": "/stuck", "type": "bind", "source": mount, "options": ["rbind", "rw"]})
    if hook:
        script = f"cat >{mark}.state; : >{mark}; exec {hook}"
        config["hooks"] = {stage: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    path = f"{directory}/config.json"
    with open(path, "w") as file:
        json.dump(config, file)
    return path, mark


def start(e, name, path):
    return e.popen("run", "-d", "--null-io", "--runtime", e.runtime, "--config", path, name, stdout=-3, stderr=-3)


@case(runc="its create ends with containerd's connection")
def a_container_is_made_while_containerd_is_killed_and_comes_back(e):
    path, mark = spec(e, "c", "sleep", "1000", hook="sleep 2")
    client = start(e, "c", path)
    eventually(lambda: os.path.exists(mark), "the hook")
    e.kill()
    client.wait()
    e.start()
    try:
        # containerd asks the shim for its processes, and takes one that has none for forgotten.
        eventually(lambda: e.status("c") == "CREATED", f"the container, which is {e.status('c')}")
    finally:
        e.remove("c")
    eventually(lambda: not with_argument("1000"), "the end of its processes")


@case
def a_task_is_deleted_while_containerd_is_killed_and_comes_back(e):
    path, mark = spec(e, "c", "sleep", "1000", hook="sleep 2", stage="poststop")
    start(e, "c", path).wait()
    e.ctr("task", "kill", "-s", "KILL", "c")
    eventually(lambda: e.status("c") == "STOPPED", "the end")
    client = e.popen("task", "rm", "c", stdout=-3, stderr=-3)
    eventually(lambda: os.path.exists(mark), "the hook")
    e.kill()
    client.wait()
    e.start()
    # Who was to be told is gone; the rest of it is done all the same, and may be asked for once more.
    eventually(lambda: e.try_ctr("task", "rm", "c").status == 0 or e.status("c") is None, "the end of the task")
    e.ctr("container", "rm", "c")


@case(runc="its start ends with containerd's connection")
def a_task_is_started_while_containerd_is_killed_and_comes_back(e):
    path, mark = spec(e, "c", "sleep", "1000", hook="sleep 2", stage="poststart")
    client = start(e, "c", path)
    eventually(lambda: os.path.exists(mark), "the hook")
    e.kill()
    client.wait()
    e.start()
    try:
        eventually(lambda: e.status("c") == "RUNNING", f"the container runs, and is {e.status('c')}")
        equal(e.exec("c", "e", "echo", "there").out, "there\n", "exec")
    finally:
        e.remove("c")


@case(runc="its Delete waits for the hook, for longer than containerd waits for it")
def a_client_that_gives_up_its_create_leaves_nothing(e):
    path, mark = spec(e, "c", "sleep", "1000", hook=f"sleep {TOLD}")
    client = start(e, "c", path)
    try:
        eventually(lambda: os.path.exists(mark), "the hook")
    finally:
        client.kill()
        client.wait()
    eventually(lambda: not e.shims(), "the end of the shim")
    check(not with_argument(str(TOLD)), "the hook has ended")
    e.ctr("container", "rm", "c")


@case(runc="it leaves its socket")
def a_shim_that_is_killed_while_it_makes_a_container_leaves_nothing(e):
    path, mark = spec(e, "c", "sleep", "1000", hook=f"sleep {TOLD}")
    client = start(e, "c", path)
    try:
        eventually(lambda: os.path.exists(mark), "the hook")
        # Its workers have its command line too; they end with it.
        os.kill(min(e.shims()), signal.SIGKILL)
        client.wait(20)
    finally:
        client.kill()
        client.wait()
    eventually(lambda: not e.left(), f"nothing left: {e.left()}")
    # Hooks are the host's programs: nobody knows better than they what it takes to end them halfway.
    for pid in with_argument(str(TOLD)):
        os.kill(int(pid), signal.SIGKILL)
    e.try_ctr("container", "rm", "c")


@case(runc="its create holds a lock that every other call needs")
def a_hook_that_hangs_stops_no_other_container_of_the_pod(e):
    group = {"io.containerd.runc.v2.group": "pod"}
    path, mark = spec(e, "c", "sleep", "1000", hook=f"sleep {TOLD}", annotations=group)
    with e.running("d", flags=["--annotation", "io.containerd.runc.v2.group=pod"]):
        client = start(e, "c", path)
        try:
            eventually(lambda: os.path.exists(mark), "the hook")
            began = time.monotonic()
            equal(e.exec("d", "e", "echo", "there").out, "there\n", "exec in the other container")
            e.ctr("task", "pause", "d")
            e.ctr("task", "resume", "d")
            check(time.monotonic() - began < 5, "it took long")
        finally:
            client.kill()
            client.wait()
        eventually(lambda: not with_argument(str(TOLD)), "the end of the hook")
        equal(e.status("d"), "RUNNING", "the other container")
        e.ctr("container", "rm", "c")


@case(runc="its create holds a lock that every other call needs")
def calls_that_wait_for_a_create_that_hangs_have_a_limit(e):
    path, mark = spec(e, "c", "sleep", "1000", hook=f"sleep {TOLD}")
    client = start(e, "c", path)
    try:
        eventually(lambda: os.path.exists(mark), "the hook")
        direct = Client(*glob.glob(f"{e.work}/state/io.containerd.runtime.v2.task/*/c"))
        for _ in range(300):
            direct.send("State", (1, "c"))
        refused = [direct.receive() for _ in range(300 - 256)]
        check(not any(refused), "those beyond the limit are refused at once")
    finally:
        client.kill()
        client.wait()
    # Its end answers the others.
    check(not any(direct.receive() for _ in range(256)), "there is no container")
    direct.close()
    e.ctr("container", "rm", "c")


class Unanswering:
    """A FUSE file system that answers for its root directory, and nothing else: who looks up a name in it hangs, and
    once the request has been read from /dev/fuse not even SIGKILL ends that. With its end they go on, with an error."""

    LOOKUP, GETATTR, INIT = 1, 3, 26

    def __init__(self, target):
        self.asked, self.ended = threading.Event(), threading.Event()
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        os.makedirs(target, exist_ok=True)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"stuck", target.encode(), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "mount fuse")
        self.server = threading.Thread(target=self.serve)
        self.server.start()
        self.target = target

    def serve(self):
        while not self.ended.is_set():
            if not select.select([self.device], [], [], 0.1)[0]:
                continue
            _, opcode, unique = struct.unpack_from("=IIQ", os.read(self.device, 1 << 17))
            if opcode == self.INIT:
                # Version 7.31, and what it may send at once.
                self.answer(unique, struct.pack("=IIIIHHIIHHI28x", 7, 31, 4096, 0, 1, 1, 4096, 1, 1, 0, 0))
            elif opcode == self.GETATTR:
                directory = struct.pack("=QQQQQQIIIIIIIIII", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
                self.answer(unique, struct.pack("=QII", 60, 0, 0) + directory)
            elif opcode == self.LOOKUP:
                self.asked.set()

    def answer(self, unique, payload):
        os.write(self.device, struct.pack("=IiQ", 16 + len(payload), 0, unique) + payload)

    def __enter__(self):
        return self

    def end(self):
        if not self.ended.is_set():
            self.ended.set()
            self.server.join()
            os.close(self.device)

    def __exit__(self, *_):
        self.end()
        subprocess.run(["umount", "-l", self.target], check=True)


@case(runc="it sends the signal and is content")
def a_process_that_cannot_be_killed_is_named_with_its_state(e):
    with Unanswering(f"{e.work}/stuck") as stuck:
        path, _ = spec(e, "c", "stat", "/stuck/name", mount=stuck.target)
        client = start(e, "c", path)
        try:
            check(stuck.asked.wait(20), "the process asks for the name")
            client.wait()
            pid = e.pid("c")
            began = time.monotonic()
            output = e.try_ctr("task", "kill", "--all", "-s", "KILL", "c")
            took = time.monotonic() - began
            check(output.status != 0 and f"process {pid} (stat, state D)" in output.err, repr(output))
            check(5 < took < 15, f"it took {took:.1f} s")
            # Meanwhile, and afterwards, everything else is answered.
            equal(e.status("c"), "RUNNING", "status")
        finally:
            stuck.end()
            e.remove("c")


@case
def failing_execs_with_a_terminal_leave_nothing(e):
    with e.running("c"):
        shim = e.shim_of("c")
        before = None
        for number in range(60):
            status, _ = e.in_terminal("task", "exec", "-t", "--exec-id", f"e{number}", "c", "no-such-thing")
            check(status != 0, f"exec {number} succeeded")
            if number == 9:
                before = len(os.listdir(f"/proc/{shim}/fd"))
        # Go's runtime may add a few at its leisure; what is left by each exec would make 50.
        after = len(os.listdir(f"/proc/{shim}/fd"))
        check(after <= before + 10, f"descriptors: {before}, then {after}")
