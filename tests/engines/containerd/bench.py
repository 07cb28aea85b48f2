#!/usr/bin/env python3
"""Memory and latency of the shim beside containerd's own with runc and with crun, in one run, interleaved.

    bench.py [--pods N] [--rounds N] [--containerd VERSION] [--write FILE] SHIM_DIRECTORY

Memory is what the kernel counts for the shims (/proc/PID/smaps_rollup); marginal is what one more pod costs, from the
second half of the pods. containerd's database is on a tmpfs: on a disk its fsync takes longer than either shim.
Needs root.
"""

import concurrent.futures
import glob
import os
import shutil
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f"{HERE}/.."]
import images  # noqa: E402
from ctr import Engine  # noqa: E402
from direct import Client  # noqa: E402
from suite import eventually, on_private_host, parser  # noqa: E402

CREEL, RUNC = "io.containerd.creel.v2", "io.containerd.runc.v2"
NOTES = """
Of an exec most is ctr's and containerd's own, the same for each shim: what the shim itself takes is in the row that asks it directly. A shim that took
no time at all would still have to wait for them.
"""
WARMING = 2  # rounds that warm caches
STORMS = 3  # rounds of many at once


class Peer:
    def __init__(self, name, runtime, flags=()):
        self.name, self.runtime, self.flags, self.figures = name, runtime, flags, {}

    def run(self, *more):
        return ["--runtime", self.runtime, *self.flags, *more]


def memory(pids):
    """Sums of PSS and RSS in KiB, and the number of threads of one."""
    pss = rss = threads = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            fields = {line.split(":")[0]: line.split()[1] for line in rollup if ":" in line and "kB" in line}
        pss, rss = pss + int(fields["Pss"]), rss + int(fields["Rss"])
        threads = max(threads, len(os.listdir(f"/proc/{pid}/task")))
    return pss, rss, threads


def remove_all(engine, names):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(engine.remove, names))
    eventually(lambda: not engine.shims(), "no shim left", 60)


def pods(engine, peer, count, containers):
    """Memory of the shims of `count` pods; the figures of half of them first."""
    names, halves = [], []
    for half in (range(count // 2), range(count // 2, count)):
        for pod in half:
            for number in range(containers):
                name = f"p{pod}-{number}"
                group = ["--annotation", f"io.containerd.runc.v2.group=p{pod}"] if containers > 1 else []
                engine.ctr("run", "-d", "--null-io", *peer.run(*group), images.NAME, name, "sleep", "1000", limit=60)
                names.append(name)
        time.sleep(1)
        halves.append(memory(engine.shims()))
    remove_all(engine, names)
    (first, _, _), (pss, rss, threads) = halves
    return {"pss": pss / count, "marginal": (pss - first) / (count - count // 2), "rss": rss / count, "threads": threads}


def timed(function):
    began = time.monotonic()
    function()
    return (time.monotonic() - began) * 1000


def latencies(engine, peers, rounds):
    times = {}
    for peer in peers:
        peer.box = f"bench-{peer.id}"
        engine.ctr("run", "-d", "--null-io", *peer.run(), images.NAME, peer.box, "sleep", "1000")
        peer.client = Client(*glob.glob(f"{engine.work}/state/io.containerd.runtime.v2.task/*/{peer.box}"))
    for number in range(rounds + WARMING):
        for peer in peers:
            acts = {
                "run": lambda: engine.ctr("run", "--rm", "--null-io", *peer.run(), images.NAME, f"run-{peer.id}", "/bin/true"),  # noqa: B023
                "exec": lambda: engine.ctr("task", "exec", "--exec-id", f"e{number}", peer.box, "/bin/true"),  # noqa: B023
                "direct": lambda: peer.client.exec(peer.box, f"d{number}", "/bin/true"),  # noqa: B023
                "floor": lambda: engine.ctr("version"),
            }
            for name, act in acts.items():
                times.setdefault((peer, name), []).append(timed(act))
    for (peer, name), found in times.items():
        peer.figures[name] = statistics.median(found[WARMING:])
    for peer in peers:
        peer.client.close()
    remove_all(engine, [peer.box for peer in peers])


def at_once(engine, peer, count):
    def start(number):
        engine.ctr("run", "-d", "--null-io", *peer.run(), images.NAME, f"o{number}", "sleep", "1000", limit=120)

    def start_all():
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(start, range(count)))

    took = timed(start_all)
    remove_all(engine, [f"o{number}" for number in range(count)])
    return took


def table(peers, version, options):
    rows = [
        ("`ctr run --rm` of `/bin/true`, ms", lambda f: f"{f['run']:.0f}"),
        ("`ctr task exec` of `/bin/true`, ms", lambda f: f"{f['exec']:.0f}"),
        ("`ctr version`: what ctr takes to start and to connect, ms", lambda f: f"{f['floor']:.0f}"),
        ("`ctr task exec` without that, ms", lambda f: f"{f['exec'] - f['floor']:.0f}"),
        ("the same exec asked of the shim itself, without ctr and containerd, ms", lambda f: f"{f['direct']:.1f}"),
        (f"{options.pods} × `ctr run -d` at once, s", lambda f: f"{f['at once'] / 1000:.2f}"),
        (f"{options.pods} pods of one container: PSS per pod, KiB", lambda f: f"{f['one']['pss']:.0f}"),
        ("the same, marginal", lambda f: f"{f['one']['marginal']:.0f}"),
        ("the same, RSS per pod", lambda f: f"{f['one']['rss']:.0f}"),
        ("10 pods of three containers: PSS per pod, KiB", lambda f: f"{f['three']['pss']:.0f}"),
        ("the same, RSS per pod", lambda f: f"{f['three']['rss']:.0f}"),
        ("threads of a shim", lambda f: f"{f['one']['threads']}"),
    ]
    lines = [f"containerd {version}; medians of {options.rounds} rounds ({STORMS} of those at once), interleaved.", "",
             "| | " + " | ".join(peer.name for peer in peers) + " |", "|---" * (len(peers) + 1) + "|"]  # fmt: skip
    lines += [f"| {what} | " + " | ".join(show(peer.figures) for peer in peers) + " |" for what, show in rows]
    return "\n".join(lines) + "\n"


def inside(options):
    engine = Engine(options, CREEL)
    try:
        peers = [Peer("creel", CREEL), Peer("Go shim, runc", RUNC)]
        if shutil.which("crun"):
            peers.append(Peer("Go shim, crun", RUNC, ("--runc-binary", shutil.which("crun"))))
        for number, peer in enumerate(peers):
            peer.id = number
        version = ".".join(map(str, engine.version))
        for peer in peers:
            peer.figures["one"] = pods(engine, peer, options.pods, 1)
            peer.figures["three"] = pods(engine, peer, 10, 3)
            print(peer.name, peer.figures, flush=True)
        latencies(engine, peers, options.rounds)
        took = [[at_once(engine, peer, options.pods) for peer in peers] for _ in range(STORMS)]
        for peer, found in zip(peers, zip(*took)):
            peer.figures["at once"] = statistics.median(found)
        text = table(peers, version, options)
        print(text)
        if options.write:
            with open(options.write, "w") as file:
                file.write("# The shim, measured\n\nWritten by `make bench-shim`.\n\n" + text + NOTES)
    finally:
        remove_all(engine, [line.split()[0] for line in engine.ctr("container", "ls").splitlines()[1:]])
        engine.stop()


def options():
    wanted = parser(__doc__)
    wanted.add_argument("--pods", type=int, default=50)
    wanted.add_argument("--rounds", type=int, default=20)
    wanted.add_argument("--write", default="", metavar="FILE")
    return wanted


if __name__ == "__main__":
    sys.exit(on_private_host(options(), inside))
