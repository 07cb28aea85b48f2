#!/usr/bin/env python3
"""The runtime cases of critest, the validation suite of the Kubernetes project (kubernetes-sigs/cri-tools), with images made here.

    critest.py [--containerd VERSION] [--runtime NAME] [--focus PATTERN] --critest PROGRAM SHIM_DIRECTORY

It pulls nothing: busybox stands in for its images, under their names. README.md says which cases that leaves.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/.."]
import suite  # noqa: E402
import versions  # noqa: E402
from cri import CLIENT, Cri  # noqa: E402

E2E, STAGING = "registry.k8s.io/e2e-test-images/", "gcr.io/k8s-staging-cri-tools/"


def web(port):
    return {"Cmd": ["httpd", "-f", "-p", str(port), "-h", "/www"]}


IMAGES = {
    f"{E2E}busybox:1.29-2": {},
    f"{E2E}nginx:1.14-2": web(80),
    f"{E2E}httpd:2.4.39-4": web(80),
    f"{STAGING}hostnet-nginx-amd64:latest": web(12003),
    f"{STAGING}test-image-predefined-group:latest": {"User": "1000"},
}
# Cases of pulling and of removing images, which are containerd's; benchmarks.
SKIP = "Image Manager|Image Consistency|benchmark"


def inside(options):
    engine = Cri(options)
    try:
        for name, config in IMAGES.items():
            engine.add_image(name, **config)
        address = f"unix://{engine.work}/c.sock"
        command = [options.critest, f"--runtime-endpoint={address}", f"--image-endpoint={address}"]
        command += [f"--runtime-handler={engine.handler}", f"--ginkgo.skip={SKIP}", "--ginkgo.no-color", "--ginkgo.v"]
        command += [f"--ginkgo.focus={options.focus}"] if options.focus else []
        return subprocess.call(command, cwd=engine.work)
    finally:
        suite.keep_log(engine, options)
        engine.stop()


if __name__ == "__main__":
    parser = suite.suite_parser(__doc__)
    parser.add_argument("--critest", required=True, metavar="PROGRAM")
    parser.add_argument("--focus", default="", help="only cases whose name matches this pattern")
    build = lambda: versions.build(f"{HERE}/client", os.path.dirname(CLIENT), ".")  # noqa: E731
    sys.exit(suite.on_private_host(parser, inside, build, own_network=True))
