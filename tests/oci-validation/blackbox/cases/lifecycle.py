"""create, start, state, kill, delete, run, pause, resume."""

import json
import os
import signal
import subprocess

from suite import case


@case()
def run_gives_the_exit_code(t):
    t.sh("exit 7", code=7)


@case()
def run_keeps_stdout_and_stderr_apart(t):
    result = t.sh("echo out; echo err >&2")
    t.equal((result.out, result.err), ("out\n", "err\n"))


@case()
def run_passes_stdin(t):
    t.equal(t.run("cat", text="hello").out, "hello")


@case()
def run_deletes_the_container(t):
    t.run("true")
    t.rt("state", t.id, code=1)
    t.none_left()


@case(crun="--keep came with 1.14.4")
def run_keep_leaves_it_stopped(t):
    t.run("true", options=["--keep"])
    t.equal(t.state()["status"], "stopped")
    t.rt("delete", t.id)
    t.none_left()


@case()
def run_detach_returns_at_once(t):
    t.sleeper()
    t.equal(t.state()["status"], "running")


@case()
def run_gives_128_plus_the_signal(t):
    t.process["args"] = ["sleep", "1000"]
    t.save()
    running = t.start_rt("run", t.id)
    t.until(lambda: t.rt("state", t.id, code=None).out.find('"running"') > 0, "running")
    t.rt("kill", t.id, "KILL")
    t.finish(running, code=137)
    t.none_left()


@case()
def run_forwards_signals(t):
    t.process["args"] = ["sh", "-c", "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done"]
    t.save()
    running = t.start_rt("run", t.id)
    t.until(lambda: open(f"{running.stamp}.out").read() == "ready\n", "the trap")
    running.send_signal(signal.SIGUSR1)
    t.finish(running, code=5)


@case()
def run_no_subreaper_no_new_keyring_no_pivot(t):
    for flag in ("--no-subreaper", "--no-new-keyring", "--no-pivot"):
        t.equal(t.run("echo", "yes", options=[flag]).out, "yes\n", flag)


@case()
def the_bundle_is_the_current_directory_or_named(t):
    t.process["args"] = ["echo", "here"]
    t.save()
    t.equal(t.rt("run", t.id, cwd=t.bundle).out, "here\n")
    for option in (["--bundle", t.bundle], ["-b", t.bundle], [f"--bundle={t.bundle}"], ["-b", "bundle"]):
        t.equal(t.rt("run", *option, t.id, cwd=t.directory).out, "here\n", str(option))


@case()
def create_does_not_run_the_process(t):
    t.create("sh", "-c", "touch /ran")
    t.equal(t.state()["status"], "created")
    t.true(not os.path.exists(f"{t.rootfs}/ran"), "the process ran before start")
    t.rt("start", t.id)
    t.wait("stopped")
    t.true(os.path.exists(f"{t.rootfs}/ran"), "the process did not run")


@case()
def create_does_not_need_the_bundle_any_more(t):
    t.create("sleep", "1000")
    os.remove(f"{t.bundle}/config.json")
    t.rt("start", t.id, cwd="/")
    t.equal(t.state()["status"], "running")
    t.ends()


@case()
def start_twice_is_refused(t):
    t.sleeper()
    t.rt("start", t.id, code=1)
    t.equal(t.state()["status"], "running")


@case()
def start_of_a_stopped_container_is_refused(t):
    t.create("true")
    t.rt("start", t.id)
    t.wait("stopped")
    t.rt("start", t.id, code=1)


@case()
def state_tells_what_the_specification_demands(t):
    t.config["annotations"] = {"org.example.key": "value"}
    t.create("sleep", "1000")
    state = t.state()
    t.matches(state["ociVersion"], r"^1\.\d+\.\d+")
    t.equal((state["id"], state["status"], state["bundle"]), (t.id, "created", t.bundle))
    t.equal(state["annotations"], {"org.example.key": "value"})
    t.matches(state["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
    t.true(os.path.exists(f"/proc/{state['pid']}"), "pid is no process")
    t.rt("start", t.id)
    t.equal(t.state()["pid"], state["pid"], "pid after start")
    t.contains(open(f"/proc/{state['pid']}/cmdline").read(), "sleep")


@case(crun="prints the rootfs as config.json has it")
def state_tells_runcs_fields_too(t):
    t.sleeper()
    state = t.state()
    t.equal(state["rootfs"], t.rootfs)
    t.contains(state, "owner")
    t.equal(list(state)[:6], ["ociVersion", "id", "pid", "status", "bundle", "rootfs"], "order")


@case()
def state_of_a_stopped_container_has_pid_0(t):
    t.create("true")
    t.rt("start", t.id)
    t.wait("stopped")
    t.equal(t.state()["pid"], 0)


@case()
def the_id_may_have_these_characters(t):
    t.id = "A.b_c-d+9"
    t.equal(t.run("echo", "yes").out, "yes\n")


@case()
def roots_do_not_see_each_other(t):
    t.sleeper()
    os.mkdir(f"{t.directory}/other")
    result = subprocess.run([t.runtime, "--root", f"{t.directory}/other", "list", "-q"], capture_output=True, text=True)
    t.equal((result.returncode, result.stdout), (0, ""))


@case(runc="1.1.5: a loser of the race may remove the winner's state")
def one_of_many_creates_wins(t):
    t.process["args"] = ["sleep", "1000"]
    t.save()
    racers = [t.start_rt("create", t.id) for _ in range(4)]
    codes = sorted(t.finish(racer, code=None).code for racer in racers)
    t.equal(codes, [0, 1, 1, 1])
    t.rt("start", t.id)
    t.equal(t.state()["status"], "running")


@case(crun="1.8.1 does not know lower case names, and says nothing")
def kill_takes_names_and_numbers(t):
    for signal_name in ("KILL", "SIGKILL", "9", "kill"):
        t.create("sleep", "1000")
        t.rt("start", t.id)
        t.rt("kill", t.id, signal_name)
        t.wait("stopped")
        t.rt("delete", t.id)


@case()
def kill_sends_term_by_default(t):
    t.sleeper(command=["sh", "-c", "trap 'touch /term; exit' TERM; touch /ready; while :; do sleep 0.05; done"])
    t.until(lambda: os.path.exists(f"{t.rootfs}/ready"), "the trap")
    t.rt("kill", t.id)
    t.wait("stopped")
    t.true(os.path.exists(f"{t.rootfs}/term"), "TERM was not received")


@case()
def kill_of_a_created_container(t):
    t.create("sleep", "1000")
    t.ends()


@case()
def kill_of_a_stopped_container_is_refused(t):
    t.create("true")
    t.rt("start", t.id)
    t.wait("stopped")
    before = t.state()
    t.rt("kill", t.id, "KILL", code=1)
    t.equal(t.state(), before)


@case(crun="1.8.1 sends nothing and succeeds")
def kill_with_an_unknown_signal_is_refused(t):
    t.sleeper()
    t.contains(t.rt("kill", t.id, "FOO", code=1).err, "FOO")
    t.equal(t.state()["status"], "running")


@case()
def kill_all_reaches_every_process(t):
    t.remove_namespace("pid")
    t.sleeper(command=["sh", "-c", "sleep 1001 & sleep 1002 & wait"])
    sleeping = lambda: t.rt("ps", "--format", "json", t.id).out
    t.until(lambda: len(json.loads(sleeping())) == 3, "three processes")
    t.rt("kill", "--all", t.id, "KILL")
    t.wait("stopped")
    t.rt("delete", t.id)
    t.none_left()


@case()
def delete_of_a_running_container_is_refused(t):
    t.sleeper()
    t.rt("delete", t.id, code=1)
    t.equal(t.state()["status"], "running")


@case()
def delete_of_a_created_container_kills_it(t):
    t.create("sleep", "1000")
    t.rt("delete", t.id)
    t.rt("state", t.id, code=1)
    t.none_left()


@case()
def delete_force_kills(t):
    t.sleeper()
    t.rt("delete", "--force", t.id)
    t.none_left()
    t.sleeper()
    t.rt("delete", "-f", t.id)
    t.none_left()


@case(runc="1.1.5 leaves the cgroup on v2")
def delete_force_reaches_every_process_of_a_shared_pid_namespace(t):
    t.remove_namespace("pid")
    t.sleeper(command=["sh", "-c", "sleep 1001 & sleep 1002 & wait"])
    t.rt("delete", "--force", t.id)
    t.none_left()


@case()
def delete_force_of_an_unknown_container_succeeds(t):
    t.rt("delete", "--force", "nobody")
    t.rt("delete", "nobody", code=1)


@case()
def a_deleted_id_can_be_used_again(t):
    for _ in range(2):
        t.create("true")
        t.rt("start", t.id)
        t.wait("stopped")
        t.rt("delete", t.id)


@case()
def pause_stops_and_resume_goes_on(t):
    t.sleeper(command=["sh", "-c", "while :; do echo x >>/count; sleep 0.01; done"])
    size = lambda: os.path.getsize(f"{t.rootfs}/count") if os.path.exists(f"{t.rootfs}/count") else 0
    t.until(lambda: size() > 0, "counting")
    t.rt("pause", t.id)
    t.equal(t.state()["status"], "paused")
    before = size()
    subprocess.run(["sleep", "0.1"])
    t.equal(size(), before, "count while paused")
    t.rt("resume", t.id)
    t.equal(t.state()["status"], "running")
    t.until(lambda: size() > before, "counting again")


@case(crun="resumes what is not paused")
def resume_of_a_running_container_is_refused(t):
    t.sleeper()
    t.rt("resume", t.id, code=1)


@case()
def pause_of_a_stopped_container_is_refused(t):
    t.create("true")
    t.rt("start", t.id)
    t.wait("stopped")
    t.rt("pause", t.id, code=1)


@case()
def delete_force_of_a_paused_container(t):
    t.sleeper()
    t.rt("pause", t.id)
    t.rt("delete", "--force", t.id)
    t.none_left()


@case()
def kill_of_a_paused_container_takes_effect_at_resume_at_the_latest(t):
    t.sleeper()
    t.rt("pause", t.id)
    t.rt("kill", t.id, "KILL")
    t.rt("resume", t.id, code=None)
    t.wait("stopped")


@case()
def pid_files(t):
    path = f"{t.directory}/pid"
    t.create("sleep", "1000", options=["--pid-file", path])
    t.equal(open(path).read(), str(t.state()["pid"]))
    t.rt("delete", "-f", t.id)
    pid = t.sleeper("--pid-file", path)
    t.equal(open(path).read(), str(pid))


@case()
def unknown_containers_are_refused_by_every_command(t):
    for command in (["start"], ["state"], ["kill"], ["delete"], ["pause"], ["resume"], ["ps"]):
        result = t.rt(*command, "nobody", code=None)
        t.true(result.code != 0, f"{command} of an unknown container succeeded")
        t.true(result.err.strip(), f"{command} of an unknown container says nothing")
