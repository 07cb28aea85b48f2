"""OCI images made by hand, a registry to serve them, and trees to compare. Used by unpack.py and bench.py."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time

LAYER = "application/vnd.oci.image.layer.v1.tar"


class Layer:
    """A tar archive in PAX format, member by member."""

    def __init__(self):
        self.raw = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.raw, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape")

    def add(self, name, data=None, kind=tarfile.REGTYPE, mode=0o644, ids=(0, 0), mtime=1_000_000_000, link="", xattrs=None, device=(0, 0)):
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.mtime, member.linkname = kind, mode, mtime, link
        member.uid, member.gid = ids
        member.devmajor, member.devminor = device
        for key, value in (xattrs or {}).items():
            member.pax_headers[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
        data = data or b""
        member.size = len(data)
        self.tar.addfile(member, io.BytesIO(data))
        return self

    def directory(self, name, mode=0o755, **more):
        return self.add(name, kind=tarfile.DIRTYPE, mode=mode, **more)

    def symlink(self, name, target, **more):
        return self.add(name, kind=tarfile.SYMTYPE, mode=0o777, link=target, **more)

    def hardlink(self, name, target, **more):
        return self.add(name, kind=tarfile.LNKTYPE, link=target, **more)

    def bytes(self):
        self.tar.close()
        return self.raw.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compressed(data, how):
    if how == "gzip":
        return gzip.compress(data, 6, mtime=0), LAYER + "+gzip"
    if how.startswith("zstd"):
        return subprocess.run([*how.split(), "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout, LAYER + "+zstd"
    return data, LAYER


def layout(path, layers, config=None, tag="latest"):
    """Writes an OCI layout with one image. `layers` are pairs of a tar archive and how to compress it."""
    blobs = os.path.join(path, "blobs", "sha256")
    os.makedirs(blobs)

    def put(data):
        with open(os.path.join(blobs, digest(data)[7:]), "wb") as file:
            file.write(data)
        return {"digest": digest(data), "size": len(data)}

    descriptors, diff_ids = [], []
    for archive, how in layers:
        diff_ids.append(digest(archive))
        data, media_type = compressed(archive, how)
        descriptors.append({"mediaType": media_type, **put(data)})
    document = {"architecture": "amd64", "os": "linux", "config": config or {"Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [{"created_by": "by hand"} for _ in layers]}
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **put(json.dumps(document).encode())}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": descriptors}
    entry = {"mediaType": manifest["mediaType"], **put(json.dumps(manifest).encode()),
             "annotations": {"org.opencontainers.image.ref.name": tag}}
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", {"schemaVersion": 2, "manifests": [entry]})):
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            json.dump(value, file)


@contextlib.contextmanager
def registry(work):
    """Debian's docker-registry on loopback, plain HTTP; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = os.path.join(work, "registry.yml")
    with open(config, "w", encoding="utf-8") as file:
        json.dump({"version": 0.1, "log": {"accesslog": {"disabled": True}, "level": "error"},
                   "storage": {"filesystem": {"rootdirectory": os.path.join(work, "registry")}},
                   "http": {"addr": f"127.0.0.1:{port}"}}, file)
    process = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        else:
            raise RuntimeError("the registry does not answer")
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def push(source, address, name):
    run("skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", f"oci:{source}:latest", f"docker://{address}/{name}:latest")


def run(*command, timeout=300, **more):
    """Runs a command that must succeed; gives what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False, **more)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


# A process's peak counts from its parent's at the time of the fork; so the parent is one that has no memory to speak of.
MEASURE = """
import os, subprocess, sys, time
begin = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measured(*command, timeout=600):
    """Runs a command that must succeed; gives its seconds, those of CPUs, and its peak of memory in MiB."""
    seconds, cpu, peak = run(sys.executable, "-S", "-E", "-c", MEASURE, *command, timeout=timeout).split()[-3:]
    return float(seconds), float(cpu), float(peak)


def tree(root, times=True):
    """Every entry below `root`, as a dictionary from its path to all that can be seen of it."""
    root, seen, names = os.fsencode(root), {}, {}
    for folder, folders, files in os.walk(root):
        for name in [b"."] * (folder == root) + folders + files:
            path = os.path.normpath(os.path.join(folder, name))
            seen[os.path.relpath(path, root)] = entry(path, times, names)
    for paths in names.values():
        for path in paths:
            seen[os.path.relpath(path, root)]["names"] = sorted(os.path.relpath(other, root) for other in paths)
    return seen


def entry(path, times, names):
    look = os.lstat(path)
    found = {"mode": oct(look.st_mode), "ids": (look.st_uid, look.st_gid)}
    if times:
        found["mtime"] = look.st_mtime_ns
    found["xattrs"] = {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
    if stat.S_ISREG(look.st_mode):
        found["size"], found["sparse"] = look.st_size, look.st_blocks * 512 < look.st_size // 2
        with open(path, "rb") as file:
            found["content"] = hashlib.file_digest(file, "sha256").hexdigest()
    elif stat.S_ISLNK(look.st_mode):
        found["target"] = os.readlink(path)
    elif stat.S_ISCHR(look.st_mode) or stat.S_ISBLK(look.st_mode):
        found["device"] = (os.major(look.st_rdev), os.minor(look.st_rdev))
    if not stat.S_ISDIR(look.st_mode) and look.st_nlink > 1:
        names.setdefault((look.st_dev, look.st_ino), []).append(path)
    return found


def differences(ours, theirs):
    """What two trees do not have in common, for people; nothing if they are the same."""
    lines = []
    for path in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(path), theirs.get(path)
        if a is None or b is None:
            lines.append(f"{path!r}: only {'theirs' if a is None else 'ours'}")
        else:
            lines += [f"{path!r}: {key}: {a.get(key)!r}, theirs {b.get(key)!r}" for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return lines


def remove(path):
    """Removes a tree; never what is mounted in it."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        inside = [line.split()[4] for line in file if line.split()[4].startswith(os.path.realpath(path) + "/")]
    for point in sorted(inside, reverse=True):
        subprocess.run(["umount", point], check=False)
    shutil.rmtree(path)
