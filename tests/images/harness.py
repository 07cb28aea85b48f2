"""What every case has: a directory of its own, stores, the program, and checks of what it leaves behind."""

import hashlib
import json
import os
import re
import subprocess


class Failure(Exception):
    """What a case finds wrong."""


def check(condition, what):
    if not condition:
        raise Failure(what)


class Result:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout.decode(), done.stderr.decode()


class Bench:
    """The program on one store, for one case."""

    def __init__(self, program, work, registry):
        self.program, self.work, self.registry = program, work, registry
        self.store = f"{work}/store"
        self.home = f"{work}/home"
        self.path = os.environ["PATH"]
        os.makedirs(self.home)

    def environment(self):
        return {"PATH": self.path, "HOME": self.home}

    def command(self, *arguments, store=None):
        return [self.program, "--store", store or self.store, *arguments]

    def run(self, *arguments, store=None, input=None, timeout=120):
        done = subprocess.run(self.command(*arguments, store=store), env=self.environment(), input=input,
                              capture_output=True, timeout=timeout)
        result = Result(done)
        check("panicked" not in result.err, f"it panicked: {result.err}")
        return result

    def start(self, *arguments, store=None):
        return subprocess.Popen(self.command(*arguments, store=store), env=self.environment(),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ok(self, *arguments, **more):
        result = self.run(*arguments, **more)
        check(result.status == 0, f"{' '.join(arguments)}: exit {result.status}: {result.err}")
        return result.out

    def fails(self, *arguments, says, **more):
        result = self.run(*arguments, **more)
        check(result.status != 0, f"{' '.join(arguments)} should have failed: {result.out}")
        check(re.search(says, result.err), f"the error does not say {says!r}: {result.err}")
        check(len(result.err.splitlines()) <= 6, f"the error is more than a few lines: {result.err}")
        return result.err

    def names(self, store=None):
        return [row["name"] for row in json.loads(self.ok("ls", "--format", "json", store=store))]

    def blobs(self, store=None):
        folder = f"{store or self.store}/blobs/sha256"
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()

    def snapshots(self, store=None):
        folder = f"{store or self.store}/snapshots/sha256"
        return set(os.listdir(folder)) if os.path.isdir(folder) else set()

    def sound(self, store=None):
        """Every blob is what its name says, and every image that has a name is whole."""
        store = store or self.store
        for name in self.blobs(store):
            with open(f"{store}/blobs/sha256/{name}", "rb") as file:
                check(hashlib.file_digest(file, "sha256").hexdigest() == name, f"blob {name} is not what its name says")
        if not os.path.exists(f"{store}/index.json"):
            return
        with open(f"{store}/index.json") as file:
            manifests = json.load(file)["manifests"]
        for entry in manifests:
            with open(f"{store}/blobs/{entry['digest'].replace(':', '/')}") as file:
                manifest = json.load(file)
            for part in [manifest["config"], *manifest["layers"]]:
                path = f"{store}/blobs/{part['digest'].replace(':', '/')}"
                check(os.path.exists(path), f"{part['digest']} is missing of {entry}")
                check(os.path.getsize(path) == part["size"], f"{part['digest']} has another size")

    def clean(self, store=None):
        """Nothing half-done is left."""
        store = store or self.store
        for folder in ("ingest", "leases"):
            left = os.listdir(f"{store}/{folder}")
            check(not left, f"left in {folder}: {left}")
        left = [name for name in os.listdir(f"{store}/snapshots") if name.startswith(".")]
        check(not left, f"left in snapshots: {left}")
