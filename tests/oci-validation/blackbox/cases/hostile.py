"""What a hostile image, caller or moment must not achieve; each found once in this runtime or another."""

import os
import re
import signal
import subprocess
import time

from cases.hooks import hook, log, note, script
from suite import PATIENCE, TIMEOUT, case

OLD = "1.1.5"


def creating_under(t, kind, text):
    """A create that is held up by this hook."""
    begun = f"{t.directory}/begun-{kind}"
    hook(t, kind, script(t, f"echo >{begun}; {text}", f"slow-{kind}"))
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()
    creating = t.start_rt("create", t.id)
    t.until(lambda: os.path.exists(begun), "the hook")
    return creating


@case()
def ignored_signals_are_not_inherited(t):
    t.process["args"] = ["/bin/cat", "/proc/self/status"]
    t.save()

    def ignore():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN)

    command = [t.runtime, "--root", t.root, "run", t.id]
    result = subprocess.run(
        command,
        cwd=t.bundle,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=ignore,
        timeout=TIMEOUT,
    )
    t.equal(result.returncode, 0, result.stderr)
    ignored = re.search(r"SigIgn:\s*(\w+)", result.stdout)[1]
    standard = int(ignored, 16) & ((1 << 31) - 1)
    t.equal(standard, 0, "ignored signals of the payload")


@case()
def a_missing_working_directory_is_made(t):
    t.process["cwd"] = "/not/there/yet"
    t.equal(t.sh("pwd").out.strip(), "/not/there/yet")


@case(runc=OLD + " only warns", crun="does not look")
def a_cgroup_in_use_is_refused_and_left_alone(t):
    t.config["linux"]["cgroupsPath"] = f"/blackbox-shared-{os.getpid()}"
    t.sleeper()
    other = f"{t.id}-other"
    t.rt("run", other, code=1)
    t.equal(t.state()["status"], "running")
    t.equal(t.rt("list", "-q").out.split(), [t.id])


@case(runc=OLD + " loses states in such races", crun="likewise")
def creating_and_deleting_at_once_loses_nothing(t):
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()
    end = time.monotonic() + 8
    nothing = subprocess.DEVNULL

    def forever(*arguments):
        command = [t.runtime, "--root", t.root, *arguments, t.id]
        while time.monotonic() < end:
            # No pipes: the last container would hold them open.
            subprocess.run(command, cwd=t.bundle, stdin=nothing, stdout=nothing, stderr=nothing, timeout=TIMEOUT)
        os._exit(0)

    children = []
    for arguments in [("create",), ("delete", "--force")] * 3:
        pid = os.fork()
        if pid == 0:
            try:
                forever(*arguments)
            finally:
                os._exit(1)
        children.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    t.equal(codes, [0] * 6, "loops, 1 being a command that hangs")
    t.rt("delete", "--force", t.id)
    t.none_left()


@case(runc=OLD + ": nothing to signal yet", crun="likewise")
def a_container_whose_hook_hangs_can_be_deleted(t):
    creating = creating_under(t, "createRuntime", "exec sleep 1003")
    t.rt("delete", "--force", t.id)
    t.finish(creating, code=1)
    t.none_left()


@case(runc="leaves the cgroups", crun="likewise")
def an_init_dies_with_a_killed_create(t):
    creating = creating_under(t, "createContainer", f"exec sleep {3 * PATIENCE:g}")
    creating.kill()
    creating.wait()
    t.rt("delete", "--force", t.id)
    t.none_left()


@case(crun="process 1 ignores it")
def a_created_container_ends_by_a_signal(t):
    t.create("sleep", "1000")
    t.rt("kill", t.id, "TERM")
    t.wait("stopped")


@case(runc="leaves it to the caller", crun="likewise")
def a_start_of_an_init_that_is_killed_fails(t):
    t.file("/kill.sh", "#!/bin/sh\nkill -9 $PPID\n", 0o755)
    t.config["linux"]["namespaces"] = [n for n in t.config["linux"]["namespaces"] if n["type"] != "pid"]
    hook(t, "startContainer", "/kill.sh")
    note(t, "poststart")
    t.create("true")
    t.rt("start", t.id, code=1)
    t.equal(log(t), [], "poststart hooks of a container that never ran")


@case()
def a_pid_file_does_not_write_through_a_link(t):
    victim = f"{t.directory}/victim"
    open(victim, "w").write("precious")
    os.symlink(victim, f"{t.directory}/.pid")
    t.process["args"] = ["/bin/true"]
    t.save()
    t.rt("run", "--pid-file", f"{t.directory}/pid", t.id, code=None)
    t.equal(open(victim).read(), "precious")


@case(runc=OLD + ": not found by exec yet", crun="likewise")
def nothing_can_join_before_the_root_is_changed(t):
    """An exec while create's hooks run would be at the root of a copy of the host's mounts."""
    for kind in ("createRuntime", "createContainer"):
        t.config["hooks"] = {}
        creating = creating_under(t, kind, f"exec sleep {2 * PATIENCE:g}")
        t.equal(t.state()["status"], "creating")
        t.exec("ls", "/", code=255)
        t.finish(creating)
        t.equal(t.state()["status"], "created")
        t.rt("delete", "--force", t.id)
        t.none_left()


@case(runc=OLD + " deletes the new one", crun="not looked into")
def a_run_deletes_its_own_container_only(t):
    t.process["args"] = ["/bin/sleep", "1000"]
    t.save()
    running = t.start_rt("run", t.id)
    t.until(lambda: t.rt("list", "-q").out.split() == [t.id] and t.state()["status"] == "running", "running")
    # "running" is told before `run` has let go of the container.
    locked = lambda: subprocess.run(["flock", "--nonblock", f"{t.root}/{t.id}", "true"]).returncode != 0
    t.until(lambda: not locked(), "run's lock is gone")
    running.send_signal(signal.SIGSTOP)
    t.rt("delete", "--force", t.id)
    t.create("sleep", "1000")
    t.rt("start", t.id)
    running.send_signal(signal.SIGCONT)
    t.finish(running, code=None)
    t.equal(t.state()["status"], "running")


@case(runc=OLD + " fails the start", crun="1.8.1 waits for ever")
def a_manager_that_cannot_be_told_does_not_harm(t):
    """The relay of sd_notify(3) has nobody to tell."""
    nobody = {**os.environ, "NOTIFY_SOCKET": f"{t.directory}/nobody"}
    t.file("/ready.sh", "#!/bin/sh\nexec sleep 2\n", 0o755)
    t.process["args"] = ["/ready.sh"]
    t.save()
    t.rt("create", t.id, env=nobody)
    t.rt("start", t.id, env=nobody)
    t.wait("stopped")
