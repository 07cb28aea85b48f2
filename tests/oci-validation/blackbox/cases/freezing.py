"""pause, resume, kill, exec and delete beside each other, and the end of cgroups, on v1 and v2."""

import os
import subprocess
import time

from suite import PATIENCE, TIMEOUT, Skipped, case

from cases.cgroups import V1, group, remove_parents, value

HERE = "/sys/fs/cgroup"


def writable(t):
    mount = next(m for m in t.config["mounts"] if m["type"] == "cgroup")
    mount["options"] = [option for option in mount["options"] if option != "ro"] + ["rw"]


def frozen(t):
    return value(t, "freezer", "freezer.state", "cgroup.freeze") in ("FROZEN", "FREEZING", "1")


# --- pause and resume


def at_once(t, seconds, *loops):
    """Runs functions over and over in processes of their own; none may hang. They get the number of the round."""
    end = time.monotonic() + seconds
    children = []
    for loop in loops:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                number = 0
                while time.monotonic() < end:
                    loop(number)
                    number += 1
                code = 0 if number > 1 else 3
            finally:
                os._exit(code)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def command(t, *arguments):
    """A command of the runtime whose result does not matter, but that it ends does."""
    line = [t.runtime, "--root", t.root, *arguments]
    return subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=TIMEOUT)


@case()
def pause_and_resume_beside_exec_and_kill(t):
    """An exec that is about to go in when the group is frozen must come out again when it is thawed."""
    t.sleeper(command=["sh", "-c", "trap : USR1; while :; do sleep 0.02; done"])

    def toggle(_):
        command(t, "pause", t.id)
        command(t, "resume", t.id)

    def execute(_):
        # runc waits in a frozen group until somebody thaws it; so does what came in before the freeze.
        command(t, "exec", t.id, "true")

    def signal(number):
        command(t, "kill", t.id, "USR1")

    codes = at_once(t, 4 + PATIENCE, toggle, execute, execute, signal)
    t.equal(codes, [0, 0, 0, 0], "loops: 1 is a hang, 3 is one round only")
    command(t, "resume", t.id)
    t.wait("running")
    t.exec(t.id, "true")


@case()
def pausing_what_forks_without_end(t):
    t.linux["resources"]["pids"] = {"limit": 60}
    script = "i=0; while [ $i -lt 8 ]; do (while :; do (sleep 0.001) & wait; done) & i=$((i+1)); done; wait"
    t.sleeper(command=["sh", "-c", script])
    for _ in range(3):
        t.rt("pause", t.id)
        t.equal(t.state()["status"], "paused")
        t.rt("resume", t.id)
    t.rt("delete", "--force", t.id)
    t.none_left()


@case()
def kill_of_a_paused_container_ends_it(t):
    t.sleeper()
    t.rt("pause", t.id)
    t.rt("kill", t.id, "KILL")
    if t.name == "creel":
        t.wait("stopped")
    t.rt("resume", t.id, code=None)
    t.wait("stopped")
    t.rt("delete", t.id)
    t.none_left()


@case()
def delete_force_of_a_paused_container_with_children(t):
    t.sleeper(command=["sh", "-c", "sleep 1001 & sleep 1002 & wait"])
    t.rt("pause", t.id)
    t.rt("delete", "--force", t.id)
    t.none_left()


@case(crun="goes in and waits")
def exec_into_a_paused_container_is_refused(t):
    t.sleeper()
    t.rt("pause", t.id)
    t.contains(t.rt("exec", t.id, "true", code=255 if t.name == "runc" else None).said, "paused")
    t.rt("resume", t.id)
    t.exec(t.id, "true")


@case(crun="has no such flag")
def exec_into_a_paused_container_when_told_so(t):
    t.sleeper()
    t.rt("pause", t.id)
    waiting = t.start_rt("exec", "--ignore-paused", t.id, "sh", "-c", "exit 7")
    time.sleep(0.3 * PATIENCE)
    t.equal(waiting.poll(), None, "the exec has ended in a frozen container")
    t.rt("resume", t.id)
    t.finish(waiting, code=7)


@case()
def pause_of_a_created_container(t):
    """What is not started yet can be paused as well; start then goes on at resume."""
    t.create("sleep", "1000")
    t.rt("pause", t.id)
    t.true(frozen(t), "it is not frozen")
    t.rt("resume", t.id)
    t.rt("start", t.id)
    t.wait("running")


@case(crun="1.8.1 says nothing")
def pause_twice_is_refused(t):
    t.sleeper()
    t.rt("pause", t.id)
    t.rt("pause", t.id, code=1)
    t.rt("resume", t.id)
    t.equal(t.state()["status"], "running")


@case()
def a_process_of_a_paused_container_is_counted(t):
    t.sleeper(command=["sh", "-c", "sleep 1001 & exec sleep 1000"])
    t.until(lambda: len(open(f"{group(t, 'pids')}/cgroup.procs").read().split()) == 2, "two processes")
    t.rt("pause", t.id)
    t.equal(len(t.rt("ps", "--format", "json", t.id).out.strip("[]\n").split(",")), 2, "processes")
    t.rt("resume", t.id)


# --- groups that are there before


def everywhere(name):
    """This directory in every hierarchy that a container gets one in."""
    tops = [HERE] if not V1 else [f"{HERE}/{top}" for top in ("pids", "freezer", "memory", "devices", "cpuset", "cpu")]
    return [f"{top}/{name}" for top in tops if os.path.isdir(top)]


@case(runc="1.1.5 only warns", crun="does not look")
def a_group_with_a_process_in_it_is_refused(t):
    directories = everywhere(f"{t.id}-busy")
    sleep = subprocess.Popen(["sleep", "1000"])
    try:
        for directory in directories:
            os.mkdir(directory)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if os.path.exists(f"{directory}/{file}") and V1:
                    text = open(f"{os.path.dirname(directory)}/{file}").read()
                    open(f"{directory}/{file}", "w").write(text)
            open(f"{directory}/cgroup.procs", "w").write(str(sleep.pid))
        t.linux["cgroupsPath"] = f"/{t.id}-busy"
        t.save()
        said = t.rt("run", t.id, code=1).said
        t.contains(said, "not empty")
        t.contains(said, f"process {sleep.pid} ")
        t.equal(sleep.poll(), None, "the process was killed")
        t.true(all(map(os.path.isdir, directories)), "a directory was removed")
    finally:
        sleep.kill()
        sleep.wait()
        remove_parents(f"{t.id}-busy")
    t.none_left()


@case(crun="does not look")
def a_frozen_group_is_refused(t):
    directory = f"{HERE}/{'freezer/' if V1 else ''}{t.id}-frozen"
    os.mkdir(directory)
    file, on, off = ("freezer.state", "FROZEN", "THAWED") if V1 else ("cgroup.freeze", "1", "0")
    open(f"{directory}/{file}", "w").write(on)
    try:
        t.linux["cgroupsPath"] = f"/{t.id}-frozen"
        t.save()
        t.contains(t.rt("run", t.id, code=1).said, "frozen")
    finally:
        open(f"{directory}/{file}", "w").write(off)
        os.rmdir(directory)
    t.none_left()


@case()
def an_empty_group_that_is_there_is_taken(t):
    for directory in everywhere(f"{t.id}-there"):
        os.mkdir(directory)
    t.linux["cgroupsPath"] = f"/{t.id}-there"
    t.sleeper()
    t.rt("delete", "--force", t.id)
    t.none_left()


# --- where a group lands

CPUSET_FILES = "cpuset.cpus", "cpuset.mems"


def own_place(controller):
    """The group of this process, in the hierarchy of a controller."""
    for line in open("/proc/self/cgroup"):
        _, controllers, path = line.strip().split(":", 2)
        if controller in controllers.split(",") if V1 else controllers == "":
            return path
    raise Skipped(f"the {controller} controller is not mounted")


def path_of(t, controller="pids"):
    return group(t, controller).removeprefix(f"{HERE}/{controller}" if V1 else HERE)


@case()
def a_relative_path_starts_below_the_runtimes_own_group(t):
    """On v2 beside it: a group with processes in it can pass nothing on."""
    t.linux["cgroupsPath"] = f"{t.id}-one/two"
    t.sleeper()
    own = own_place("pids")
    start = own if V1 else os.path.dirname(own)
    landed = path_of(t)
    t.rt("delete", "-f", t.id)
    remove_parents(f"{t.id}-one")
    t.equal(landed, f"{start.rstrip('/')}/{t.id}-one/two")


@case(crun="puts it elsewhere on v1: /ID")
def without_a_path_it_lands_where_a_relative_id_would(t):
    t.sleeper()
    own = own_place("pids")
    start = own if V1 else os.path.dirname(own)
    t.equal(path_of(t), f"{start.rstrip('/')}/{t.id}")


@case(crun="takes it as it is")
def a_path_that_leads_out_stays_inside(t):
    t.linux["cgroupsPath"] = f"/../../../{t.id}-out"
    t.sleeper()
    t.equal(path_of(t), f"/{t.id}-out")


# --- sub-groups of the payload


def nest(depth):
    """Makes groups in groups, with a process in the innermost, in every hierarchy that can be written to."""
    inner = "/d" * depth
    tops = f"{HERE}/*/" if V1 else f"{HERE}/"
    return (
        f"for top in {tops}; do [ -L ${{top%/}} ] && continue; d=$top; i=0; "
        f"while [ $i -lt {depth} ]; do mkdir $d/d || exit 9; "
        "if [ -e $d/d/cpuset.cpus ] && [ -e $d/d/tasks ]; then cat $d/cpuset.cpus >$d/d/cpuset.cpus; "
        "cat $d/cpuset.mems >$d/d/cpuset.mems; fi; d=$d/d; i=$((i+1)); done; "
        f"sleep 1001 & echo $! > ${{top}}{inner}/cgroup.procs; done; echo done >/done; exec sleep 1000"
    )


def nested(t, depth):
    writable(t)
    t.sleeper(command=["sh", "-c", nest(depth)])
    t.until(lambda: os.path.exists(f"{t.rootfs}/done"), "nested groups", 20)
    directory = group(t, "pids")
    t.true(os.path.isdir(f"{directory}{'/d' * depth}"), "there is no such group")
    return directory


@case()
def groups_that_the_payload_made_go_at_delete(t):
    directory = nested(t, 1)
    t.rt("delete", "--force", t.id)
    t.true(not os.path.exists(directory), f"{directory} is still there")
    t.none_left()


@case()
def groups_nested_twenty_deep_go_at_delete(t):
    directory = nested(t, 20)
    t.rt("delete", "--force", t.id)
    t.true(not os.path.exists(directory), f"{directory} is still there")
    t.none_left()


@case()
def groups_that_the_payload_made_go_at_plain_delete(t):
    nested(t, 3)
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    t.rt("delete", t.id)
    t.none_left()


@case()
def run_removes_what_its_payload_made(t):
    writable(t)
    place = f"{HERE}/pids" if V1 else HERE
    t.sh(f"mkdir -p {place}/a/b/c")
    t.none_left()


@case(runc="1.1.5 names no process", crun="names no process")
def a_group_that_cannot_be_removed_is_told_with_who_is_in_it(t):
    t.sleeper()
    directory = group(t, "pids")
    t.rt("kill", t.id, "KILL")
    t.wait("stopped")
    sleep = subprocess.Popen(["sleep", "1000"])
    try:
        open(f"{directory}/cgroup.procs", "w").write(str(sleep.pid))
        said = t.rt("delete", t.id, code=1).said
        t.contains(said, f"process {sleep.pid} ")
        t.contains(said, directory)
        t.equal(sleep.poll(), None, "the process was killed")
    finally:
        sleep.kill()
        sleep.wait()
    t.rt("delete", "--force", t.id)
    t.none_left()


@case()
def exec_goes_where_the_payload_went(t):
    """systemd in a container moves itself into a sub-group and passes the controllers on; the group itself then takes
    no process."""
    if V1:
        raise Skipped("v2 only")
    writable(t)
    script = f"cd {HERE}; mkdir init.scope && echo 0 >init.scope/cgroup.procs && "
    script += "echo '+pids +memory' >cgroup.subtree_control && echo >/done; exec sleep 1000"
    t.sleeper(command=["sh", "-c", script])
    t.until(lambda: os.path.exists(f"{t.rootfs}/done"), "controllers passed on")
    t.equal(t.exec(t.id, "cat", "/proc/self/cgroup").out, "0::/init.scope\n")
    t.rt("pause", t.id)
    t.rt("resume", t.id)
    t.rt("delete", "--force", t.id)
    t.none_left()
