"""Statistics, events, and telling that memory ran out, on cgroup v1 and v2."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from suite import PATIENCE, TIMEOUT, Skipped, case

V1 = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
CRUN = "1.8.1 has no events"
UNNAMED = "does not name the limit"
RUNC_ON_V2 = {} if V1 else {"runc": UNNAMED}
SILENT = "does not tell that memory ran out"
MIB = 1 << 20

# Takes more memory than the limits below allow.
GREEDY = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]

# What newer runc and we tell, and runc 1.1 does not; and v2's processors, which we tell in the place that v1's have.
MORE = tuple(f"data.{name}" for name in "cpu.psi memory.psi blkio.psi memory.usage.max cpuset.cpus cpuset.mems".split())


def memory(t, limit):
    """Limits memory, and swap with it where the kernel counts swap."""
    swap = "memory/memory.memsw.limit_in_bytes" if V1 else None
    with_swap = swap is None or os.path.exists(f"/sys/fs/cgroup/{swap}")
    t.linux["resources"]["memory"] = {"limit": limit, **({"swap": limit} if with_swap else {})}


def stats(t):
    lines = t.rt("events", "--stats", t.id).out.splitlines()
    t.equal(len(lines), 1, "lines")
    line = json.loads(lines[0])
    t.equal((line["type"], line["id"], sorted(line)), ("stats", t.id, ["data", "id", "type"]))
    return line["data"]


@contextlib.contextmanager
def disk(t):
    """A directory of the container's on a block device, /disk: the suite's own rootfs is on a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        device = os.stat(directory).st_dev
        if os.major(device) == 0:
            raise Skipped("/var/tmp is on no block device")
        t.mount("/disk", type="bind", source=directory, options=["bind", "rw"])
        yield directory
        t.rt("delete", "--force", t.id)


def leaves(value, path=""):
    """The paths of all that is neither an object nor empty."""
    if isinstance(value, dict):
        return {leaf: number for key, part in value.items() for leaf, number in leaves(part, f"{path}.{key}").items()}
    return {path[1:]: value}


def lines_of(t, process):
    return [json.loads(line) for line in open(f"{process.stamp}.out").read().splitlines()]


def ooms(t, process):
    return [line for line in lines_of(t, process) if line["type"] == "oom"]


@case(crun=CRUN)
def stats_have_the_members_of_runcs(t):
    """The same payload under this runtime and under runc: the same members, and figures of the same size."""
    if not shutil.which("runc"):
        raise Skipped("runc is not installed")
    memory(t, 64 * MIB)
    script = "dd if=/dev/zero of=/file bs=1M count=8; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    t.process["args"] = ["sh", "-c", f"{script}; touch /done; exec sleep 1000"]
    t.save()
    # Whether a device was read from is chance: `stats_count_blocks` looks at that.
    ours = told_by(t, t.runtime, t.root)
    runcs = told_by(t, shutil.which("runc"), f"{t.directory}/runc")
    extra = {path for path in ours.keys() - runcs.keys() if not path.startswith(MORE)}
    t.equal((extra, runcs.keys() - ours.keys()), (set(), set()), "only here, only in runc's")
    for path in sorted(runcs):
        t.equal(type(ours[path]), type(runcs[path]), f"type of {path}")
        if path.endswith(".limit") or path in ("id", "type", "data.pids.current"):
            t.equal(ours[path], runcs[path], path)
    for path, factor in (("data.cpu.usage.total", 5), ("data.memory.cache", 2), ("data.memory.usage.usage", 2)):
        within = ours[path] / factor <= runcs[path] <= ours[path] * factor
        t.true(within, f"{path}: {ours[path]}, in runc's {runcs[path]}")


def told_by(t, runtime, root):
    """What a runtime tells of a container of its own, by paths."""
    files = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": t.bundle, "timeout": TIMEOUT}
    rt = lambda *command, out: subprocess.run([runtime, "--root", root, *command], check=True, stdout=out, **files)
    rt("run", "--detach", t.id, out=subprocess.DEVNULL)
    try:
        t.until(lambda: os.path.exists(f"{t.rootfs}/done"), "the payload's end")
        time.sleep(0.1)
        told = leaves(json.loads(rt("events", "--stats", t.id, out=subprocess.PIPE).stdout))
        return {path: value for path, value in told.items() if not path.startswith("data.blkio.io")}
    finally:
        rt("delete", "--force", t.id, out=subprocess.DEVNULL)
        for name in ("file", "done"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"{t.rootfs}/{name}")


@case(crun=CRUN)
def stats_are_plausible(t):
    memory(t, 32 * MIB)
    t.linux["resources"]["pids"] = {"limit": 17}
    t.linux["resources"]["cpu"] = {"quota": 5000, "period": 50000}  # a busy host gives more than that
    t.sleeper(command=["sh", "-c", "sleep 1001 & while :; do :; done"])
    throttled = lambda data: data["cpu"].get("throttling", {}).get("throttledPeriods", 0)
    t.until(lambda: throttled(stats(t)) > 1, "a throttled period")
    data = stats(t)
    t.equal(data["pids"], {"current": 2, "limit": 17})
    t.equal(data["memory"]["usage"]["limit"], 32 * MIB)
    t.true(0 < data["memory"]["usage"]["usage"] < 32 * MIB, f"memory: {data['memory']['usage']}")
    t.true(data["cpu"]["usage"]["total"] > 10_000_000, f"time used: {data['cpu']['usage']}")
    t.true(data["cpu"]["throttling"]["periods"] >= throttled(data), f"{data['cpu']['throttling']}")
    t.true(len(data["memory"]["raw"]) > 10, "memory.stat")
    if V1:
        t.equal(len(data["cpu"]["usage"]["percpu"]), os.cpu_count())
        t.true(data["memory"]["usage"]["max"] >= data["memory"]["usage"]["usage"], "peak")
        t.true(data["cpuset"]["cpus"], "no processors")
    t.until(lambda: stats(t)["cpu"]["usage"]["total"] > data["cpu"]["usage"]["total"], "more time used")


@case(crun=CRUN)
def stats_count_blocks(t):
    total = lambda: sum(
        one.get("value", 0) for one in stats(t)["blkio"].get("ioServiceBytesRecursive", []) if one.get("op") == "Write"
    )
    with disk(t):
        # Not by way of the page cache: v1 does not know who made a page dirty.
        t.sleeper(command=["sh", "-c", "dd if=/dev/zero of=/disk/file bs=1M count=3 oflag=direct; exec sleep 1000"])
        t.until(lambda: total() >= 3 * MIB, "3 MiB written")
        t.true(total() < 6 * MIB, f"{total()} bytes written")


@case(crun=CRUN)
def stats_of_paused_and_created_containers(t):
    t.create("sleep", "1000")
    t.equal(stats(t)["pids"]["current"] > 0, True)
    t.rt("start", t.id)
    t.rt("pause", t.id)
    t.equal(stats(t)["pids"]["current"], 1)


@case(crun=CRUN)
def a_stopped_or_missing_container_has_none(t):
    t.sleeper()
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    for options in ([], ["--stats"]):
        t.contains(t.rt("events", *options, t.id, code=1).err, f"container with id {t.id} is not running")
        t.contains(t.rt("events", *options, "nobody", code=1).err, "container does not exist")


@case(crun=CRUN)
def intervals_are_kept(t):
    t.sleeper()
    process = t.start_rt("events", "--interval", f"{int(200 * PATIENCE)}ms", t.id)
    time.sleep(1.5 * PATIENCE)
    t.equal(process.poll(), None, "it watches")
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    if t.name != "runc":  # 1.1.5 on v1 waits for the cgroup to be removed
        t.finish(process)
    t.rt("delete", t.id)
    t.finish(process)
    lines = lines_of(t, process)
    t.true(4 <= len(lines) <= 8, f"{len(lines)} lines in the time of seven")
    t.equal({line["type"] for line in lines}, {"stats"})


@case(crun=CRUN)
def bad_intervals_are_refused(t):
    t.sleeper()
    for text in ("5", "x", "1y", ""):
        t.contains(t.rt("events", "--interval", text, t.id, code=1).said, "parse error")
    for text in ("0", "0s", "-1s"):
        t.contains(t.rt("events", "--interval", text, t.id, code=1).err, "must be greater than 0")


@case(crun=CRUN)
def it_ends_at_once_with_the_container(t):
    """Not only at the next interval."""
    t.sleeper()
    process = t.start_rt("events", "--interval", "1h", t.id)
    time.sleep(0.3 * PATIENCE)
    t.rt("delete", "--force", t.id)
    t.until(lambda: process.poll() is not None, "the end of events", 2)
    result = t.finish(process)
    t.equal((result.out, result.err), ("", ""))


@case(crun=CRUN, runc="dies of SIGPIPE, or at the next interval")
def a_reader_that_goes_away_ends_it_quietly(t):
    t.sleeper()
    for interval, read in (("10ms", 1), ("1h", 0)):
        process = subprocess.Popen(
            [t.runtime, "--root", t.root, "events", "--interval", interval, t.id],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(read):
            json.loads(process.stdout.readline())
        time.sleep(0.1 * PATIENCE)
        process.stdout.close()
        t.equal((process.wait(5 * PATIENCE), process.stderr.read()), (0, b""))


@case(crun=CRUN)
def an_idle_watcher_does_not_work(t):
    t.sleeper()
    process = t.start_rt("events", "--interval", "1h", t.id)
    time.sleep(0.5 * PATIENCE)
    ticks = lambda: sum(map(int, open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]))
    before = ticks()
    time.sleep(1)
    t.true(ticks() - before <= 1, f"{ticks() - before} ticks in a second")
    t.rt("delete", "--force", t.id)
    t.finish(process)


@case(crun=CRUN)
def lack_of_memory_is_an_event(t):
    """Told at once, while the container goes on."""
    memory(t, 16 * MIB)
    t.sleeper(command=["sh", "-c", f"while [ ! -e /go ]; do sleep 0.05; done; {' '.join(GREEDY)}; exec sleep 1000"])
    process = t.start_rt("events", "--interval", "1h", t.id)
    time.sleep(0.5 * PATIENCE)
    t.equal(ooms(t, process), [], "nothing has happened")
    t.file("/go")
    t.until(lambda: ooms(t, process), "an event", 5)
    t.equal(ooms(t, process)[0], {"type": "oom", "id": t.id})
    t.equal(t.state()["status"], "running")
    t.rt("delete", "--force", t.id)
    t.finish(process)


@case(crun=CRUN, runc=SILENT)
def only_lack_of_memory_is_an_event(t):
    """What meets its limit and gets by is not killed, and an earlier kill is not told again."""
    memory(t, 16 * MIB)
    reads = "dd if=/dev/zero of=/disk/file bs=64k count=512; cat /disk/file /disk/file >/dev/null"
    script = f"{' '.join(GREEDY)}; touch /killed; while [ ! -e /go ]; do sleep 0.05; done; {reads}; touch /done"
    with disk(t):
        t.sleeper(command=["sh", "-c", f"{script}; exec sleep 1000"])
        t.until(lambda: os.path.exists(f"{t.rootfs}/killed"), "a kill")
        process = t.start_rt("events", "--interval", "1h", t.id)
        t.until(lambda: armed(process), "watching")
        t.file("/go")
        t.until(lambda: os.path.exists(f"{t.rootfs}/done"), "the payload's end", 60)
        t.equal(stats(t)["memory"]["usage"]["limit"], 16 * MIB)
        t.rt("delete", "--force", t.id)
        t.equal(t.finish(process).out, "")


def armed(process):
    """Whether `events` watches: it opens init's pidfd last."""
    try:
        links = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
    except FileNotFoundError:
        return False
    return any("pidfd" in link for link in links)


@case(crun=CRUN, runc="whether its watch is armed cannot be seen from outside")
def instant_lack_of_memory_is_never_lost(t):
    """Armed after create: 200 containers whose first deed is to run out of memory, each deleted once it has stopped."""
    memory(t, 4 * MIB)
    t.process["args"] = GREEDY
    t.save()
    for round in range(int(200 / PATIENCE)):
        t.rt("create", t.id)
        process = t.start_rt("events", "--interval", "1h", t.id)
        t.until(lambda: armed(process), "watching")
        t.rt("start", t.id, code={0, 1})
        result = t.finish(process)
        t.equal(result.out, f'{{"type":"oom","id":"{t.id}"}}\n', f"round {round}")
        t.equal(t.state().get("oomKilled"), True, f"round {round}: oomKilled")
        t.rt("delete", t.id)


@case(crun=CRUN, runc=SILENT)
def a_group_kill_is_one_event(t):
    if V1:
        raise Skipped("v2 only")
    memory(t, 16 * MIB)
    t.linux["resources"]["unified"] = {"memory.oom.group": "1"}
    t.create("sh", "-c", f"for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; {' '.join(GREEDY)}; sleep 1000")
    process = t.start_rt("events", "--interval", "1h", t.id)
    t.until(lambda: armed(process), "watching")
    t.rt("start", t.id)
    t.equal(t.finish(process).out.count('"oom"'), 1, "events")
    t.equal(t.state()["oomKilled"], True)


@case(crun=SILENT, runc=SILENT)
def state_and_list_tell_of_lack_of_memory(t):
    memory(t, 8 * MIB)
    t.sleeper(command=["sh", "-c", f"while [ ! -e /go ]; do sleep 0.05; done; exec {' '.join(GREEDY)}"])
    t.lacks(t.rt("state", t.id).out, "oomKilled")
    t.lacks(t.rt("list", "-f", "json").out, "oomKilled")
    t.file("/go")
    t.wait("stopped")
    t.equal(t.state()["oomKilled"], True)
    t.equal([one["oomKilled"] for one in json.loads(t.rt("list", "-f", "json").out) if one["id"] == t.id], [True])


@case()
def an_ordinary_end_is_not_lack_of_memory(t):
    memory(t, 8 * MIB)
    t.equal(t.run("sh", "-c", "exit 137", code=137).err, "")
    t.sleeper()
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    t.lacks(t.rt("state", t.id).out, "oomKilled")


@case(crun=SILENT, runc=SILENT)
def run_says_what_a_137_means(t):
    memory(t, 8 * MIB)
    for command in (GREEDY, ["sh", "-c", f"{' '.join(GREEDY)}; exit $?"]):
        said = t.run(*command, code=137).err
        for word in ("lack of memory", "linux.resources.memory.limit", str(8 * MIB), "raise"):
            t.contains(said, word)
        t.equal(said.count("level=warning"), 1, "warnings")


TINY = [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 * MIB, 2 * MIB, 4 * MIB, 8 * MIB]


def says_memory(t, text, limit):
    for word in ("memory", str(limit)):
        t.contains(text, word)


@case(crun=UNNAMED, **RUNC_ON_V2)
def run_under_tiny_limits(t):
    """It runs, or says that memory was the reason."""
    for limit in TINY:
        memory(t, limit)
        for _ in range(3):
            result = t.run("true", code=None)
            if result.code != 0:
                says_memory(t, result.err, limit)
    t.equal(result.code, 0, "with 8 MiB")


@case(crun=UNNAMED, **RUNC_ON_V2)
def create_and_start_under_tiny_limits(t):
    for limit in TINY:
        memory(t, limit)
        created = t.create("true", code=None)
        if created.code != 0:
            says_memory(t, created.err, limit)
            continue
        started = t.rt("start", t.id, code=None)
        t.wait("stopped")
        if started.code != 0:
            says_memory(t, started.err, limit)
        t.rt("delete", t.id)
    t.equal((created.code, started.code), (0, 0), "with 8 MiB")


@case(runc="says that the connection was reset, now and then")
def exec_without_memory_left(t):
    """The container has used nearly all that there is; what comes in has enough, is killed, or says what it lacks."""
    memory(t, 8 * MIB)
    t.mount("/full", type="tmpfs", source="tmpfs", options=["size=16m"])
    script = "dd if=/dev/zero of=/full/file bs=4k count=1900; touch /done; exec sleep 1000"
    t.sleeper(command=["sh", "-c", script])
    t.until(lambda: os.path.exists(f"{t.rootfs}/done") or t.state()["status"] == "stopped", "the payload's end")
    for _ in range(5):
        result = t.exec(t.id, "true", code=None)
        if t.state()["status"] != "running":
            break  # the kernel chose another one
        if result.code not in (0, 137):
            t.contains(result.err, "memory")


@case(crun=CRUN, runc="json only")
def a_table_for_people(t):
    memory(t, 16 * MIB)
    t.sleeper(command=["sh", "-c", f"while [ ! -e /go ]; do sleep 0.05; done; {' '.join(GREEDY)}; exec sleep 1000"])
    lines = t.rt("events", "--format", "table", "--stats", t.id).out.splitlines()
    t.equal(lines[0].split(), "TIME CPU CPU% MEMORY LIMIT PEAK PIDS READ WRITTEN".split())
    t.equal((len(lines), lines[1].split()[4]), (2, "16.0MiB"))
    t.contains("12", lines[1][lines[0].find("PIDS")])  # the shell, and now and then its sleep
    process = t.start_rt("events", "-f", "table", "--interval", "100ms", t.id)
    shown = lambda: open(f"{process.stamp}.out").read().splitlines()
    t.until(lambda: len(shown()) > 3, "rows")
    t.file("/go")
    t.until(lambda: any(line.endswith("out of memory") for line in shown()), "lack of memory")
    process.send_signal(signal.SIGTERM)
    t.finish(process, code=None)
    t.contains(t.rt("events", "--format", "xml", t.id, code=1).err, "invalid format option")
