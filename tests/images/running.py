"""Cases: `creel-image run` on a terminal, its options seen from inside, and progress as people see it. Registered in unpack.py."""

import contextlib
import json
import os
import random
import re
import signal
import shutil
import subprocess
import threading

import oci
from oci import Layer
from terminal import on_terminal

TOOLS = ("sh", "id", "cat", "stty", "hostname", "sleep", "touch")


def small(context):
    """An image of busybox; gives its name."""
    with open(shutil.which("busybox"), "rb") as file:
        layer = Layer().directory("bin").add("bin/busybox", file.read(), mode=0o755)
    for tool in TOOLS:
        layer.symlink(f"bin/{tool}", "busybox")
    layer.directory("etc").add("etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n").add("etc/group", b"web:x:34:\n")
    for folder in ("proc", "dev", "sys", "tmp", "mnt"):
        layer.directory(folder)
    return context.pulled([(layer.bytes(), "gzip")])[0]


def command(context, *args):
    return [context.tool, "--store", context.store, "run", *args]


@contextlib.contextmanager
def container(context, what):
    """A name for a container; afterwards nothing of it may be left: no state, bundle, mount or cgroup."""
    name = f"creel-run-{os.getpid()}-{what}"
    try:
        yield name
        left = remains(context, name)
        assert not any(left.values()), f"left: {left}"
    finally:
        subprocess.run([context.creel, "delete", "--force", name], capture_output=True, timeout=30, check=False)
        if os.path.exists(os.path.join(context.store, "containers", name)):
            context.image("unbundle", name)


def remains(context, name):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line for line in file if f"/{name}/" in line]
    cgroups = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(folder) == name]
    bundle = os.path.join(context.store, "containers", name)
    return {"listed": name in oci.run(context.creel, "list", "--quiet").split(), "bundle": os.path.exists(bundle), "mounts": mounts, "cgroups": cgroups}


def run(context, *args, timeout=60):
    return subprocess.run(command(context, *args), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False)


def case_run_on_a_terminal(context):
    """What is typed goes in, what comes out is shown, and the window has the size of the terminal, also when that changes."""
    script = "stty size; id -u; read line; echo got:$line; trap 'stty size; exit 6' WINCH; echo waiting; while :; do sleep 0.1; done"
    with container(context, "tty") as name, on_terminal(command(context, "-it", "--rm", "--name", name, small(context), "sh", "-c", script)) as terminal:
        terminal.until(b"31 97\r\n0\r\n")
        terminal.type(b"some words\r")
        terminal.until(b"got:some words\r\n")
        terminal.until(b"waiting\r\n")
        terminal.resize(41, 53)
        assert terminal.end() == 6 and b"41 53\r\n" in terminal.shown, terminal.shown


def case_run_and_ctrl_c(context):
    """With a terminal of its own, and in that of the caller: the process gets one SIGINT, and its exit code is handed on."""
    image, script = small(context), "trap 'echo caught; n=$((n+1))' INT; echo ready; while [ -z $n ]; do sleep 0.1; done; sleep 0.5; exit $((40 + n))"
    for what, options in {"own": ["-it"], "callers": ["-i"], "deaf": []}.items():
        with container(context, what) as name, on_terminal(command(context, *options, "--rm", "--name", name, image, "sh", "-c", script)) as terminal:
            terminal.until(b"ready\r\n")
            terminal.type(b"\x03")
            code = terminal.end()
            assert code == 41 and terminal.shown.count(b"caught") == 1, f"{what}: exit {code}: {terminal.shown}"


def case_run_killed_by_a_signal(context):
    """128 and the signal's number, with a terminal and without; SIGTERM is handed on; nothing is left."""
    image = small(context)
    for what, options in {"tty": ["-it"], "plain": []}.items():
        with container(context, f"kill-{what}") as name:
            with on_terminal(command(context, *options, "--rm", "--name", name, image, "sh", "-c", "echo ready; exec sleep 60")) as terminal:
                terminal.until(b"ready\r\n")
                oci.run(context.creel, "kill", name, "KILL")
                assert terminal.end() == 128 + signal.SIGKILL, f"{what}: {terminal.process.returncode}"
        with container(context, f"term-{what}") as name:
            script = "trap 'trap - TERM; exit 143' TERM; echo ready; while :; do sleep 0.1; done"
            with on_terminal(command(context, *options, "--rm", "--name", name, image, "sh", "-c", script)) as terminal:
                terminal.until(b"ready\r\n")
                terminal.process.send_signal(signal.SIGTERM)
                assert terminal.end() == 143, f"{what}: {terminal.process.returncode}"


def case_run_without_rm_keeps_the_files(context):
    """What remains is the bundle; it can be looked at, its name is taken, and `unbundle NAME` removes it."""
    image = small(context)
    with container(context, "kept") as name:
        done = run(context, "--name", name, image, "sh", "-c", "echo made > /made; exit 3")
        assert done.returncode == 3, done
        left = remains(context, name)
        assert left["bundle"] and not left["listed"] and not left["cgroups"], left
        with open(os.path.join(context.store, "containers", name, "rootfs", "made"), encoding="utf-8") as file:
            assert file.read() == "made\n"
        again = run(context, "--name", name, image, "true")
        assert again.returncode == 1 and name in again.stderr and "unbundle" in again.stderr, again
        context.image("unbundle", name)


def case_run_options_seen_from_inside(context):
    image, shared = small(context), context.path("shared")
    os.mkdir(shared)
    limits = ("for f in memory/memory.limit_in_bytes memory.max cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu.max; "
              "do [ -e /sys/fs/cgroup/$f ] && cat /sys/fs/cgroup/$f; done; :")
    seen = {
        "volume": (["-v", f"{shared}:/mnt"], "echo in > /mnt/out; cat /mnt/out", ["in"]),
        "readonly-volume": (["-v", f"{shared}:/mnt:ro"], "cat /mnt/out; echo x > /mnt/out || echo refused", ["in", "refused"]),
        "env": (["--env", "A=b c", "-e", "E="], 'echo "$A" "[$E]" ${NONE-none}', ["b", "c", "[]", "none"]),
        "user": (["--user", "web"], "id -u; id -g; echo $HOME", ["33", "34", "/srv"]),
        "readonly": (["--read-only"], "touch /x || echo refused", ["refused"]),
        "writable": ([], "touch /x && echo made", ["made"]),
        "limits": (["--memory", "48m", "--cpus", "0.25"], limits, [str(48 << 20), "25000", "100000"]),
        "name": ([], "hostname", None),
    }
    for what, (options, script, expected) in seen.items():
        with container(context, what) as name:
            done = run(context, "--rm", "--name", name, *options, image, "sh", "-c", script)
            assert done.stdout.split() == (expected or [name]), f"{what}: {done}"
    with open(os.path.join(shared, "out"), encoding="utf-8") as file:
        assert file.read() == "in\n"


def case_run_has_the_name_it_is_given(context):
    image = small(context)
    with container(context, "named") as name:
        with on_terminal(command(context, "-it", "--rm", "--name", name, image, "sh", "-c", "echo ready; read x; exit 0")) as terminal:
            terminal.until(b"ready\r\n")
            rows = {row["id"]: row for row in json.loads(oci.run(context.creel, "list", "--format", "json"))}
            assert rows[name]["status"] == "running" and rows[name]["bundle"] == os.path.join(context.store, "containers", name), rows
            terminal.type(b"\r")
            assert terminal.end() == 0
    for bad in ("../x", "", "a/b", "-x"):
        done = run(context, "--rm", f"--name={bad}", image, "true")
        assert done.returncode == 1 and "--name" in done.stderr, done


def case_one_name_many_runs(context):
    """Of `run --name X`, many at the same instant, one wins; the others say why not, and take nothing from it."""
    name = small(context)
    for attempt in range(10):
        container, results = f"creel-race-{os.getpid()}-{attempt}", []
        gate = threading.Barrier(6)

        def one():
            gate.wait()
            line = [context.tool, "--store", context.store, "run", "--rm", "--name", container, name, "sh", "-c", "sleep 1; echo kept"]
            results.append(subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False))

        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [done for done in results if done.returncode == 0]
        assert len(won) == 1 and won[0].stdout == "kept\n", f"attempt {attempt}: {results}"
        for done in results:
            assert done in won or "another process" in done.stderr or "here already" in done.stderr, f"attempt {attempt}: {done}"
        assert not os.path.exists(os.path.join(context.store, "containers", container))


def case_run_tells_what_is_not_there(context):
    """127 if there is no such command, 126 if it is none, as shells and Docker tell; and what a command itself ends with."""
    name = small(context)
    for line, code in {("nosuch",): 127, ("/no/such",): 127, ("/etc/passwd",): 126, ("/etc",): 126, ("sh", "-c", "exit 1"): 1,
                       ("sh", "-c", "nosuch"): 127, ("sh", "-c", "exit 126"): 126, ("cat", "/no"): 1}.items():
        done = subprocess.run([context.tool, "--store", context.store, "run", "--rm", name, *line], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == code, f"{line}: {done}"


# -- progress

def several(context):
    """Pushes an image of three layers; gives its name and the layers' short digests."""
    path, noise = context.path("layout"), random.Random(context.number)
    oci.layout(path, [(Layer().add(f"f{number}", noise.randbytes(3 << 20)).bytes(), "gzip") for number in range(3)])
    name = f"t{context.number}"
    oci.push(path, context.address, name)
    manifest = json.loads(oci.run("skopeo", "inspect", "--raw", f"oci:{path}:latest"))
    return f"{context.address}/{name}", [layer["digest"].split(":")[1][:12] for layer in manifest["layers"]]


def pull(context, *args):
    """Into a store of its own, without a terminal."""
    line = [context.tool, "--store", context.path("store"), "pull", *args]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done


def case_progress_is_bars_on_a_terminal(context):
    name, layers = several(context)
    with on_terminal([context.tool, "--store", context.path("store"), "pull", name], columns=120) as terminal:
        assert terminal.end() == 0, terminal.shown
        for layer in layers:
            assert re.search(layer.encode() + rb" \[=+ *>? *\]", terminal.shown), f"no bar for {layer}: {terminal.shown}"
        assert b"\x1b[" in terminal.shown and name.encode() in terminal.shown.splitlines()[-1], terminal.shown


def case_progress_is_lines_without_a_terminal(context):
    name, layers = several(context)
    done = pull(context, name)
    assert sorted(line.split(":")[0] for line in done.stderr.splitlines() if "bytes)" in line) == sorted(layers), done.stderr
    assert "\x1b" not in done.stderr + done.stdout and "\r" not in done.stderr and "[=" not in done.stderr, done.stderr
    assert re.fullmatch(rf"{re.escape(name)}\S* sha256:[0-9a-f]{{64}}\n", done.stdout), done.stdout


def case_progress_is_silent_if_quiet(context):
    name, _ = several(context)
    done = pull(context, "--quiet", name)
    assert done.stderr == "" and re.fullmatch(r"sha256:[0-9a-f]{64}\n", done.stdout), done
    with on_terminal([context.tool, "--store", context.path("store"), "pull", "--quiet", name]) as terminal:
        assert terminal.end() == 0 and re.fullmatch(rb"sha256:[0-9a-f]{64}\r\n", terminal.shown), terminal.shown


def case_progress_as_json_on_a_terminal(context):
    """Every layer begins and ends, and no bar is drawn among the lines, terminal or not."""
    name, layers = several(context)
    with on_terminal([context.tool, "--store", context.path("store"), "pull", "--format", "json", name]) as terminal:
        assert terminal.end() == 0, terminal.shown
        shown = terminal.shown.decode()
    done = pull(context, "--format", "json", name)
    assert done.stderr == "", done.stderr
    for text in (shown, done.stdout):
        events = [json.loads(line) for line in text.splitlines()]
        for kind in ("begin", "downloaded"):
            found = [event["digest"].split(":")[1][:12] for event in events if event["event"] == kind]
            assert sorted(found) == sorted(layers), f"{kind}: {events}"
        assert all(0 <= event["current"] <= event["total"] for event in events if "current" in event) and events[-1]["event"] == "pulled", events
