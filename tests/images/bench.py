#!/usr/bin/env python3
"""Pulling and unpacking, beside what is in use. usage: bench.py [--write FILE] [--rounds N] [--size MIB] DIRECTORY; it has creel-image.

An image of about 400 MB (--size; compressed, files of this machine's /usr in six layers) comes from a registry on loopback into
empty stores: `creel-image pull`, `skopeo copy` and `umoci unpack`, and `ctr image pull` with a containerd of its own. The
tools take turns; the figures are medians, and the peak of the memory of the processes of a tool."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import oci

LAYERS = 6


def image(path, wanted):
    """Takes files from /usr, in order, until the layers have about the wanted size."""
    folders = [folder for folder in ("/usr/bin", "/usr/sbin", "/usr/share", "/usr/libexec", "/usr/lib", "/usr/local") if os.path.isdir(folder)]
    found = subprocess.run(["find", *folders, "-xdev", "-type", "f", "-size", "-64M", "-printf", "%s %p\\0"], stdout=subprocess.PIPE, check=True).stdout
    files = [entry.split(b" ", 1) for entry in found.split(b"\0") if entry]
    # Such files shrink to about 38 %.
    limit, total, chosen = wanted * 100 // 38, 0, []
    for size, name in sorted(files, key=lambda entry: entry[1]):
        total += int(size)
        if total > limit:
            break
        chosen.append(name)
    layers, step = [], -(-len(chosen) // LAYERS)
    for begin in range(0, len(chosen), step):
        command = ["tar", "-P", "--format=posix", "--numeric-owner", "--transform=s,^/,,", "--null", "-T", "-", "-c"]
        layers.append((subprocess.run(command, input=b"\0".join(chosen[begin:begin + step]), stdout=subprocess.PIPE, check=True).stdout, "gzip"))
    oci.layout(path, layers, {"Cmd": ["/bin/true"]})
    blobs = os.path.join(path, "blobs", "sha256")
    return len(chosen), sum(len(archive) for archive, _ in layers), sum(os.path.getsize(os.path.join(blobs, blob)) for blob in os.listdir(blobs))


def timed(*commands):
    """Seconds of the commands one after the other, and the largest peak of one of their processes, in MiB."""
    rows = [oci.measured(*command) for command in commands]
    return sum(row[0] for row in rows), max(row[2] for row in rows)


def creel(tool, address, work):
    return timed([tool, "--store", os.path.join(work, "store"), "pull", "--quiet", f"{address}/bench"])


def umoci(_tool, address, work):
    layout = os.path.join(work, "layout")
    return timed(["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{address}/bench:latest", f"oci:{layout}:latest"],
                 ["umoci", "unpack", "--image", f"{layout}:latest", os.path.join(work, "bundle")])


def containerd(_tool, address, work):
    """With root and state of its own; its memory is the daemon's peak, which does the work."""
    config, sock = os.path.join(work, "config.toml"), os.path.join(work, "c.sock")
    with open(config, "w", encoding="utf-8") as file:
        file.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.internal.v1.opt"]\n')
    daemon = subprocess.Popen(["containerd", "-c", config, "--root", os.path.join(work, "root"), "--state", os.path.join(work, "state"), "-a", sock],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if subprocess.run(["ctr", "-a", sock, "version"], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.05)
        seconds, _ = timed(["ctr", "-a", sock, "image", "pull", "--plain-http", "--snapshotter", "overlayfs", f"{address}/bench:latest"])
        with open(f"/proc/{daemon.pid}/status", encoding="utf-8") as file:
            peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
        return seconds, peak
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)


TOOLS = {"creel-image pull": creel, "skopeo copy + umoci unpack": umoci, "ctr image pull": containerd}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=400, metavar="MIB")
    parser.add_argument("directory")
    options = parser.parse_args()
    rounds, tool = options.rounds, os.path.join(os.path.abspath(options.directory), "creel-image")
    if os.geteuid():
        sys.exit("bench: containerd and umoci need root here")
    work = tempfile.mkdtemp(prefix="creel-bench-image-")
    results = {name: [] for name in TOOLS}
    try:
        count, size, packed = image(os.path.join(work, "image"), options.size << 20)
        with oci.registry(work) as address:
            oci.push(os.path.join(work, "image"), address, "bench")
            shutil.rmtree(os.path.join(work, "image"))
            for _ in range(rounds):
                for name, measure in TOOLS.items():
                    folder = tempfile.mkdtemp(dir=work)
                    # What the one before has written must not slow this one down.
                    os.sync()
                    try:
                        results[name].append(measure(tool, address, folder))
                    finally:
                        oci.remove(folder)
                    print(f"{name}: {results[name][-1][0]:.2f} s, {results[name][-1][1]:.0f} MiB", flush=True)
    finally:
        oci.remove(work)
    text = report(results, count, size, packed, rounds)
    print(text)
    if options.write:
        with open(options.write, "w", encoding="utf-8") as file:
            file.write(text)


def report(results, count, size, packed, rounds):
    best = statistics.median(seconds for seconds, _ in results["creel-image pull"])
    lines = ["# Pulling and unpacking an image", "",
             f"`make bench-image`, on {os.cpu_count()} CPUs: {count} files of this machine's /usr in {LAYERS} gzip layers, {packed >> 20} MiB compressed, {size >> 20} MiB",
             f"uncompressed, from docker-registry on loopback into an empty store. Medians of {rounds} rounds in which the tools take turns; the range is in brackets.",
             "The registry runs on the same CPUs. Memory is the peak of one process (for ctr, containerd's).", "",
             "| tool | seconds | times creel-image | peak memory, MiB |", "|---|---|---|---|"]
    for name, rows in results.items():
        seconds = [row[0] for row in rows]
        middle = statistics.median(seconds)
        lines.append(f"| {name} | {middle:.2f} ({min(seconds):.2f}–{max(seconds):.2f}) | {middle / best:.1f} | {max(row[1] for row in rows):.0f} |")
    lines += ["", "creel-image writes the blobs to the disk (fsync) before it names the image; the others do not wait for the disk.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
