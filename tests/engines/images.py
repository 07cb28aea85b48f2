"""Images of one layer, made on the spot from Debian's busybox-static, as OCI archives for `ctr image import`."""

import hashlib
import io
import json
import os
import subprocess
import tarfile

NAME = "docker.io/library/busybox:test"
BUSYBOX = "/bin/busybox"


def add(archive, name, content=b"", mode=0o644, kind=tarfile.REGTYPE, link=""):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.type, entry.linkname = len(content), mode, kind, link
    archive.addfile(entry, io.BytesIO(content))


def layer():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("bin", "etc", "proc", "sys", "dev", "root"):
            add(archive, name, mode=0o755, kind=tarfile.DIRTYPE)
        add(archive, "tmp", mode=0o1777, kind=tarfile.DIRTYPE)
        with open(BUSYBOX, "rb") as busybox:
            add(archive, "bin/busybox", busybox.read(), 0o755)
        for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
            if applet != "busybox":
                # Not symbolic: a mask over one of them would be over all.
                add(archive, f"bin/{applet}", mode=0o755, kind=tarfile.LNKTYPE, link="bin/busybox")
        add(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        add(archive, "etc/group", b"root:x:0:\nuser:x:1000:\nstaff:x:50000:user\n")
        add(archive, "www", mode=0o755, kind=tarfile.DIRTYPE)
        add(archive, "www/index.html", b"page\n")
    return buffer.getvalue()


def write(path, name, **config):
    """Writes the archive; `config` is laid over what the image's configuration says."""
    kinds = "application/vnd.oci.image."
    blobs = {}

    def blob(content, kind):
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": kinds + kind, "digest": f"sha256:{digest}", "size": len(content)}

    described = blob(layer(), "layer.v1.tar")
    configuration = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **config},
        "rootfs": {"type": "layers", "diff_ids": [described["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": kinds + "manifest.v1+json",
        "config": blob(json.dumps(configuration).encode(), "config.v1+json"),
        "layers": [described],
    }
    found = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    found["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
    with tarfile.open(path, "w") as archive:
        add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [found]}).encode())
        for name, content in blobs.items():
            add(archive, name, content)
