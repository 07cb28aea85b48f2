"""Cases: importing and exporting, with skopeo as the other side."""

import gzip
import io
import json
import os
import subprocess
import tarfile

from build import Image, noise
from harness import check

FILES = [{"etc": None, "etc/name": b"base", "big": noise(200_000, 21)}, {"etc/name": b"changed"}]
NAME = "example.org/team/app:1"


def skopeo(*arguments):
    done = subprocess.run(["skopeo", *arguments], capture_output=True, timeout=120)
    check(done.returncode == 0, f"skopeo {arguments}: {done.stderr.decode()}")
    return done.stdout


def forms_of_skopeo(bench):
    """What skopeo writes in each form is imported, and has the layers that a pull has."""
    image = Image(FILES)
    name = image.push(bench.registry, "forms")
    for form in ("oci", "oci-archive", "docker-archive"):
        path, store = f"{bench.work}/{form}", f"{bench.work}/store-{form}"
        skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"{form}:{path}:{NAME}")
        out = bench.ok("import", path, store=store)
        check(out.startswith(NAME + " sha256:"), f"imported as {out}")
        config = json.loads(bench.ok("inspect", NAME, store=store))["config"]
        check(config["rootfs"]["diff_ids"] == image.diff_ids, f"{form}: other layers")
        bench.ok("unpack", NAME, f"{bench.work}/tree-{form}", store=store)
        with open(f"{bench.work}/tree-{form}/etc/name", "rb") as file:
            check(file.read() == b"changed", f"{form}: wrong content")
        bench.sound(store)
        bench.clean(store)


def forms_for_skopeo(bench):
    """What is exported in each form skopeo reads, and so do we; the bytes of manifest and layers stay as they are."""
    image = Image(FILES)
    name = image.push(bench.registry, "out")
    bench.ok("pull", name)
    for form in ("oci", "oci-archive", "docker-archive"):
        path, store = f"{bench.work}/{form}", f"{bench.work}/store-{form}"
        bench.ok("export", "--form", form, name, path)
        digest = json.loads(skopeo("inspect", f"{form}:{path}"))["Digest"]
        check(form == "docker-archive" or digest == image.digest, f"{form}: another digest")
        skopeo("copy", "-q", f"{form}:{path}", f"oci:{bench.work}/back-{form}:x")
        check(bench.ok("import", path, store=store).startswith(name), f"{form}: another name")
        config = json.loads(bench.ok("inspect", name, store=store))["config"]
        check(config["rootfs"]["diff_ids"] == image.diff_ids, f"{form}: other layers")
    bench.fails("export", "--form", "oci", name, f"{bench.work}/oci", says="mkdir: file exists")


def compressed_archives(bench):
    """An archive that is packed once more; a layout of one tag only, which needs a name."""
    name = Image(FILES).push(bench.registry, "packed")
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci-archive:{bench.work}/plain:latest")
    with open(f"{bench.work}/plain", "rb") as plain, open(f"{bench.work}/packed", "wb") as packed:
        packed.write(gzip.compress(plain.read()))
    bench.fails("import", f"{bench.work}/packed", says="--name")
    bench.ok("import", "--name", NAME, f"{bench.work}/packed")
    check(bench.names() == [NAME], f"{bench.names()}")


def hostile_archives(bench):
    """Archives that lie or lead out: an error, and nothing comes in."""
    def archive(members):
        path = f"{bench.work}/hostile.tar"
        with tarfile.open(path, "w") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                if isinstance(content, str):
                    info.type, info.linkname = tarfile.SYMTYPE, content
                    tar.addfile(info)
                else:
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return path

    image = Image(FILES)
    saved = json.dumps([{"Config": "c.json", "RepoTags": [NAME], "Layers": ["a", "b"]}]).encode()
    for members, says in (
        ({"x": b"y"}, "neither oci-layout nor manifest.json"),
        ({"manifest.json": saved, "c.json": image.config, "a": b"wrong", "b": b"wrong"}, "the archive has sha256:"),
        ({"manifest.json": saved, "c.json": image.config, "a": "/etc/passwd", "b": b""}, "the archive has no a"),
        ({"manifest.json": saved, "c.json": image.config, "a": "b", "b": "a"}, "link"),
        ({"manifest.json": b"[" * 100_000}, "manifest.json"),
        ({"oci-layout": b'{"imageLayoutVersion":"9"}'}, "imageLayoutVersion"),
    ):
        bench.fails("import", archive(members), says=says)
    layout = f"{bench.work}/layout"
    digest = image.manifest and image.digest
    os.makedirs(f"{layout}/blobs/sha256")
    with open(f"{layout}/oci-layout", "w") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')
    with open(f"{layout}/index.json", "w") as file:
        entry = {"mediaType": image.media_type, "digest": digest, "size": len(image.manifest)}
        json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
    os.symlink("/etc/passwd", f"{layout}/blobs/{digest.replace(':', '/')}")
    bench.fails("import", "--name", NAME, layout, says="openat2")
    check(bench.names() == [], "something was imported")
    bench.sound()
    bench.clean()


CASES = [forms_of_skopeo, forms_for_skopeo, compressed_archives, hostile_archives]
