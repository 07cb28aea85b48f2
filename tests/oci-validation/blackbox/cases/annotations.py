"""crun's annotations, which runc does not know."""

import base64
import errno
import os
import struct

from cases.seccomp import MKDIR, rule
from cases.seccomp_notify import Agent, notify
from suite import case, console_socket

RUNC = "knows none of crun's annotations"
NUMBERS = {"x86_64": (83, 258), "aarch64": (34, 34)}  # mkdir and mkdirat


def annotate(t, **annotations):
    t.config["annotations"] = {f"run.oci.{name}": value for name, value in annotations.items()}


@case(runc=RUNC)
def a_receiver_is_the_agents_path(t):
    with Agent(t, errno.ENOMEDIUM) as agent:
        notify(t, agent)
        del t.linux["seccomp"]["listenerPath"]
        annotate(t, **{"seccomp.receiver": agent.path})
        t.matches(t.run("mkdir", "/x", code=1).err, "No medium found")


@case(runc=RUNC)
def a_receiver_is_absolute(t):
    with Agent(t) as agent:
        notify(t, agent)
        del t.linux["seccomp"]["listenerPath"]
        annotate(t, **{"seccomp.receiver": "agent"})
        t.refused("agent")


def program(*instructions):
    """A BPF program in base64: (code, jt, jf, k) each."""
    return base64.b64encode(b"".join(struct.pack("HBBI", *line) for line in instructions)).decode()


def forbidding_mkdir(number):
    load, equal, ret = 0x20, 0x15, 0x06
    mkdir, mkdirat = NUMBERS[os.uname().machine]
    return program(
        (load, 0, 0, 0),
        (equal, 1, 0, mkdir),
        (equal, 0, 1, mkdirat),
        (ret, 0, 0, 0x00050000 | number),
        (ret, 0, 0, 0x7FFF0000),
    )


@case(runc=RUNC)
def a_compiled_filter_takes_the_profiles_place(t):
    annotate(t, seccomp_bpf_data=forbidding_mkdir(errno.EXDEV))
    t.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(MKDIR, errnoRet=errno.ENOSPC)]}
    t.matches(t.run("mkdir", "/x", code=1).err, "ross-device link")
    t.sleeper()
    t.matches(t.exec(t.id, "mkdir", "/x", code=1).err, "ross-device link")


@case(runc=RUNC)
def a_compiled_filter_needs_no_profile(t):
    annotate(t, seccomp_bpf_data=forbidding_mkdir(errno.EXDEV))
    t.linux.pop("seccomp", None)
    t.matches(t.run("mkdir", "/x", code=1).err, "ross-device link")


@case(runc=RUNC)
def a_compiled_filter_is_whole(t):
    for wrong in ("%", "Zg=="):
        annotate(t, seccomp_bpf_data=wrong)
        t.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
        t.refused()


@case(runc=RUNC)
def the_original_groups_are_kept(t):
    t.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [9]}
    runtime = t.runtime
    t.runtime = t.file("runtime", f'#!/bin/sh\nexec setpriv --groups 5,7 {runtime} "$@"\n', 0o755)
    t.equal(t.run("id", "-G").out, "1000 9\n")
    annotate(t, keep_original_groups="1")
    t.equal(t.run("id", "-G").out, "1000 5 7\n")


@case(runc=RUNC)
def a_receiver_gets_the_pidfd(t):
    path = f"{t.directory}/receiver"
    annotate(t, pidfd_receiver=path)
    with console_socket(path) as receiver:
        pid = t.sleeper()
        pidfd = receiver.master()
    info = open(f"/proc/self/fdinfo/{pidfd}").read()
    os.close(pidfd)
    t.equal(t.matches(info, r"^Pid:\s+(\d+)$")[1], str(pid))


# --- what hooks print


def print_to(t, *names, **hooks):
    """Hooks that print, and the files that they are to print to; gives their paths."""
    files = {name: f"{t.directory}/hooks.{name}" for name in names}
    annotate(t, **{f"hooks.{name}": path for name, path in files.items()})
    t.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}] for kind, script in hooks.items()}
    return files


@case(runc=RUNC, crun="1.8.1 lets the hooks inside print to the caller")
def hooks_print_to_files(t):
    speak = "echo {0}; echo {0}-error >&2"
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    files = print_to(t, "stdout", "stderr", **{kind: speak.format(kind) for kind in kinds})
    t.run("true")
    t.equal(open(files["stdout"]).read().split(), list(kinds))
    t.equal(open(files["stderr"]).read().split(), [f"{kind}-error" for kind in kinds])


@case(runc=RUNC)
def hooks_append_to_a_file_and_the_other_output_is_told(t):
    files = print_to(t, "stdout", createRuntime="echo new; echo why >&2; exit 3")
    t.file("hooks.stdout", "old\n")
    said = t.run("true", code=(1, 255)).said
    t.equal(open(files["stdout"]).read(), "old\nnew\n")
    if t.name == "creel":
        t.contains(said, "stderr: why")
    t.none_left()


@case(runc=RUNC)
def a_file_for_hooks_that_cannot_be_opened_fails_the_create(t):
    print_to(t, "stderr", createRuntime="true")
    annotate(t, **{"hooks.stderr": f"{t.directory}/none/file"})
    t.refused("none/file")


@case(runc=RUNC, crun="looks at them")
def what_is_not_looked_at_is_told(t):
    annotate(t, handler="wasm", **{"systemd.force_cgroup_v1": "1"})
    said = t.run("true").said
    for name in ("run.oci.handler", "run.oci.systemd.force_cgroup_v1"):
        t.contains(said, name)
