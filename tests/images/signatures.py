"""Cases: signatures as cosign makes them, by a key of the test's own."""

import base64
import json

from build import OCI, Image, descriptor, digest_of, index, noise
from harness import check
from registry import openssl

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"


def key_pair(bench, name, *kind):
    private, public = f"{bench.work}/{name}.key", f"{bench.work}/{name}.pub"
    openssl("genpkey", *kind, "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


P256 = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def sign(bench, repository, digest, private, signed=None, change=None):
    """Pushes the signature of `digest` as `cosign sign --key` does; `signed` is another digest that it names."""
    payload = json.dumps({"critical": {"identity": {"docker-reference": repository}, "type": "cosign container image signature",
                                       "image": {"docker-manifest-digest": signed or digest}}, "optional": None}).encode()
    signature = base64.b64encode(openssl("dgst", "-sha256", "-sign", private, input=payload)).decode()
    if change:
        payload = change(payload)
    layer = descriptor(PAYLOAD, payload, annotations={"dev.cosignproject.cosign/signature": signature})
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
    media_type = OCI + "manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, "layers": [layer],
                           "config": descriptor(OCI + "config.v1+json", config)}).encode()
    blobs = {digest_of(payload): payload, digest_of(config): config}
    bench.registry.put(repository, digest.replace(":", "-") + ".sig", manifest, media_type, blobs)


def by_the_right_key(bench):
    """A signature of the image, or of the index that it is from; and what was not checked is said."""
    private, public = key_pair(bench, "right", *P256)
    image = Image([{"x": noise(1000, 31)}])
    name = image.push(bench.registry, "signed")
    bench.fails("verify", "--key", public, name, says="creel-image pull")
    bench.ok("pull", name)
    bench.fails("verify", "--key", public, name, says="the registry has none.*transparency log")
    sign(bench, "signed", image.digest, private)
    out = bench.ok("verify", "--key", public, name)
    check(image.digest in out and "not checked: the transparency log" in out, out)
    digest = index([Image([{"x": b"2"}])], bench.registry, "signed-index")
    sign(bench, "signed-index", digest, private)
    bench.ok("pull", f"{bench.registry.host}/signed-index")
    check(digest in bench.ok("verify", "--key", public, f"{bench.registry.host}/signed-index"), "not by the index")


def by_the_wrong_one(bench):
    """Another key, another image's digest, a changed payload, a key that is none."""
    (private, public), (_, other) = key_pair(bench, "right", *P256), key_pair(bench, "other", *P256)
    image = Image([{"x": noise(1000, 32)}])
    name = image.push(bench.registry, "wrongly")
    bench.ok("pull", name)
    sign(bench, "wrongly", image.digest, private)
    bench.fails("verify", "--key", other, name, says="not by this key")
    sign(bench, "wrongly", image.digest, private, signed=digest_of(b"other"))
    bench.fails("verify", "--key", public, name, says=f"it is for {digest_of(b'other')}")
    sign(bench, "wrongly", image.digest, private, change=lambda payload: payload.replace(b"null", b"true"))
    bench.fails("verify", "--key", public, name, says="not by this key")
    _, rsa = key_pair(bench, "rsa", "-algorithm", "RSA")
    bench.fails("verify", "--key", rsa, name, says="only ECDSA")
    bench.fails("verify", "--key", private, name, says="PEM")


CASES = [by_the_right_key, by_the_wrong_one]
