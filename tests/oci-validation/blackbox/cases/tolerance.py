"""What is not known, or unusual, and yet no error: the specification permits it."""

from suite import case

SILENT = "1.1.5 ignores them silently"
CRUN_SILENT = "1.8.1 ignores them silently"


@case(runc=SILENT, crun=CRUN_SILENT)
def unknown_fields_are_told_with_their_paths(t):
    t.config["future"] = {"a": [1]}
    t.process["argz"] = ["misspelt"]
    t.mount("/extra", type="tmpfs", source="tmpfs", opts=["ro"])
    t.linux.setdefault("resources", {})["memory"] = {"limits": 1}
    result = t.run("echo", "goes on")
    t.equal(result.out, "goes on\n")
    last = len(t.config["mounts"]) - 1
    for field in ("future", "process.argz", f"mounts[{last}].opts", "linux.resources.memory.limits"):
        t.contains(result.err, f"config.json: {field} is not known")


@case()
def what_is_for_other_platforms_is_not_told(t):
    t.config.update(windows={"layerFolders": ["x"]}, solaris={"milestone": "x"}, vm={"kernel": {"path": "/x"}})
    t.process.update(commandLine="x")
    t.process["user"]["username"] = "x"
    result = t.run("echo", "fine")
    t.equal((result.out, result.err), ("fine\n", ""))


@case(crun="1.8.1 wants a type")
def a_device_rule_without_a_type_is_for_all(t):
    for kind in ({}, {"type": ""}, {"type": "a"}):
        t.linux.setdefault("resources", {})["devices"] = [{"allow": True, "access": "rwm", **kind}]
        t.equal(t.run("echo", "fine").out, "fine\n", str(kind))


@case(runc=SILENT, crun=CRUN_SILENT)
def a_warning_goes_to_the_log(t):
    t.config["future"] = 1
    t.globals = ["--log", f"{t.directory}/log", "--log-format", "json"]
    t.equal(t.run("true").err, "")
    text = open(f"{t.directory}/log").read()
    t.contains(text, '"level":"warning"')
    t.contains(text, "future is not known")


@case(crun="1.8.1 cuts the string there")
def a_string_with_a_nul_is_refused_by_its_path(t):
    t.process["env"].append("A=b\0c")
    t.refused("env" if t.name == "creel" else "")
