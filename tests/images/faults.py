"""Cases: what networks, registries, disks and signals do. Never a wrong store; always a clear error; what was had stays."""

import gzip
import json
import os
import random
import signal
import subprocess
import time

from build import Image, noise
from harness import check
from proxy import Answer, Proxy

MIB = 1 << 20


def pushed(bench, repository, seed=11, layers=2, size=2 * MIB):
    image = Image([{f"file-{number}": noise(size, seed + number)} for number in range(layers)])
    image.push(bench.registry, repository)
    return image


def behind(bench, rule, do):
    proxy = Proxy(bench.registry.host, rule)
    try:
        return do(proxy)
    finally:
        proxy.stop()
        bench.sound()


def is_layer(image):
    digests = [layer["digest"] for layer in image.layers]
    return lambda request: any(request.path.endswith(digest) for digest in digests)


def died_mid_blob(bench):
    """A connection that ends in the middle of a blob, again and again: it goes on where it was."""
    image = pushed(bench, "cut")
    layer = is_layer(image)

    def pull(proxy):
        bench.ok("pull", f"{proxy.host}/cut")
        ranges = [request.header("range") for request in proxy.requests if layer(request)]
        check(sum(1 for value in ranges if value) >= 6, f"not resumed by ranges: {ranges}")
        check(len(bench.snapshots()) == 2, "the layers are not unpacked")

    behind(bench, lambda request: Answer(cut=600_000) if layer(request) else None, pull)
    bench.clean()


def died_without_ranges(bench):
    """A registry that knows no ranges: the bytes that are here are skipped."""
    image = pushed(bench, "whole")
    layer = is_layer(image)
    rule = lambda request: Answer(ranges=False, cut=None if request.earlier else 700_000) if layer(request) else None  # noqa: E731
    behind(bench, rule, lambda proxy: bench.ok("pull", f"{proxy.host}/whole"))
    bench.clean()


def died_for_good(bench):
    """A registry that stays away is told within bounds; what had come is resumed by the next command."""
    image = pushed(bench, "gone", layers=1)
    layer = is_layer(image)
    rule = lambda request: Answer(cut=0 if request.header("range") else 900_000) if layer(request) else None  # noqa: E731

    def pull(proxy):
        bench.fails("pull", f"{proxy.host}/gone", says="the connection ended")
        proxy.rule, proxy.requests = None, []
        bench.ok("pull", f"{proxy.host}/gone")
        asked = [request.header("range") for request in proxy.requests if layer(request)]
        check(len(asked) == 1 and asked[0] and asked[0] != "bytes=0-", f"not resumed: {asked}")

    behind(bench, rule, pull)
    bench.clean()


def wrong_digest(bench):
    """Content that was changed on its way: refused, not kept, not unpacked."""
    image = pushed(bench, "changed", layers=1)
    layer = is_layer(image)
    flip = lambda body: body[:-20] + bytes([body[-20] ^ 1]) + body[-19:]  # noqa: E731

    def pull(proxy):
        bench.fails("pull", f"{proxy.host}/changed", says="the content's digest is sha256:")
        check(bench.snapshots() == set(), "a wrong layer was unpacked")
        check(bench.names() == [], "a wrong image was named")
        bench.clean()
        proxy.rule = None
        bench.ok("pull", f"{proxy.host}/changed")

    behind(bench, lambda request: Answer(change=flip) if layer(request) else None, pull)


def spoilt_before(bench):
    """What an earlier pull left and a loss of power spoilt is noticed, and had again."""
    image = pushed(bench, "spoilt", layers=1)
    digest = image.layers[0]["digest"]
    bench.ok("ls")
    with open(f"{bench.store}/ingest/{digest.replace(':', '-')}", "wb") as file:
        file.write(bytes(800_000))
    bench.ok("pull", f"{bench.registry.host}/spoilt")
    bench.sound()
    bench.clean()


def wrong_size(bench):
    """A manifest that lies about a layer's size."""
    for name, wrong in (("long", 5), ("short", -5)):
        def change(document, wrong=wrong):
            document["layers"][0]["size"] += wrong

        image = Image([{"file": noise(200_000, 5)}], change=change)
        answer = Answer(body=image.manifest, headers={"Content-Type": image.media_type})
        Image([{"file": noise(200_000, 5)}]).push(bench.registry, name)
        rule = lambda request, answer=answer: answer if "/manifests/" in request.path else None  # noqa: E731
        behind(bench, rule, lambda proxy, name=name: bench.fails(
            "pull", f"{proxy.host}/{name}", says="bytes of it, and the manifest says"))
        check(bench.snapshots() == set() and bench.names() == [], "a wrong image came in")


def truncated_gzip(bench):
    """A layer that is whole by its digest, and no whole gzip stream: an error, no snapshot."""
    image = Image([{"file": noise(300_000, 6)}], compress=lambda tar: gzip.compress(tar)[:100_000])
    bench.fails("pull", image.push(bench.registry, "truncated"), says="layer [0-9a-f]{12}: .*(gzip|deflate|ends|end)")
    check(bench.snapshots() == set() and bench.names() == [], "a wrong image came in")
    bench.sound()
    bench.clean()


def wrong_diff_id(bench):
    """A layer that is not what the configuration says."""
    image = Image([{"file": b"1"}], compress=lambda tar: gzip.compress(tar.replace(b"file", b"fole")))
    bench.fails("pull", image.push(bench.registry, "diff"), says="checksum|uncompressed, the layer's digest is")
    check(bench.snapshots() == set(), "a wrong layer was unpacked")


def busy(bench):
    """429 with Retry-After and 503: asked again when it says; for ever: an error within bounds."""
    image = pushed(bench, "busy", layers=1)
    layer = is_layer(image)

    def rule(request):
        if layer(request) and request.earlier < 2:
            return Answer(status=(429, 503)[request.earlier], headers={"Retry-After": "1"} if not request.earlier else {})
        return None

    def pull(proxy):
        began = time.monotonic()
        bench.ok("pull", f"{proxy.host}/busy")
        check(time.monotonic() - began >= 1, "it did not wait for as long as the registry said")

    behind(bench, rule, pull)
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}).encode()
    for headers, says in (({}, "503.*slow down"), ({"Retry-After": "3600"}, "3600 s")):
        answer = Answer(status=503, headers=headers, body=body)
        began = time.monotonic()
        behind(bench, lambda request, answer=answer: answer, lambda proxy, says=says: bench.fails(
            "pull", f"{proxy.host}/busy", says=says))
        check(time.monotonic() - began < 30, "it took too long to give up")


def disk_full(bench):
    """No space: an error that says so, a sound store, and the same command works when there is space."""
    image = pushed(bench, "full", layers=3, size=2 * MIB)
    name = f"{bench.registry.host}/full"
    script = f"""
        set -e
        mkdir -p {bench.work}/small
        mount -t tmpfs -o size=5m small {bench.work}/small
        status=0
        {bench.program} --store {bench.work}/small/store pull {name} 2>{bench.work}/said || status=$?
        [ $status = 1 ]
        mount -o remount,size=64m {bench.work}/small
        {bench.program} --store {bench.work}/small/store pull {name}
        cp -a {bench.work}/small/store {bench.work}/copy
    """
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], capture_output=True,
                          timeout=120, env=bench.environment())
    check(done.returncode == 0, f"exit {done.returncode}: {done.stderr.decode()}")
    with open(f"{bench.work}/said") as file:
        said = file.read()
    check("no space left" in said and "--store" in said, f"it does not say that the disk is full: {said}")
    bench.sound(f"{bench.work}/copy")
    bench.clean(f"{bench.work}/copy")
    check(len(bench.snapshots(f"{bench.work}/copy")) == len(image.layers), "not all layers are unpacked")


def killed(bench, times=200):
    """Killed at any instant, 200 times, gc in between: the store is sound each time, and the last pull works."""
    pushed(bench, "killed", layers=4, size=MIB)
    name, chance = f"{bench.registry.host}/killed", random.Random(2026)
    began = time.monotonic()
    bench.ok("pull", name, store=f"{bench.work}/measured")
    whole = time.monotonic() - began
    for number in range(times):
        process = bench.start("pull", name)
        time.sleep(chance.random() * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if number % 10 == 9:
            bench.sound()
            if bench.names():
                bench.ok("rm", name)
            bench.ok("gc") if number % 20 == 19 else None
    bench.ok("pull", name)
    bench.ok("gc")
    bench.sound()
    bench.clean()
    check(len(bench.snapshots()) == 4, f"{len(bench.snapshots())} layers are unpacked")
    same = subprocess.run(["diff", "-r", f"{bench.work}/measured/snapshots", f"{bench.store}/snapshots", "-x", "about"],
                          capture_output=True, timeout=60)
    check(same.returncode == 0, f"the trees differ: {same.stdout.decode()[:500]}")


def many_at_once(bench):
    """Many processes on one store, gc among them: each blob is fetched once, and all succeed."""
    image = pushed(bench, "many", layers=3, size=MIB)
    layer = is_layer(image)

    def pull(proxy):
        pulls = [bench.start("pull", f"{proxy.host}/many") for _ in range(8)]
        for _ in range(5):
            bench.ok("gc")
        check([process.wait(60) for process in pulls] == [0] * 8, "a pull failed")
        fetched = [request.path for request in proxy.requests if layer(request)]
        check(len(fetched) == len(set(fetched)) == 3, f"fetched more than once: {fetched}")

    behind(bench, lambda request: Answer(pause=0.01) if layer(request) else None, pull)
    bench.ok("gc")
    bench.clean()
    check(len(bench.snapshots()) == 3, "not all layers are unpacked")


def gc_during_a_pull(bench):
    """gc while layers come in takes none of them, nor those that are here already."""
    pushed(bench, "slow", layers=3, size=MIB)
    digests = []

    def pull(proxy):
        process = bench.start("pull", f"{proxy.host}/slow")
        while process.poll() is None:
            bench.ok("gc")
            digests.append(len(bench.blobs()))
            time.sleep(0.02)
        check(process.returncode == 0, "the pull failed")

    behind(bench, lambda request: Answer(pause=0.02) if request.is_blob else None, pull)
    check(digests == sorted(digests), f"gc took something that was needed: {digests}")
    check(len(bench.snapshots()) == 3, "not all layers are unpacked")


def closed_store(bench):
    """Nobody else can look into the store (CVE-2021-41103)."""
    pushed(bench, "closed", layers=1, size=1000)
    bench.ok("pull", f"{bench.registry.host}/closed")
    check(os.stat(bench.store).st_mode & 0o077 == 0, "others may enter the store")


CASES = [died_mid_blob, died_without_ranges, died_for_good, wrong_digest, spoilt_before, wrong_size, truncated_gzip,
         wrong_diff_id, busy, disk_full, killed, many_at_once, gc_during_a_pull, closed_store]
