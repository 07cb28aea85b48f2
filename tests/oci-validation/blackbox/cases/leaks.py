"""The same thing many times: no hang, no leak, no slow growth."""

import os
import subprocess

from suite import PATIENCE, TIMEOUT, case


def times(t, default):
    """How often: BLACKBOX_RUNS, or for peers a tenth of what creel has to do; less where the machine is slow."""
    runs = default if t.name == "creel" else default // 10
    return int(os.environ.get("BLACKBOX_RUNS") or max(5, runs / PATIENCE))


def open_files():
    return int(open("/proc/sys/fs/file-nr").read().split()[0])


@case()
def a_thousand_runs(t):
    t.process["args"] = ["/bin/true"]
    t.save()
    command = [t.runtime, "--root", t.root, "run", t.id]
    for number in range(times(t, 1000)):
        result = subprocess.run(command, cwd=t.bundle, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
        t.equal(result.returncode, 0, f"exit code of run {number}: {result.stderr}")
    t.none_left()


@case()
def a_hundred_lives(t):
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()
    for _ in range(times(t, 100)):
        t.rt("create", t.id)
        t.rt("start", t.id)
        t.rt("exec", t.id, "true")
        t.rt("kill", t.id, "KILL")
        t.rt("delete", "--force", t.id)
    t.none_left()


@case()
def many_at_once(t):
    t.process["args"] = ["/bin/true"]
    t.save()
    for _ in range(times(t, 50) // 5):
        running = [t.start_rt("run", f"{t.id}-{number}") for number in range(8)]
        for process in running:
            t.finish(process)
    t.none_left()


@case()
def a_killed_runtime_leaves_what_delete_can_remove(t):
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()
    for delay in (0.002, 0.005, 0.01, 0.02, 0.03):
        process = t.start_rt("create", t.id)
        subprocess.run(["sleep", str(delay)])
        process.kill()
        process.wait()
        t.until(lambda: t.rt("delete", "--force", t.id, code=None).code == 0, "delete --force")
