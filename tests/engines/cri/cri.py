"""What a kubelet does, on a containerd of the test's own with its CRI plugin."""

import base64
import contextlib
import glob
import json
import os
import re
import subprocess

import images
from daemon import Daemon, finish
from suite import LIMIT, Skipped, check, equal, eventually

REPOSITORY = os.path.abspath(f"{os.path.dirname(os.path.abspath(__file__))}/../../..")
CLIENT = f"{REPOSITORY}/target/engines/cri/client"
PAUSE, BUSYBOX = "registry.test/pause:1", "registry.test/busybox:1"
CNI_PROGRAMS = "/usr/lib/cni"  # Debian's containernetworking-plugins
HANDLERS = {"io.containerd.creel.v2": "creel", "io.containerd.runc.v2": "runc"}

# The lines of README.md, and those that keep the test to itself; root may not lower its OOM score everywhere.
VERSION_2 = """
version = 2
root = "{work}/root"
state = "{work}/state"
[grpc]
  address = "{work}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{work}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.creel]
  runtime_type = "io.containerd.creel.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{cni}"
  conf_dir = "{work}/cni"
"""
VERSION_3 = """
version = 3
root = "{work}/root"
state = "{work}/state"
[grpc]
  address = "{work}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{work}/opt"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.creel]
  runtime_type = "io.containerd.creel.v2"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{cni}"]
  conf_dir = "{work}/cni"
"""


def network(work):
    """A bridge in the network namespace that the whole test runs in."""
    addresses = {"type": "host-local", "dataDir": f"{work}/addresses", "ranges": [[{"subnet": "10.88.0.0/16"}]]}
    bridge = {"type": "bridge", "bridge": "test0", "isGateway": True, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "test", "plugins": [bridge]}


def config(version, work):
    os.mkdir(f"{work}/cni")
    with open(f"{work}/cni/10-test.conflist", "w") as file:
        json.dump(network(work), file)
    return (VERSION_3 if version >= (2,) else VERSION_2).format(work=work, pause=PAUSE, cni=CNI_PROGRAMS)


def merged(base, more):
    """A deep copy of `base` with `more` laid over it."""
    result = dict(base)
    for key, value in more.items():
        result[key] = merged(base.get(key, {}), value) if isinstance(value, dict) else value
    return result


class Pod:
    def __init__(self, cri, name, config):
        self.cri, self.name, self.config = cri, name, config
        request = {"config": config, "runtime_handler": cri.handler}
        self.id = cri.call("RunPodSandbox", **request)["pod_sandbox_id"]

    def create(self, name, *command, image=BUSYBOX, **more):
        base = {
            "metadata": {"name": name},
            "image": {"image": image},
            "command": list(command or ("sleep", "1000")),
            "log_path": f"{name}.log",
            "linux": {"security_context": {"namespace_options": self.config["linux"]["security_context"]["namespace_options"]}},
        }
        request = {"pod_sandbox_id": self.id, "config": merged(base, more), "sandbox_config": self.config}
        return self.cri.call("CreateContainer", **request)["container_id"]

    def start(self, name, *command, **more):
        container = self.create(name, *command, **more)
        self.cri.call("StartContainer", container_id=container)
        return container

    def log(self, name):
        """[(stream, tag, line)] of a container's log, as the kubelet reads it."""
        with open(f"{self.config['log_directory']}/{name}.log") as file:
            lines = [line.rstrip("\n").split(" ", 3) for line in file]
        check(all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+", line[0]) for line in lines), f"times in {lines}")
        return [tuple(line[1:]) for line in lines]


class Cri(Daemon):
    namespace = "k8s.io"

    def __init__(self, options):
        super().__init__(options.containerd, options.runtime, options.shim_directory, config)
        self.handler, self.pods = HANDLERS[options.runtime], 0
        images.write(f"{self.work}/pause.tar", PAUSE, Cmd=["sleep", "2147483647"])
        images.write(f"{self.work}/busybox.tar", BUSYBOX)
        for name in (PAUSE, BUSYBOX):
            self.ctr("image", "import", f"{self.work}/{name.split('/')[1].split(':')[0]}.tar")
            # The plugin hears of it by an event.
            eventually(lambda: self.call("ImageStatus", image={"image": name}).get("image"), f"{name} is known")  # noqa: B023

    def start(self):
        super().start()
        eventually(lambda: self.try_call("Status").status == 0, "the plugin answers")

    def recover(self):
        super().recover()
        for pod in self.call("ListPodSandbox").get("items", []):
            self.remove(pod["id"])

    def left(self):
        return super().left() + glob.glob("/sys/fs/cgroup/*/test-pods/*/*/")

    # Its client.

    def try_call(self, method, limit=LIMIT, **request):
        pipe = subprocess.PIPE
        process = subprocess.Popen([CLIENT, "call", f"{self.work}/c.sock", method], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        return finish(process, method, limit)

    def call(self, method, **request):
        output = self.try_call(method, **request)
        check(output.status == 0, f"{method} {request}: {output!r}")
        return json.loads(output.out)

    def stream(self, url, *flags, stdin=None, limit=LIMIT):
        """What Exec or Attach has prepared; `stdin` is what is typed. On a terminal that is not the end of it: who goes
        away sees nothing more."""
        pipe = subprocess.PIPE
        flags = [*flags, *(["stdin"] if stdin is not None else [])]
        process = subprocess.Popen([CLIENT, "stream", url, *flags], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        process.stdin.write(stdin or "")
        process.stdin.flush()
        if "tty" not in flags:
            process.stdin.close()
        return finish(process, url, limit)

    def exec(self, container, *command, timeout=0):
        """(exit code, stdout, stderr) of ExecSync."""
        answer = self.call("ExecSync", container_id=container, cmd=list(command), timeout=timeout)
        return answer.get("exit_code", 0), decoded(answer.get("stdout")), decoded(answer.get("stderr"))

    def shell(self, container, script):
        """What a script in a container says; it must succeed."""
        code, out, err = self.exec(container, "sh", "-c", script)
        equal((code, err), (0, ""), f"the end of {script!r}")
        return out.strip()

    # Pods and containers.

    @contextlib.contextmanager
    def pod(self, name="pod", **more):
        """In the host's network, unless `more` says otherwise."""
        self.pods += 1
        base = {
            "metadata": {"name": name, "uid": name, "namespace": "default", "attempt": 0},
            "log_directory": f"{self.work}/logs-{self.pods}",
            "linux": {"security_context": {"namespace_options": {"network": "NODE", "pid": "CONTAINER"}}},
        }
        pod = Pod(self, name, merged(base, more))
        try:
            yield pod
        finally:
            self.remove(pod.id)

    def remove(self, pod_id):
        self.call("StopPodSandbox", pod_sandbox_id=pod_id)
        self.call("RemovePodSandbox", pod_sandbox_id=pod_id)

    def status(self, container):
        return self.call("ContainerStatus", container_id=container)["status"]

    def state(self, container):
        return self.status(container)["state"].removeprefix("CONTAINER_")

    def ended(self, container, limit=LIMIT):
        """The (exit code, reason) of a container that ends."""
        eventually(lambda: self.state(container) == "EXITED", f"the end of {container}", limit)
        status = self.status(container)
        return status.get("exit_code", 0), status.get("reason", "")

    def pid(self, container):
        info = self.call("ContainerStatus", container_id=container, verbose=True)["info"]["info"]
        return json.loads(info)["pid"]


def decoded(text):
    return base64.b64decode(text or "").decode(errors="replace")


def needs_network():
    if not os.path.exists(f"{CNI_PROGRAMS}/bridge"):
        raise Skipped("no bridge plugin (Debian: containernetworking-plugins)")
