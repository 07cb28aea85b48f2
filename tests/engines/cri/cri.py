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

# What keeps the test to itself; root may not lower an OOM score everywhere.
COMMON = """
root = "{work}/root"
state = "{work}/state"
[grpc]
  address = "{work}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{work}/opt"
[plugins."{plugin}".cni]
  {cni}
  conf_dir = "{work}/cni"
[plugins."{plugin}".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""
VERSION_2 = """
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
"""
VERSION_3 = """
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
"""


def readmes_blocks():
    """What README.md tells users to write: the handler by version, its options for systemd, and both for user namespaces."""
    with open(f"{REPOSITORY}/README.md") as readme:
        return re.findall(r"^```toml\n(.*?)^```", readme.read(), re.M | re.S)


def readmes_lines(version):
    """The handler for this containerd, and its options."""
    version_2, version_3, options, options_of_1_6, _ = readmes_blocks()
    if version >= (2,):
        return version_3, options
    options = options.replace("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri")
    return version_2, options if version >= (1, 7) else options_of_1_6


def handlers(version, work, runtime):
    """The handler as README.md has it, and one named `other` with its options, for a case that must see them."""
    handler, options = readmes_lines(version)
    systemd = (handler.split("\n\n", 1)[1] + options).replace("runtimes.creel", "runtimes.other")
    systemd = systemd.replace("io.containerd.creel.v2", runtime)
    if "ConfigPath" in options:
        with open(f"{work}/creel.toml", "w") as file:
            file.write("SystemdCgroup = true\n")
        own = "SystemdCgroup = true" if "runc" in runtime else f'ConfigPath = "{work}/creel.toml"'
        systemd = re.sub("ConfigPath = .*", own, systemd)
    return handler, systemd


def network(work):
    """A bridge in the network namespace that the whole test runs in."""
    addresses = {"type": "host-local", "dataDir": f"{work}/addresses", "ranges": [[{"subnet": "10.88.0.0/16"}]]}
    bridge = {"type": "bridge", "bridge": "test0", "isGateway": True, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "test", "plugins": [bridge]}


def config(version, work, runtime):
    os.mkdir(f"{work}/cni")
    with open(f"{work}/cni/10-test.conflist", "w") as file:
        json.dump(network(work), file)
    handler, systemd = handlers(version, work, runtime)
    new = version >= (2,)
    plugin = "io.containerd.cri.v1.runtime" if new else "io.containerd.grpc.v1.cri"
    cni = f'bin_dirs = ["{CNI_PROGRAMS}"]' if new else f'bin_dir = "{CNI_PROGRAMS}"'
    own = (COMMON + (VERSION_3 if new else VERSION_2)).format(work=work, plugin=plugin, cni=cni, pause=PAUSE)
    # Its first line, the version, has to be the file's.
    first, rest = handler.split("\n", 1)
    return first + own + rest + systemd


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
        of_runtime = lambda version, work: config(version, work, options.runtime)  # noqa: E731
        super().__init__(options.containerd, options.runtime, options.shim_directory, of_runtime)
        self.handler, self.pods = HANDLERS[options.runtime], 0
        self.add_image(PAUSE, Cmd=["sleep", "2147483647"])
        self.add_image(BUSYBOX)

    def add_image(self, name, **config):
        images.write(f"{self.work}/image.tar", name, **config)
        self.ctr("image", "import", f"{self.work}/image.tar")
        # The plugin hears of it by an event.
        eventually(lambda: self.call("ImageStatus", image={"image": name}).get("image"), f"{name} is known")

    def start(self):
        super().start()
        eventually(lambda: self.try_call("Status").status == 0, "the plugin answers")

    @contextlib.contextmanager
    def configured(self, change):
        """With another config.toml: change(text)."""
        path = f"{self.work}/config.toml"
        with open(path) as file:
            before = file.read()

        def restart(text):
            with open(path, "w") as file:
                file.write(text)
            self.stop()
            self.start()

        restart(change(before))
        try:
            yield
        finally:
            restart(before)

    def recover(self):
        super().recover()
        for pod in self.call("ListPodSandbox").get("items", []):
            self.remove(pod["id"])

    def left(self):
        return super().left() + glob.glob("/sys/fs/cgroup/*/test-pod/*/")

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

    def features(self):
        """What containerd says of the handler, by what the shim has told it (since 2.0)."""
        known = {handler.get("name", ""): handler for handler in self.call("Status").get("runtime_handlers", [])}
        return known.get(self.handler, {}).get("features", {})

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
