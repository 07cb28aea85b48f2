"""The six kinds of hooks."""

import json
import os

from suite import case

IN_CREATE = ("prestart", "createRuntime", "createContainer")


def script(t, text, name="hook"):
    return t.file(f"{name}.sh", f"#!/bin/sh\n{text}\n", 0o755)


def hook(t, kind, path, **more):
    t.config.setdefault("hooks", {}).setdefault(kind, []).append({"path": path, **more})


def log(t):
    path = f"{t.directory}/log"
    return open(path).read().split() if os.path.exists(path) else []


def note(t, kind, number=1):
    """A hook that writes its kind into the case's log; startContainer's is run inside, where the rootfs is all."""
    if kind == "startContainer":
        t.file("/note.sh", f"#!/bin/sh\necho {kind}{number} >> /log\n", 0o755)
        hook(t, kind, "/note.sh")
    else:
        hook(t, kind, script(t, f"echo {kind}{number} >> {t.directory}/log", f"{kind}{number}"))


@case()
def hooks_run_in_order(t):
    for kind in (*IN_CREATE, "poststart", "poststop"):
        note(t, kind, 1)
        note(t, kind, 2)
    t.create("sleep", "1000")
    created = [f"{kind}{n}" for kind in IN_CREATE for n in (1, 2)]
    t.equal([entry for entry in log(t) if "post" not in entry], created, "after create")
    t.rt("start", t.id)
    t.equal(log(t), [*created, "poststart1", "poststart2"], "after start")
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    t.rt("delete", t.id)
    t.equal(log(t)[-2:], ["poststop1", "poststop2"], "after delete")


@case()
def start_container_hooks_run_inside_before_the_process(t):
    note(t, "startContainer")
    t.create("sh", "-c", "echo process >> /log")
    t.true(not os.path.exists(f"{t.rootfs}/log"), "it ran before start")
    t.rt("start", t.id)
    t.wait("stopped")
    t.equal(open(f"{t.rootfs}/log").read(), "startContainer1\nprocess\n")


@case()
def create_container_hooks_run_in_the_containers_namespaces(t):
    for kind in IN_CREATE:
        hook(t, kind, script(t, f"readlink /proc/self/ns/mnt > {t.directory}/{kind}", kind))
    t.create("sleep", "1000")
    mine, its = os.readlink("/proc/self/ns/mnt"), os.readlink(f"/proc/{t.state()['pid']}/ns/mnt")
    seen = {kind: open(f"{t.directory}/{kind}").read().strip() for kind in IN_CREATE}
    t.equal(seen, {"prestart": mine, "createRuntime": mine, "createContainer": its})


@case()
def mounts_of_create_container_hooks_reach_the_container(t):
    os.makedirs(f"{t.rootfs}/mnt")
    t.file("source/file", "by the hook\n")
    hook(t, "createContainer", script(t, f"mount --bind {t.directory}/source {t.rootfs}/mnt"))
    t.equal(t.run("cat", "/mnt/file").out, "by the hook\n")


@case()
def hooks_get_their_args_and_env(t):
    path = script(t, f'echo "$0:$1:$2" > {t.directory}/args; env > {t.directory}/env')
    hook(t, "createRuntime", path, args=["name", "one", "two words"], env=["A=b", "PATH=/usr/bin:/bin"])
    t.run("true")
    t.contains(open(f"{t.directory}/args").read(), ":one:two words\n")
    env = open(f"{t.directory}/env").read().splitlines()
    t.contains(env, "A=b")
    t.true(not any(line.startswith(("HOME=", "TERM=", "LOGNAME=")) for line in env), f"the caller's env got in: {env}")


@case()
def hooks_get_the_state_on_stdin(t):
    t.config["annotations"] = {"org.example": "x"}
    kinds = (*IN_CREATE, "poststart", "poststop")
    for kind in kinds:
        hook(t, kind, script(t, f"cat > {t.directory}/{kind}", kind))
    pid = t.sleeper()
    t.rt("delete", "-f", t.id)
    for kind in kinds:
        state = json.load(open(f"{t.directory}/{kind}"))
        t.equal((state["id"], state["bundle"]), (t.id, t.bundle), kind)
        t.equal(state["annotations"], {"org.example": "x"}, kind)
        t.matches(state["ociVersion"], r"^1\.")
        if kind in ("prestart", "createRuntime", "poststart"):
            t.equal(state["pid"], pid, f"{kind}'s pid")
        t.contains({"poststart": ("running", "created"), "poststop": ("stopped",)}.get(kind, ("creating", "created")), state["status"])


@case()
def a_hook_need_not_read_its_state(t):
    t.config["annotations"] = {"big": "x" * 200_000}
    for kind in (*IN_CREATE, "poststop"):
        hook(t, kind, "/bin/true")
    t.equal(t.run("echo", "yes").out, "yes\n")


def fails(t, kind):
    hook(t, kind, script(t, "echo complaint >&2; exit 3"))
    note(t, "poststop")


@case(crun="exits with 255")
def a_failing_hook_of_create_fails_it(t):
    for kind in IN_CREATE:
        t.config["hooks"] = {}
        fails(t, kind)
        t.create("sleep", "1000", code=1)
        t.rt("state", t.id, code=1)
        t.none_left()


@case(crun="exits with 255")
def later_hooks_do_not_run_after_a_failing_one(t):
    fails(t, "createRuntime")
    note(t, "createRuntime", 2)
    t.create("true", code=1)
    t.lacks(log(t), "createRuntime2")


@case()
def a_failing_start_container_hook_keeps_the_process_from_running(t):
    t.file("/fail.sh", "#!/bin/sh\nexit 3\n", 0o755)
    hook(t, "startContainer", "/fail.sh")
    t.create("sh", "-c", "touch /ran")
    t.rt("start", t.id, code=None)
    t.wait("stopped")
    t.true(not os.path.exists(f"{t.rootfs}/ran"), "the process ran")


@case(runc="1.1.5 runs poststart hooks in create", crun="as before runtime-spec 1.2: warns only")
def a_failing_poststart_hook_stops_the_container(t):
    hook(t, "poststart", script(t, "cat >/dev/null; exit 3", "failing"))
    note(t, "poststart", 2)
    t.create("sleep", "1000")
    t.rt("start", t.id, code=1)
    t.wait("stopped")
    t.equal(log(t), [])


@case(runc="1.1.5 skips the rest")
def a_failing_poststop_hook_is_only_warned_of(t):
    hook(t, "poststop", script(t, "exit 3", "failing"))
    note(t, "poststop", 2)
    t.run("true")
    t.equal(log(t), ["poststop2"])
    t.none_left()


@case()
def a_hook_that_takes_too_long_is_killed(t):
    hook(t, "createRuntime", script(t, "exec sleep 1003"), timeout=1)
    t.create("true", code=1)
    t.none_left()


@case(crun="exits with 255")
def a_missing_hook_fails_the_create(t):
    hook(t, "prestart", "/nope/hook")
    t.contains(t.create("true", code=1).err, "/nope/hook")
    t.none_left()


@case()
def hooks_see_the_network_before_the_process_does(t):
    hook(t, "createRuntime", script(t, "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); "
         "nsenter --net=/proc/$pid/ns/net ip link add dummy9 type dummy || nsenter --net=/proc/$pid/ns/net ip link set lo up"))
    out = t.sh("cat /sys/class/net/lo/flags; ls /sys/class/net").out
    t.true("dummy9" in out or out.startswith("0x9"), out)


@case()
def poststart_hooks_run_before_start_returns(t):
    hook(t, "poststart", script(t, f"cat >/dev/null; sleep 0.3; echo late >> {t.directory}/log"))
    t.sleeper()
    t.equal(log(t), ["late"])


@case()
def poststop_hooks_run_after_the_container_is_gone(t):
    hook(t, "poststop", script(t, f"cat > {t.directory}/state"))
    pid = t.sleeper()
    t.rt("delete", "-f", t.id)
    # Ended it has; that the host's process 1 collects it takes a moment.
    t.until(lambda: not os.path.exists(f"/proc/{pid}"), "the process's end")
    t.equal(json.load(open(f"{t.directory}/state"))["id"], t.id)
