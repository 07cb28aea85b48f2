"""Cases: passwords, tokens, helpers, certificates, mirrors, redirects; credentials go where they belong and nowhere else."""

import base64
import json
import os
import stat

from build import Image, noise
from harness import check
from proxy import Answer, Proxy
from registry import Authority, Registry, Tokens

USER, PASSWORD = "fisher", "man:with a colon"


def pushed(bench, repository):
    image = Image([{"name": repository.encode(), "big": noise(200_000, 3)}])
    image.push(bench.registry, repository)
    return image


def auth_file(bench, host, user=USER, password=PASSWORD, name="auth.json"):
    path = f"{bench.work}/{name}"
    with open(path, "w") as file:
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        json.dump({"auths": {host: {"auth": auth}}, "other": {"kept": True}}, file)
    return path


def passwords(bench, storage):
    """Basic authentication: from a file, wrong, missing; login proves before it keeps."""
    pushed(bench, "secret")
    registry = Registry(bench.work, storage, users={USER: PASSWORD})
    try:
        name = f"{registry.host}/secret"
        bench.fails("pull", name, says="creel-image login")
        bench.fails("pull", "--authfile", auth_file(bench, registry.host, password="wrong"), name, says="refused")
        bench.ok("pull", "--authfile", auth_file(bench, registry.host), name)
        bench.fails("login", "-u", USER, "--password-stdin", registry.host, input=b"wrong\n", says="refused")
        check(not os.path.exists(f"{bench.home}/.docker/config.json"), "a wrong password was kept")
        bench.ok("login", "-u", USER, "--password-stdin", registry.host, input=PASSWORD.encode() + b"\n")
        kept = os.stat(f"{bench.home}/.docker/config.json")
        check(stat.S_IMODE(kept.st_mode) == 0o600, f"the file's mode is {kept.st_mode:o}")
        bench.ok("pull", name, store=f"{bench.work}/second")
        path = auth_file(bench, "other.example")
        bench.ok("login", "--authfile", path, "-u", USER, "--password-stdin", registry.host, input=PASSWORD.encode())
        with open(path) as file:
            whole = json.load(file)
        check(whole["other"] == {"kept": True} and len(whole["auths"]) == 2, f"login lost something: {whole}")
    finally:
        registry.stop()


def helpers(bench, storage):
    """Credential helpers, by registry and for all."""
    pushed(bench, "helped")
    registry = Registry(bench.work, storage, users={USER: PASSWORD})
    folder = f"{bench.work}/bin"
    os.makedirs(folder)
    answer = json.dumps({"ServerURL": registry.host, "Username": USER, "Secret": PASSWORD})
    with open(f"{folder}/docker-credential-test", "w") as file:
        file.write(f"""#!/bin/sh
read -r server
if [ "$1 $server" = "get {registry.host}" ]; then echo '{answer}'; else echo 'credentials not found in native keychain'; exit 1; fi
""")
    os.chmod(f"{folder}/docker-credential-test", 0o755)
    bench.path = f"{folder}:{bench.path}"
    try:
        for number, settings in enumerate(({"credHelpers": {registry.host: "test"}}, {"credsStore": "test"})):
            path = f"{bench.work}/helper-{number}.json"
            with open(path, "w") as file:
                json.dump(settings, file)
            bench.ok("pull", "--authfile", path, f"{registry.host}/helped", store=f"{bench.work}/store-{number}")
        with open(path, "w") as file:
            json.dump({"credsStore": "that-there-is-not"}, file)
        bench.fails("pull", "--authfile", path, f"{registry.host}/helped", says="docker-credential-that-there-is-not")
    finally:
        registry.stop()


def tokens(bench, storage):
    """A token for one repository, from another server, as Docker Hub has it; parallel layers share it."""
    pushed(bench, "tokened")
    authority = Authority(f"{bench.work}/authority")
    server = Tokens(authority, USER, PASSWORD)
    registry = Registry(bench.work, storage, tokens=(server, authority.ca))
    try:
        name = f"{registry.host}/tokened"
        bench.fails("pull", name, says="credentials are needed.*who are you")
        server.asked.clear()
        bench.ok("pull", "--authfile", auth_file(bench, registry.host), name)
        queries = [query for query, _ in server.asked]
        check(queries == [{"service": [server.SERVICE], "scope": ["repository:tokened:pull"]}], f"asked: {queries}")
        bench.fails("pull", "--authfile", auth_file(bench, registry.host, password="x"), name, says="were refused")
    finally:
        registry.stop()
        server.stop()


def certificates(bench, storage):
    """TLS: an unknown authority is refused with what to do; --ca, a directory of certificates, --insecure."""
    pushed(bench, "tls")
    authority = Authority(f"{bench.work}/authority")
    registry = Registry(bench.work, storage, authority=authority)
    try:
        for host in (registry.host, f"localhost:{registry.port}"):
            bench.fails("pull", f"{host}/tls", says=rf"certificate.*certs\.d/{host}/ca\.crt.*--ca")
            bench.ok("pull", "--ca", authority.ca, f"{host}/tls", store=f"{bench.work}/ca")
        folder = f"{bench.work}/certs/{registry.host}"
        os.makedirs(folder)
        os.symlink(authority.ca, f"{folder}/ca.crt")
        bench.ok("pull", "--cert-dir", f"{bench.work}/certs", f"{registry.host}/tls", store=f"{bench.work}/folder")
        bench.ok("pull", "--insecure", f"{registry.host}/tls", store=f"{bench.work}/insecure")
        bench.fails("pull", "--plain-http", f"{registry.host}/tls", says="400")
        bench.fails("pull", "--ca", "/nowhere", f"{registry.host}/tls", says="/nowhere")
    finally:
        registry.stop()


def mirrors(bench, storage):
    """A mirror is asked first; if it fails, the registry; the registry's credentials stay away from the mirror."""
    image = pushed(bench, "mirrored")
    registry = Registry(bench.work, storage, users={USER: PASSWORD})
    mirror = Proxy(bench.registry.host)
    origin = Proxy(registry.host)
    try:
        name, auth = f"{origin.host}/mirrored", auth_file(bench, origin.host)
        bench.ok("pull", "--authfile", auth, "--mirror", f"http://{mirror.host}", name)
        check(mirror.blobs() and not origin.blobs(), "the mirror was not asked first")
        check(not any(request.header("authorization") for request in mirror.requests), "credentials went to the mirror")
        settings = f"{bench.work}/registries.json"
        with open(settings, "w") as file:
            json.dump({"mirrors": {origin.host: [f"http://{mirror.host}"]}}, file)
        mirror.rule = lambda request: Answer(status=404)
        bench.ok("pull", "--authfile", auth, "--registries", settings, name, store=f"{bench.work}/second")
        check(len(origin.blobs()) == len(image.blobs), "the registry did not help out")
        check(all(request.header("authorization") for request in origin.blobs()[1:]), "without credentials")
    finally:
        mirror.stop()
        origin.stop()
        registry.stop()


def redirects(bench, storage):
    """A registry that sends to another host for blobs: they come, and the credentials stay home."""
    pushed(bench, "redirected")
    registry = Registry(bench.work, storage, users={USER: PASSWORD})
    elsewhere = Proxy(bench.registry.host)
    home = Proxy(registry.host, lambda request: Answer(
        status=307, headers={"Location": f"http://{elsewhere.host}{request.path}?signature=x"}) if request.is_blob else None)
    try:
        bench.ok("pull", "--authfile", auth_file(bench, home.host), f"{home.host}/redirected")
        check(elsewhere.blobs(), "nothing was fetched there")
        check(not any(request.header("authorization") for request in elsewhere.requests), "credentials went elsewhere")
        bait = Proxy(bench.registry.host)
        challenge = {"WWW-Authenticate": f'Bearer realm="http://{bait.host}/token",service="x"'}
        elsewhere.rule = lambda request: Answer(status=401, headers=challenge)
        bench.fails("pull", "--authfile", auth_file(bench, home.host), f"{home.host}/redirected",
                    store=f"{bench.work}/bait", says="401")
        check(not bait.requests, "another host's challenge drew out the credentials")
        bait.stop()
        home.rule = lambda request: Answer(status=307, headers={"Location": request.path}) if request.is_blob else None
        bench.fails("pull", "--authfile", auth_file(bench, home.host), f"{home.host}/redirected",
                    store=f"{bench.work}/loop", says="redirects")
    finally:
        home.stop()
        elsewhere.stop()
        registry.stop()
    bench.sound()


def foreign_layers(bench, storage):
    """A layer that lies elsewhere is fetched from there, without credentials (CVE-2020-15157)."""
    elsewhere = Proxy(bench.registry.host)
    image = Image([{"foreign": noise(100_000, 9)}])
    image.push(bench.registry, "foreign")
    layer = image.layers[0]["digest"]
    # The registry takes no manifest with URLs; the proxy tells one.
    image = Image([{"foreign": noise(100_000, 9)}], change=lambda document: document["layers"][0].update(
        urls=[f"http://{elsewhere.host}/v2/foreign/blobs/{layer}"]))
    manifest = Answer(body=image.manifest, headers={"Content-Type": image.media_type})
    registry = Registry(bench.work, storage, users={USER: PASSWORD})

    def rule(request):
        if request.path.endswith(layer):
            return Answer(status=404)
        return manifest if "/manifests/" in request.path else None

    home = Proxy(registry.host, rule)
    try:
        bench.ok("pull", "--authfile", auth_file(bench, home.host), f"{home.host}/foreign")
        check(len(elsewhere.blobs()) == 1, "it was not fetched there")
        check(not any(request.header("authorization") for request in elsewhere.requests), "credentials went elsewhere")
    finally:
        home.stop()
        elsewhere.stop()
        registry.stop()
    bench.sound()


CASES = [passwords, helpers, tokens, certificates, mirrors, redirects, foreign_layers]
