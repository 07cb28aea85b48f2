"""list, ps, spec, features, --version, --log, --help."""

import json
import os
import re

from suite import case


@case()
def list_of_nothing(t):
    t.matches(t.rt("list").out, r"^(ID|NAME) +PID +STATUS +BUNDLE.*CREATED +OWNER")
    t.equal(t.rt("list", "--quiet").out, "")


@case(crun="has columns and fields of its own")
def list_as_table(t):
    pid = t.sleeper()
    head, row = t.rt("list").out.splitlines()
    t.equal(head.split(), ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"])
    t.equal(row.split()[:4], [t.id, str(pid), "running", t.bundle])
    t.equal(row.split()[5], "root")
    t.equal(head.index("PID"), row.index(str(pid)), "column")


@case()
def list_quiet(t):
    t.sleeper()
    t.equal(t.rt("list", "-q").out, f"{t.id}\n")
    t.equal(t.rt("list", "--quiet").out, f"{t.id}\n")


@case()
def list_as_json(t):
    pid = t.sleeper()
    (entry,) = json.loads(t.rt("list", "--format", "json").out)
    t.equal((entry["id"], entry["pid"], entry["status"], entry["bundle"]), (t.id, pid, "running", t.bundle))
    t.equal(entry["owner"], "root")
    t.equal(json.loads(t.rt("list", "-f", "json").out)[0]["id"], t.id)


@case()
def list_of_nothing_as_json(t):
    t.contains((None, []), json.loads(t.rt("list", "--format", "json").out))  # runc says null


@case()
def list_of_several(t):
    first = t.id
    t.sleeper()
    t.id = f"{first}-2"
    t.create("true")
    t.equal(set(t.rt("list", "-q").out.split()), {first, t.id})
    states = {e["id"]: e["status"] for e in json.loads(t.rt("list", "-f", "json").out)}
    t.equal(states, {first: "running", t.id: "created"})


@case()
def list_in_an_unknown_format_is_refused(t):
    t.rt("list", "--format", "yaml", code=1)


@case()
def ps_as_json(t):
    pid = t.sleeper()
    t.equal(json.loads(t.rt("ps", "--format", "json", t.id).out), [pid])


@case(crun="prints pids only")
def ps_as_table(t):
    pid = t.sleeper()
    head, row = t.rt("ps", t.id).out.splitlines()
    t.contains(head, "PID")
    t.contains(row.split(), str(pid))
    t.contains(row, "sleep 1000")


@case(crun="takes no arguments for ps(1)")
def ps_passes_arguments_to_ps(t):
    pid = t.sleeper()
    result = t.rt("ps", t.id, "-o", "pid,args").out
    t.matches(result, rf"^ *{pid} +/bin/sleep 1000$")


@case()
def spec_writes_what_run_takes(t):
    os.rename(t.rootfs, f"{t.directory}/rootfs")
    t.rt("spec", cwd=t.directory)
    config = json.load(open(f"{t.directory}/config.json"))
    t.equal((config["root"]["path"], config["process"]["terminal"]), ("rootfs", True))
    t.equal(config["process"]["args"], ["sh"])
    t.equal({n["type"] for n in config["linux"]["namespaces"]} >= {"pid", "network", "ipc", "uts", "mount"}, True)
    config["process"].update(terminal=False, args=["echo", "works"])
    with open(f"{t.directory}/config.json", "w") as file:
        json.dump(config, file)
    t.equal(t.rt("run", t.id, cwd=t.directory).out, "works\n")


@case()
def spec_takes_a_bundle_and_overwrites_nothing(t):
    t.rt("spec", "--bundle", t.bundle, cwd="/")
    before = open(f"{t.bundle}/config.json").read()
    t.rt("spec", "-b", t.bundle, cwd="/", code=1)
    t.equal(open(f"{t.bundle}/config.json").read(), before)


@case(crun="makes a network namespace there too")
def spec_rootless(t):
    t.rt("spec", "--rootless", "--bundle", t.bundle)
    config = json.load(open(f"{t.bundle}/config.json"))
    t.contains([n["type"] for n in config["linux"]["namespaces"]], "user")
    t.lacks([n["type"] for n in config["linux"]["namespaces"]], "network")
    t.equal(config["linux"]["uidMappings"], [{"containerID": 0, "hostID": 0, "size": 1}])
    t.equal(config["linux"].get("resources"), None, "resources")


@case(crun="the command came with 1.8.6")
def features_tells_what_there_is(t):
    features = json.loads(t.rt("features").out)
    t.matches(features["ociVersionMin"], r"^1\.0")
    t.contains(features["hooks"], "createContainer")
    t.contains(features["mountOptions"], "rbind")
    t.contains(features["linux"]["namespaces"], "network")
    t.contains(features["linux"]["capabilities"], "CAP_SYS_ADMIN")
    t.equal(features["linux"]["cgroup"]["v1"], True)
    t.contains(features["linux"]["seccomp"]["actions"], "SCMP_ACT_ERRNO")


@case(runc="1.1 has none of these", crun="the command came with 1.8.6")
def features_tells_of_newer_fields_too(t):
    features = json.loads(t.rt("features").out)
    linux = features["linux"]
    t.contains(linux["namespaces"], "time")
    t.contains(linux["seccomp"]["actions"], "SCMP_ACT_NOTIFY")
    t.contains(linux["memoryPolicy"]["modes"], "MPOL_INTERLEAVE")
    t.contains(linux["memoryPolicy"]["flags"], "MPOL_F_STATIC_NODES")
    t.equal(linux["netDevices"], {"enabled": True})
    t.equal(linux["intelRdt"], {"enabled": True, "schemata": True, "monitoring": True})
    t.contains(features["potentiallyUnsafeConfigAnnotations"], "org.systemd.property.")


@case()
def version_in_runcs_format(t):
    for flag in ("--version", "-v"):
        lines = t.rt(flag).out.splitlines()
        t.matches(lines[0], r"^\w+ version \d+\.\d+\.\d+")
        t.true(any(re.match(r"spec: 1\.\d+\.\d+", line) for line in lines), "no `spec:` line")


@case()
def help_is_no_error(t):
    t.contains(t.rt("--help").said, "create")
    for command in ("create", "run", "exec", "kill", "delete", "list", "spec"):
        t.contains(t.rt(command, "--help").said, command)


@case()
def unknown_commands_and_flags_are_refused(t):
    for arguments in (["bogus"], ["--bogus"], ["run", "--bogus", t.id], ["state"], ["create"], ["delete"], ["exec"]):
        result = t.rt(*arguments, code=None)
        t.true(result.code != 0, f"{arguments} succeeded")
        t.true(result.said.strip(), f"{arguments} says nothing")


@case()
def errors_go_to_stderr_as_text(t):
    result = t.rt("state", "nobody", code=1)
    t.equal(result.out, "")
    t.matches(result.err, r'level=error msg=".+"|^(ERRO|error)')


@case()
def log_goes_to_a_file_as_json(t):
    log = f"{t.directory}/log.json"
    t.rt("--log", log, "--log-format", "json", "state", "nobody", code=1)
    entry = json.loads(open(log).read().splitlines()[-1])
    t.equal(entry["level"], "error")
    t.true(entry["msg"] and entry["time"], "msg or time is empty")


@case()
def log_goes_to_a_file_as_text(t):
    log = f"{t.directory}/log"
    t.rt("--log", log, "state", "nobody", code=1)
    t.true(open(log).read().strip(), "nothing in the log")


@case()
def log_in_an_unknown_format_is_refused(t):
    t.rt("--log-format", "xml", "list", code=1)


@case()
def debug_does_not_disturb_output(t):
    t.sleeper()
    t.equal(t.rt("--debug", "list", "-q").out, f"{t.id}\n")
    t.equal(json.loads(t.rt("--debug", "state", t.id).out)["id"], t.id)
