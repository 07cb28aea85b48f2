#!/usr/bin/env python3
"""Times OCI runtimes side by side. Started by bench.sh, which gives it a private host.

    bench.py RUNTIME[,PEER...] ROOTFS [--rounds N] [--no-write]

Every round does each operation once with each runtime, in turn, so that the machine's moods hit all alike. State,
bundles and configuration are on a tmpfs, as /run is on real hosts. Writes the table into docs/benchmarks.md.
"""

import argparse
import copy
import ctypes
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = f"{REPOSITORY}/docs/benchmarks.md"
PROFILE = f"{REPOSITORY}/seccomp-profiles/default.json"
COLUMNS = ["run", "create", "start", "delete -f", "create + start + delete", "same, seccomp profile", "exec", "max RSS"]
PR_SET_CHILD_SUBREAPER = 36


class Runtime:
    def __init__(self, path, rootfs, number):
        self.path = path
        self.name = os.path.basename(path)
        self.directory = f"/run/bench/{number}"
        self.id, self.sleeper = f"bench{number}", f"sleeper{number}"  # two of one name would share a cgroup
        self.samples = {column: [] for column in COLUMNS}
        config = json.load(open(f"{REPOSITORY}/tests/oci-validation/config.json"))
        config["root"]["path"] = rootfs
        self.bundle("true", config)
        sleeping = copy.deepcopy(config)
        sleeping["process"]["args"] = ["/bin/sleep", "1000"]
        self.bundle("sleep", sleeping)
        if os.path.exists(PROFILE):
            config["linux"]["seccomp"] = json.load(open(PROFILE))
            self.bundle("seccomp", config)

    def bundle(self, name, config):
        os.makedirs(f"{self.directory}/{name}")
        with open(f"{self.directory}/{name}/config.json", "w") as file:
            json.dump(config, file)

    def command(self, *arguments):
        return [self.path, "--root", f"{self.directory}/root", *arguments]

    def timed(self, *arguments):
        """Milliseconds from before the spawn until the exit is collected."""
        command = self.command(*arguments)
        null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]
        begin = time.perf_counter()
        pid = os.posix_spawn(self.path, command, os.environ, file_actions=null)
        _, status = os.waitpid(pid, 0)
        end = time.perf_counter()
        if status:
            sys.exit(f"bench: {' '.join(command)} failed")
        return 1000 * (end - begin)

    def sequence(self, bundle):
        return [
            self.timed("create", "--bundle", f"{self.directory}/{bundle}", self.id),
            self.timed("start", self.id),
            self.timed("delete", "-f", self.id),
        ]

    def max_rss(self):
        """KiB, the most that any one process of a `run` held. The runtime is started by a small shell, because a
        process inherits the peak of whoever forked it; the shell ends and leaves the runtime to us."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        command = self.command("run", "--bundle", f"{self.directory}/true", self.id)
        shell = ["busybox", "sh", "-c", '"$@" >/dev/null & echo $!', "sh", *command]
        pid = int(subprocess.run(shell, stdout=subprocess.PIPE, check=True).stdout)
        _, status, usage = os.wait4(pid, 0)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if status:
            sys.exit(f"bench: {' '.join(command)} failed")
        return usage.ru_maxrss

    def round(self):
        add = lambda column, value: self.samples[column].append(value)
        add("run", self.timed("run", "--bundle", f"{self.directory}/true", self.id))
        create, start, delete = self.sequence("true")
        add("create", create)
        add("start", start)
        add("delete -f", delete)
        add("create + start + delete", create + start + delete)
        if os.path.exists(PROFILE):
            add("same, seccomp profile", sum(self.sequence("seccomp")))
        add("exec", self.timed("exec", self.sleeper, "/bin/true"))
        add("max RSS", self.max_rss())

    def version(self):
        first = subprocess.run([self.path, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
        return re.sub(r"\bversion:? ", "", first)


def cell(column, samples):
    if not samples:
        return "–"
    middle, least = statistics.median(samples), min(samples)
    return f"{middle:,.0f} ({least:,.0f})" if column == "max RSS" else f"{middle:.1f} ({least:.1f})"


def table(runtimes):
    rows = [["ms, median (minimum)", *(c if c != "max RSS" else "max RSS, KiB" for c in COLUMNS)]]
    rows += [[r.version(), *(cell(c, r.samples[c]) for c in COLUMNS)] for r in runtimes]
    first = runtimes[0]
    for peer in runtimes[1:]:
        ratios = []
        for column in COLUMNS:
            mine, theirs = first.samples[column], peer.samples[column]
            ratios.append(f"{statistics.median(theirs) / statistics.median(mine):.1f} ×" if mine and theirs else "–")
        rows.append([f"{peer.name} ÷ {first.name}", *ratios])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines)


def machine(rounds):
    model = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    model = model.group(1) if model else os.uname().machine
    layout = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1 hybrid"
    date = time.strftime("%Y-%m-%d")
    return f"{date}, Linux {os.uname().release}, {os.cpu_count()} × {model}, cgroup {layout}, {rounds} rounds, interleaved."


def write(text):
    page = open(PAGE).read()
    begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    with open(PAGE, "w") as file:
        file.write(f"{before}{begin}\n{text}\n{end}{after}")
    print(f"written to {os.path.relpath(PAGE)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runtimes")
    parser.add_argument("rootfs")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    names = options.runtimes.split(",")
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        print("left out, not installed: " + ", ".join(missing))
    found = [shutil.which(name) for name in names if name not in missing]
    runtimes = [Runtime(path, options.rootfs, number) for number, path in enumerate(found)]
    for runtime in runtimes:
        runtime.timed("create", "--bundle", f"{runtime.directory}/sleep", runtime.sleeper)
        runtime.timed("start", runtime.sleeper)
        runtime.round()  # warms the caches; not counted
        runtime.samples = {column: [] for column in COLUMNS}
    for number in range(options.rounds):
        for position in range(len(runtimes)):
            runtimes[(number + position) % len(runtimes)].round()
    for runtime in runtimes:
        runtime.timed("delete", "-f", runtime.sleeper)
    text = f"{machine(options.rounds)}\n\n{table(runtimes)}"
    print(text)
    if not options.no_write:
        write(text)


if __name__ == "__main__":
    main()
