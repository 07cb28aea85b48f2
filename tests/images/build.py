"""Images made by hand, and pushed: layers, configurations, manifests, indexes."""

import gzip
import hashlib
import io
import json
import random
import tarfile

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
GZIP = OCI + "layer.v1.tar+gzip"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def archive(files):
    """A tar archive of {name: content}; content None is a directory, a str a symlink."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def noise(size, seed):
    """Bytes that no compression makes shorter."""
    return random.Random(seed).randbytes(size)


class Image:
    """A manifest and all it points to, as bytes."""

    def __init__(self, layers, architecture="amd64", media=OCI, layer_type=GZIP, compress=None, config=None, change=None):
        self.blobs, self.layers, diff_ids = {}, [], []
        for files in layers:
            tar = archive(files)
            data = (compress or (lambda tar: gzip.compress(tar, 1, mtime=0)))(tar)
            diff_ids.append(digest_of(tar))
            self.layers.append(descriptor(layer_type, data))
            self.blobs[digest_of(data)] = data
        self.diff_ids = diff_ids
        self.config = json.dumps({"architecture": architecture, "os": "linux", "config": config or {"Cmd": ["/bin/sh"]},
                                  "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
        self.blobs[digest_of(self.config)] = self.config
        config_type = OCI + "config.v1+json" if media == OCI else DOCKER + "container.image.v1+json"
        self.media_type = OCI + "manifest.v1+json" if media == OCI else DOCKER + "distribution.manifest.v2+json"
        document = {"schemaVersion": 2, "mediaType": self.media_type, "config": descriptor(config_type, self.config),
                    "layers": self.layers}
        if change:
            change(document)
        self.manifest = json.dumps(document).encode()
        self.digest = digest_of(self.manifest)
        self.architecture = architecture

    def push(self, registry, repository, tag="latest"):
        registry.put(repository, tag, self.manifest, self.media_type, self.blobs)
        return f"{registry.host}/{repository}:{tag}"


def index(images, registry, repository, tag="latest"):
    """Pushes an index of images for several architectures; gives its digest."""
    entries = []
    for image in images:
        image.push(registry, repository, image.digest)
        platform = {"os": "linux", "architecture": image.architecture}
        entries.append(descriptor(image.media_type, image.manifest, platform=platform))
    media_type = OCI + "index.v1+json"
    document = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
    registry.put(repository, tag, document, media_type, {})
    return digest_of(document)
