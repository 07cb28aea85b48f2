"""Cases: names, digests, platforms, media types; what comes in is what was pushed."""

import gzip
import hashlib
import json
import os
import subprocess

from build import DOCKER, GZIP, OCI, Image, index, noise
from harness import check
from proxy import Answer, Proxy

FILES = [
    {"etc": None, "etc/name": b"base", "big": noise(300_000, 1)},
    {"etc/name": b"changed", "link": "etc/name"},
]


def by_tag_and_by_digest(bench):
    """An image is pulled by tag; by its digest it is then there without a question to the registry."""
    image = Image(FILES)
    proxy = Proxy(bench.registry.host)
    try:
        image.push(bench.registry, "plain")
        out = bench.ok("pull", f"{proxy.host}/plain")
        check(image.digest in out, f"no digest in {out!r}")
        asked = len(proxy.requests)
        bench.ok("pull", f"{proxy.host}/plain@{image.digest}")
        check(len(proxy.requests) == asked, "the registry was asked for what is here")
    finally:
        proxy.stop()
    bench.sound()
    bench.clean()
    check(bench.names() == [f"{proxy.host}/plain:latest", f"{proxy.host}/plain@{image.digest}"], f"{bench.names()}")
    check(len(bench.snapshots()) == 2, "two layers are unpacked")
    shown = json.loads(bench.ok("inspect", f"{proxy.host}/plain"))
    check(shown["digest"] == image.digest and shown["config"]["rootfs"]["diff_ids"] == image.diff_ids, f"{shown}")


def layers_are_what_was_packed(bench):
    """A snapshot has the layer's files, byte for byte."""
    image = Image(FILES)
    bench.ok("pull", image.push(bench.registry, "content"))
    for diff_id, files in zip(image.diff_ids, FILES):
        root = f"{bench.store}/snapshots/{diff_id.replace(':', '/')}/fs"
        for name, content in files.items():
            if isinstance(content, bytes):
                with open(f"{root}/{name}", "rb") as file:
                    check(file.read() == content, f"{name} differs")
                check(os.stat(f"{root}/{name}").st_mtime == 1_700_000_000, f"{name}: time")
            elif isinstance(content, str):
                check(os.readlink(f"{root}/{name}") == content, f"{name}: link")


def platforms(bench):
    """Of an index, the manifest of the platform is pulled; what there is not is told with what there is."""
    here = Image([{"arch": b"amd64"}])
    arm = Image([{"arch": b"arm64"}], architecture="arm64")
    digest = index([here, arm], bench.registry, "multi")
    name = f"{bench.registry.host}/multi"
    check(here.digest in bench.ok("pull", "--platform", "linux/amd64", name), "not the manifest for amd64")
    check(arm.digest in bench.ok("pull", "--platform", "linux/arm64", name), "not the manifest for arm64")
    bench.fails("pull", "--platform", "linux/s390x", name, says="linux/s390x.*linux/amd64, linux/arm64")
    check(here.digest in bench.ok("pull", "--platform", "amd64", f"{name}@{digest}"), "not by the index's digest")
    check(json.loads(bench.ok("inspect", "--platform", "arm64", name))["index"] == digest, "the index is forgotten")
    bench.fails("pull", "--platform", "linux/amd64", f"{name}@{arm.digest}", says="is for linux/arm64")
    bench.sound()


def media_types(bench):
    """Docker's schema 2, zstd, plain archives, and eStargz (gzip) come in alike."""
    zstd = lambda tar: subprocess.run(["zstd", "-q"], input=tar, capture_output=True, check=True).stdout  # noqa: E731
    twice = lambda tar: gzip.compress(tar[:1024]) + gzip.compress(tar[1024:])  # noqa: E731
    images = {
        "docker": Image(FILES, media=DOCKER, layer_type=DOCKER + "image.rootfs.diff.tar.gzip"),
        "zstd": Image(FILES, layer_type=OCI + "layer.v1.tar+zstd", compress=zstd),
        "plain": Image(FILES, layer_type=OCI + "layer.v1.tar", compress=lambda tar: tar),
        "members": Image(FILES, layer_type=GZIP, compress=twice),
    }
    for name, image in images.items():
        bench.ok("pull", image.push(bench.registry, name))
    check(len(bench.snapshots()) == 2, "the same layers, however packed, are unpacked once")
    bench.sound()


def skopeo_reads_the_store(bench):
    """The store is an OCI layout: other tools read it; and what they made of an image is what we pull."""
    image = Image(FILES)
    name = image.push(bench.registry, "layout")
    bench.ok("pull", name)
    subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{bench.work}/peer:x"],
                   check=True, timeout=60)
    check(bench.blobs() == set(os.listdir(f"{bench.work}/peer/blobs/sha256")), "skopeo has other blobs")
    found = subprocess.run(["skopeo", "inspect", "--raw", f"oci:{bench.store}:{name}"], capture_output=True, timeout=60)
    check(found.stdout == image.manifest, f"skopeo cannot read the store: {found.stderr}")


def not_an_image(bench):
    """Schema 1, documents of two kinds, artefacts, malformed digests: an error that says which, and no panic."""
    Image(FILES).push(bench.registry, "odd")
    good = Image(FILES)
    manifest = json.loads(good.manifest)
    schema_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    layer = {"mediaType": GZIP, "size": 1, "digest": "sha256:../../../../etc/passwd"}
    documents = [
        ({"schemaVersion": 1, "fsLayers": [], "history": []}, schema_1, "schema 1"),
        ({**manifest, "manifests": []}, good.media_type, "CVE-2021-41190"),
        ({**manifest, "mediaType": OCI + "index.v1+json"}, good.media_type, "CVE-2021-41190"),
        ({**manifest, "config": {**manifest["config"], "mediaType": "application/x"}}, good.media_type, "no container image"),
        ({**manifest, "layers": [layer]}, good.media_type, r"layers\[0\]\.digest"),
        ({**manifest, "layers": manifest["layers"][:1]}, good.media_type, "1 layers, and the configuration 2"),
        ({**manifest, "layers": "x"}, good.media_type, "layers"),
        ({**manifest, "config": {**manifest["config"], "size": 1 << 60}}, good.media_type, "at most 4194304"),
        ([], good.media_type, "manifest"),
        ({"schemaVersion": 2, "layers": [[[[]]]] * 1000}, good.media_type, "manifest"),
    ]
    for document, media_type, says in documents:
        body = json.dumps(document).encode()
        answer = Answer(body=body, headers={"Content-Type": media_type})
        proxy = Proxy(bench.registry.host, lambda request, answer=answer: answer if "/manifests/" in request.path else None)
        try:
            bench.fails("pull", f"{proxy.host}/odd", says=says)
        finally:
            proxy.stop()
    check(bench.names() == [], "nothing was named")
    bench.sound()


def a_manifest_that_is_not_what_was_asked_for(bench):
    """The bytes of a manifest are checked against the digest of the name, and of the index."""
    image, other = Image(FILES), Image([{"x": b"y"}])
    image.push(bench.registry, "swap")
    answer = Answer(body=other.manifest, headers={"Content-Type": other.media_type})
    proxy = Proxy(bench.registry.host, lambda request: answer if "/manifests/" in request.path else None)
    try:
        bench.fails("pull", f"{proxy.host}/swap@{image.digest}", says=f"digest is {other.digest}")
    finally:
        proxy.stop()


def names_that_are_none(bench):
    """A name that cannot be is refused before anything is asked."""
    for name, says in (("Upper", "lower case"), ("a:b:c", "not"), ("a@sha256:1", "hexadecimal"), ("/", "not part of a name")):
        bench.fails("pull", name, says=says)
    bench.fails("inspect", f"{bench.registry.host}/nothing", says="creel-image pull")
    bench.fails("pull", f"{bench.registry.host}/nothing", says="404")


def output_for_programs(bench):
    """JSON lines, one event each; --quiet gives the digest alone."""
    image = Image(FILES)
    name = image.push(bench.registry, "output")
    events = [json.loads(line) for line in bench.ok("pull", "--format", "json", name).splitlines()]
    check(events[-1]["event"] == "pulled" and events[-1]["digest"] == image.digest, f"{events[-1]}")
    check({event["event"] for event in events} >= {"begin", "downloaded"}, f"{events}")
    check(bench.ok("pull", "-q", name) == image.digest + "\n", "not the digest alone")


def names_go_and_content_is_collected(bench):
    """rm takes the name, gc what nothing else needs."""
    shared = {"shared": noise(50_000, 7)}
    one, two = Image([shared, {"one": b"1"}]), Image([shared, {"two": b"2"}])
    names = [one.push(bench.registry, "one"), two.push(bench.registry, "two")]
    for name in names:
        bench.ok("pull", name)
    check((len(bench.blobs()), len(bench.snapshots())) == (7, 3), f"{len(bench.blobs())} blobs, {len(bench.snapshots())}")
    bench.ok("rm", names[0])
    check(json.loads(bench.ok("gc", "--format", "json"))["snapshots"] == 1, "one layer had no image any more")
    check((len(bench.blobs()), len(bench.snapshots())) == (4, 2), "the shared layer stays, the other goes")
    check(hashlib.sha256(two.manifest).hexdigest() in bench.blobs(), "the other image's manifest is gone")
    bench.ok("rm", names[1])
    bench.ok("gc")
    check((bench.blobs(), bench.snapshots()) == (set(), set()), "something is left")


CASES = [by_tag_and_by_digest, layers_are_what_was_packed, platforms, media_types, skopeo_reads_the_store, not_an_image,
         a_manifest_that_is_not_what_was_asked_for, names_that_are_none, output_for_programs,
         names_go_and_content_is_collected]
