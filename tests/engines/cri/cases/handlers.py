"""What README.md says of the handler in config.toml: how to have it, make it the default, and go back."""

import re

from suite import case, check, equal, eventually


@case
def its_options_arrive(e):
    # There is no systemd on the private host; who has been told to ask it for cgroups must say so.
    config = {"metadata": {"name": "pod", "uid": "pod", "namespace": "default"}, "linux": {"cgroup_parent": "test.slice"}}
    output = e.try_call("RunPodSandbox", config={**config, "hostname": "pod"}, runtime_handler="other")
    check(output.status != 0 and re.search("systemd (is )?not running", output.err), repr(output))


@case
def it_can_be_the_default(e):
    plugin = "io.containerd.cri.v1.runtime" if e.version >= (2,) else "io.containerd.grpc.v1.cri"
    lines = f'\n[plugins."{plugin}".containerd]\n  default_runtime_name = "{e.handler}"\n'
    with e.configured(lambda text: text + lines):
        handler, e.handler = e.handler, ""
        try:
            with e.pod() as pod:
                equal(e.state(pod.start("a")), "RUNNING", "state")
                names = {arguments[0].rsplit("/", 1)[-1] for arguments in e.shims().values()}
                equal(names, {f"containerd-shim-{handler}-v2"}, "the shims")
        finally:
            e.handler = handler


@case(runc="containerd has this one without any lines")
def pods_outlive_its_lines(e):
    gone = lambda text: re.sub(r"\[plugins[^\n]*runtimes\.creel\]\n  runtime_type[^\n]*\n", "", text)  # noqa: E731
    with e.pod() as pod:
        container = pod.start("a")
        with e.configured(gone):
            equal(e.state(container), "RUNNING", "the container")
            # containerd 2 asks the handler for each exec.
            equal(e.try_call("ExecSync", container_id=container, cmd=["true"]).status == 0, e.version < (2,), "exec")
            another = {**pod.config, "metadata": {**pod.config["metadata"], "name": "another"}}
            output = e.try_call("RunPodSandbox", config=another, runtime_handler=e.handler)
            check(output.status != 0 and "no runtime for" in output.err, repr(output))
            e.call("StopPodSandbox", pod_sandbox_id=pod.id)
            eventually(lambda: not e.shims(), "the end of the shim")
